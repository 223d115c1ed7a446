import Diagnostics
import KMSClient
import KMSProtocol
import Synchronization
import WireText

/// The spaces of the user who is logged in: making, finding, membership and keys.
///
/// What the cloud says about a space is held against the KMS: which KRO it has (by the key of its name, and unchanged
/// since it was first seen), who may read, which key is good for writing. Nothing is ever sent unencrypted: texts go to
/// the cloud as `EncryptedText` only.
package actor Spaces {
    let cloud: CloudService
    let kms: KMSConnection
    let keys: KeyRing
    let store: StateStore
    let account: Account
    let now: @Sendable () -> Timestamp
    let sleep: Sleep
    /// What the KMS said last about the membership of a space, by KRO.
    private var memberships: [String: EncryptionKeyRules.Membership] = [:]
    /// Keys in use for writing, by KRO.
    private var writingKeys: [String: KMSKey] = [:]

    /// How long the KMS's word on a membership is taken for new, in seconds.
    static let freshness: Int64 = 5

    init(
        cloud: CloudService, kms: KMSConnection, keys: KeyRing, store: StateStore, account: Account,
        now: @escaping @Sendable () -> Timestamp, sleep: Sleep
    ) {
        self.cloud = cloud
        self.kms = kms
        self.keys = keys
        self.store = store
        self.account = account
        self.now = now
        self.sleep = sleep
    }

    // MARK: - Finding

    /// All spaces in which the user takes part, the latest first.
    package func all() async throws -> [Space] {
        let conversations = try await cloud.conversations()
        try await keys.prefetch(conversations.map(\.nameKeyURI))
        var spaces: [Space] = []
        for conversation in conversations { spaces.append(try await space(conversation)) }
        return spaces
    }

    /// The one space with that name or beginning of its id.
    package func find(_ wanted: String) async throws -> Space {
        let spaces = try await all()
        let named = spaces.filter { $0.name == wanted }
        let matches =
            !named.isEmpty
            ? named
            : spaces.filter { wanted.utf8.count >= 4 && $0.id.hasPrefix(wanted.lowercased()) }
        guard let space = matches.first else {
            throw DiagnosedError(
                .spaceUnknown, fault: .client, "you have no space of that name or id", found: wanted,
                hint: "'hds spaces' lists yours")
        }
        guard matches.count == 1 else {
            throw DiagnosedError(
                .spaceAmbiguous, fault: .client, "several spaces have that name", found: wanted,
                hint: "use the beginning of an id: " + matches.map { String($0.id.prefix(8)) }.joined(separator: ", "))
        }
        if let problem = space.problem {
            throw DiagnosedError(
                .spaceUnfinished, fault: .peer, "the space '\(wanted)' can not be used: \(problem)")
        }
        return space
    }

    /// The space of that id, in good order.
    func space(id: String) async throws -> Space {
        let space = try await space(try await cloud.conversation(id))
        if let problem = space.problem {
            throw DiagnosedError(.spaceUnfinished, fault: .peer, "the space \(id) can not be used: \(problem)")
        }
        return space
    }

    /// The oldest space in which exactly the user and that person are, by the cloud's word and by that of the KMS.
    func oneToOne(with person: String) async throws -> Space? {
        let pair: Set = [account.id, person]
        for space in try await all().reversed() where space.problem == nil && Set(space.participants) == pair {
            if try await Set(participants(of: space).filter(\.hasKeys).map(\.id)) == pair { return space }
        }
        return nil
    }

    private func space(_ conversation: Conversation) async throws -> Space {
        var name: String?
        var resource: String?
        var problem: String?
        do {
            let key = try await keys.key(conversation.nameKeyURI)
            resource = try checkedResource(of: conversation, nameKey: key)
            name = try conversation.displayName.text(with: key.key)
        } catch let refusal as KMSRefusal {
            problem = "the KMS refuses its key (\(refusal.status) \(refusal.reason))"
        } catch let error as DiagnosedError
            where [.spaceChanged, .spaceUnfinished, .contentUnreadable, .kmsMismatch].contains(error.code)
        {
            problem = error.description
        }
        return Space(
            id: conversation.id, name: name, resource: resource, participants: conversation.participants,
            published: conversation.published, defaultKeyURI: conversation.defaultKeyURI, problem: problem)
    }

    /// The KRO of a conversation is the one that the KMS says the key of its name is bound to; the cloud's word and what
    /// was seen before have to agree.
    private func checkedResource(of conversation: Conversation, nameKey: KMSKey) throws -> String {
        guard let resource = nameKey.resourceURI else {
            throw DiagnosedError(
                .spaceUnfinished, fault: .client, "its creation was not finished", hint: "create it anew")
        }
        if let claimed = conversation.resourceURI, claimed != resource { throw Self.changed(resource, claimed) }
        if let known = try store.current().spaces[conversation.id] {
            guard known.resource == resource else { throw Self.changed(known.resource, resource) }
        } else {
            try store.update { $0.spaces[conversation.id] = .init(resource: resource) }
        }
        return resource
    }

    private static func changed(_ known: String, _ found: String) -> DiagnosedError {
        DiagnosedError(
            .spaceChanged, fault: .peer, "the keys of this space belong elsewhere", expected: known,
            found: found.loggable,
            hint: "the cloud may try to make you write into another space; tell your administrator")
    }

    // MARK: - Making

    /// Makes a space with these people in it.
    package func create(name: String, with people: [String]) async throws -> Space {
        try Self.check(name: name)
        var ids: [String] = []
        for email in people {
            let (id, person) = try await person(email)
            try checkExternal(person.email)
            if id != account.id, !ids.contains(id) { ids.append(id) }
        }
        return try await create(name: name, members: ids)
    }

    private static func check(name: String) throws(DiagnosedError) {
        guard !name.isEmpty, name.utf8.count <= 1024 else {
            throw DiagnosedError(.textTooLong, fault: .client, "the name of a space has 1 to 1024 octets")
        }
    }

    /// - Parameter ids: of the others, each once.
    func create(name: String, members ids: [String]) async throws -> Space {
        try Self.check(name: name)
        let key = try await keys.takeUnboundKey()
        let title = try EncryptedText(encrypting: name, under: key.key)
        let members = [account.id] + ids
        let made = Mutex<Conversation?>(nil)
        let reply = try await kms.carry(.createResource(keys: [key.uri], users: members)) { [cloud] wrapped, step in
            let conversation = try await cloud.createConversation(
                name: title, keyURI: key.uri, participants: members, kmsMessage: wrapped, step: step)
            guard let answer = conversation.kmsMessage else { throw CloudError.malformed("the answer of the KMS") }
            made.withLock { $0 = conversation }
            return answer
        }
        guard case .resource(let resource) = reply.body, let created = made.withLock({ $0 }) else {
            throw DiagnosedError(.kmsMismatch, fault: .peer, "the KMS answered without a resource")
        }
        try store.update { state in
            state.spaces[created.id] = .init(resource: resource.uri, authorizations: Set(resource.authorizationURIs))
        }
        try await persistently { [cloud] in try await cloud.setResource(resource.uri, of: created.id) }
        return Space(
            id: created.id, name: name, resource: resource.uri, participants: created.participants,
            published: created.published, defaultKeyURI: key.uri, problem: nil)
    }

    // MARK: - People

    /// Who has that address. The cloud's directory answers; it is held to its first answer.
    package func person(_ email: String) async throws -> (id: String, person: ClientState.Person) {
        guard email.contains("@"), email.utf8.count <= 320 else {
            throw DiagnosedError(
                .personUnknown, fault: .client, "that is no e-mail address", expected: "NAME@DOMAIN",
                found: email.loggable)
        }
        let found: (id: String, person: ClientState.Person)
        do {
            found = try await cloud.person(email: email)
        } catch let error as DiagnosedError where error.code == .cloudNotFound {
            throw DiagnosedError(
                .personUnknown, fault: .client, "nobody with the address \(email.loggable) is known here",
                hint: "people become known when they log in for the first time")
        }
        guard found.person.email.lowercased() == email.lowercased() else {
            throw DiagnosedError(
                .personChanged, fault: .peer, "the directory answers for another address", expected: email.loggable,
                found: found.person.email.loggable)
        }
        let known = try store.current().people.first { $0.value.email.lowercased() == email.lowercased() }
        if let known, known.key != found.id {
            throw DiagnosedError(
                .personChanged, fault: .peer, "the directory gives another user for \(email.loggable) than before",
                expected: known.key, found: found.id,
                hint: "nobody was added; ask your administrator who this is")
        }
        if known == nil { try store.update { $0.people[found.id] = found.person } }
        return found
    }

    /// The person with that id, as far as it is known.
    package func person(id: String) async throws -> ClientState.Person? {
        if id == account.id { return ClientState.Person(email: account.email, name: account.name) }
        if let known = try store.current().people[id] { return known }
        guard UUIDText.isValid(id), let found = try? await cloud.person(id: id), found.id == id else { return nil }
        // An address that was seen with another id is not believed for this one.
        let taken = try store.current().people.contains { $0.value.email.lowercased() == found.1.email.lowercased() }
        guard !taken else { return nil }
        try store.update { $0.people[id] = found.1 }
        return found.1
    }

    /// Everybody with a part in the space: whom the KMS gives its keys, and to whom the cloud delivers.
    package func participants(of space: Space) async throws -> [Participant] {
        let resource = try Self.resource(of: space)
        guard
            case .authorizations(let list) = try await kms.perform(.retrieveAuthorizations(resource: resource))
                .body
        else { throw DiagnosedError(.kmsMismatch, fault: .peer, "the KMS answered without a list") }
        func id(_ authorization: KMSAuthorization) -> String {
            UUIDText.isValid(authorization.authID) ? authorization.authID.lowercased() : authorization.authID
        }
        let readers = list.map(id)
        let moderators = Set(list.filter { KMSRole.isModerator($0.roleURI) }.map(id))
        let routed = try await cloud.conversation(space.id).participants
        var result: [Participant] = []
        for id in readers + routed.filter({ !readers.contains($0) }) {
            let person = try await person(id: id)
            result.append(
                Participant(
                    id: id, email: person?.email, name: person?.name, hasKeys: readers.contains(id),
                    isRouted: routed.contains(id), isModerator: moderators.contains(id),
                    isExternal: try person.map { try isExternal($0.email) } ?? false))
        }
        return result
    }

    package func add(_ email: String, to space: Space) async throws -> (id: String, person: ClientState.Person) {
        let found = try await person(email)
        try checkExternal(found.person.email)
        try await checkManaging(space)
        let resource = try Self.resource(of: space)
        let reply = try await kms.carry(.createAuthorizations(resource: resource, ids: [found.id])) {
            [cloud] wrapped, step in
            try await cloud.carry(.add(person: found.id, kmsMessage: wrapped), space, step)
        }
        if case .authorizations(let list) = reply.body {
            // To be missed when it is gone.
            try store.update { $0.spaces[space.id]?.authorizations.formUnion(list.map(\.uri)) }
        }
        return found
    }

    /// Takes somebody else out and changes the key at once, so that what follows is closed to that person.
    package func remove(_ email: String, from space: Space) async throws {
        let person = try await person(email)
        guard person.id != account.id else { return try await leave(space) }
        try await checkManaging(space)
        try await remove(id: person.id, from: space)
        try await rotate(space)
    }

    /// Leaves the space and forgets its keys.
    package func leave(_ space: Space) async throws {
        let resource = try Self.resource(of: space)
        try await remove(id: account.id, from: space)
        memberships[resource] = nil
        writingKeys[resource] = nil
        try store.update { state in
            state.forgetKeys(of: resource)
            state.spaces[space.id] = nil
        }
    }

    private func remove(id: String, from space: Space) async throws {
        let resource = try Self.resource(of: space)
        do {
            try await kms.carry(.deleteAuthorization(resource: resource, id: id)) { [cloud] wrapped, step in
                try await cloud.carry(.leave(person: id, kmsMessage: wrapped), space, step)
            }
        } catch let refusal as KMSRefusal where refusal.status == KMSStatus.notFound {
            // Somebody else was quicker: the person is out.
        }
        writingKeys[resource] = nil
        // Notes the removal before a new key is bound, so that the new one is known to come after it.
        if id != account.id { _ = try await membership(of: space, atMost: 0) }
    }

    // MARK: - Keys for writing

    /// Makes a new key, binds it to the space, and uses it from now on.
    @discardableResult
    func rotate(_ space: Space) async throws -> KMSKey {
        let resource = try Self.resource(of: space)
        let fresh = try await keys.takeUnboundKey()
        let reply = try await kms.carry(.bindKey(fresh.uri, resource: resource)) { [cloud] wrapped, step in
            try await cloud.carry(.updateKey(fresh.uri, kmsMessage: wrapped), space, step)
        }
        guard case .key(let bound) = reply.body else {
            throw DiagnosedError(.kmsMismatch, fault: .peer, "the KMS answered without the key")
        }
        try store.update { $0.remember(bound) }
        memberships[resource] = nil
        writingKeys[resource] = bound
        return bound
    }

    /// A removal may have happened: the next writing asks the KMS first.
    package func noteChange(inConversation id: String) {
        guard let resource = try? store.current().spaces[id]?.resource else { return }
        memberships[resource] = nil
    }

    /// The key for the next message: the one in use, the one that the cloud names, or the newest of the KMS, whichever
    /// first passes `EncryptionKeyRules`; else a new one.
    func writingKey(of space: Space) async throws -> KMSKey {
        let resource = try Self.resource(of: space)
        let membership = try await membership(of: space, atMost: Self.freshness)
        let memory = try store.current().spaces[space.id] ?? .init(resource: resource)
        func passes(_ key: KMSKey) -> Bool {
            EncryptionKeyRules.judge(key, of: membership, memory: memory, now: now()) == nil
        }
        if let key = writingKeys[resource], passes(key) { return key }
        if membership.resource.keyURIs.contains(space.defaultKeyURI) {
            let key = try await keys.key(space.defaultKeyURI)
            if passes(key) {
                writingKeys[resource] = key
                return key
            }
        }
        let newest = try await kms.perform(.retrieveKeys(resource: resource, count: 1)).body
        if case .keys(let list) = newest, let key = list.first, passes(key) {
            try store.update { $0.remember(key) }
            writingKeys[resource] = key
            return key
        }
        let key = try await rotate(space)
        let changed = try await self.membership(of: space, atMost: 0)
        let memoryNow = try store.current().spaces[space.id] ?? .init(resource: resource)
        if let refusal = EncryptionKeyRules.judge(key, of: changed, memory: memoryNow, now: now()) {
            throw DiagnosedError(
                .keyDueForRotation, fault: .peer, "no key of this space may encrypt now: \(refusal.rawValue)",
                hint: "nothing was sent; try again")
        }
        return key
    }

    func membership(
        of space: Space, atMost seconds: Int64
    ) async throws -> EncryptionKeyRules.Membership {
        let uri = try Self.resource(of: space)
        let time = now()
        if let known = memberships[uri], time >= known.checked, time < known.checked.adding(seconds: seconds) {
            return known
        }
        let reply = try await kms.perform(.retrieveResource(uri))
        guard case .resource(let resource) = reply.body else {
            throw DiagnosedError(.kmsMismatch, fault: .peer, "the KMS answered without the resource")
        }
        let membership = EncryptionKeyRules.Membership(
            resource: resource, checked: time)
        memberships[uri] = membership
        let known = try store.current().spaces[space.id] ?? .init(resource: uri)
        let changed = EncryptionKeyRules.memory(known, after: membership)
        if changed != known { try store.update { $0.spaces[space.id] = changed } }
        return membership
    }

    static func resource(of space: Space) throws -> String {
        guard let resource = space.resource else {
            throw DiagnosedError(.spaceUnfinished, fault: .client, "the space has no keys' owner")
        }
        return resource
    }
}

extension CloudService {
    /// Appends an activity that carries a request to the KMS; gives the wrapped answer.
    fileprivate func carry(_ draft: Draft, _ space: Space, _ step: String) async throws -> String {
        guard let message = try await append(draft, to: space.id, step: step).kmsMessage else {
            throw CloudError.malformed("the answer of the KMS")
        }
        return message
    }
}

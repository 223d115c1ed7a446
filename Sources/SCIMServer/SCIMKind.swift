import DirectoryModel
import WireText

/// What is different between users and groups.
protocol SCIMKind: Sendable {
    associatedtype Value: Sendable

    var name: String { get }
    var schema: String { get }
    /// By which a client looks for one, in lower case.
    var nameAttribute: String { get }

    func replaced(_ body: JSONNode) throws(SCIMError) -> Value
    func patched(_ resource: DirectoryResource, _ operations: [SCIMPatch.Operation]) throws -> Value
    func newID(_ value: Value) async throws -> String
    func key(_ value: Value) -> String
    func external(_ value: Value) -> String?
    func body(_ value: Value) -> String
    func changes(to value: Value, id: String, at now: Timestamp) async throws -> ([DirectoryChange], DirectoryGroup?)
    func removal(of resource: DirectoryResource, at now: Timestamp) async throws -> [DirectoryChange]
    func write(_ body: String, _ json: inout JSONWriter, withMembers: Bool) throws
}

struct SCIMUserKind: SCIMKind {
    let server: SCIMServer
    let name = "User"
    let schema = SCIMUser.schema
    let nameAttribute = "username"

    func replaced(_ body: JSONNode) throws(SCIMError) -> SCIMUser { try SCIMUser(body) }

    func patched(_ resource: DirectoryResource, _ operations: [SCIMPatch.Operation]) throws -> SCIMUser {
        try SCIMPatch.apply(operations, to: SCIMUser(JSONDocument(text: resource.body).root))
    }

    func key(_ value: SCIMUser) -> String { value.userName.lowercased() }
    func external(_ value: SCIMUser) -> String? { value.externalID }
    func body(_ value: SCIMUser) -> String { value.body() }
    func write(_ body: String, _ json: inout JSONWriter, withMembers: Bool) throws {
        try SCIMUser(JSONDocument(text: body).root).write(&json)
    }

    /// Rules:
    /// 1. Who was deleted and comes again with the same externalId is the same person, with the same id. Without one nobody
    ///    is: a new person with an old address must not get the old one's keys.
    /// 2. An account of the file with the address is his.
    /// 3. Else the externalId, where it is a UUID that nobody has, else a new one.
    func newID(_ value: SCIMUser) async throws -> String {
        let people = try await server.store.people()
        if let external = value.externalID,
            let before = people.first(where: { $0.source == SCIMServer.source && $0.external == external })
        {
            guard try await server.store.resource(before.id, kind: name) == nil else {
                throw SCIMError(409, .uniqueness, "there is a user with this externalId")
            }
            return before.id
        }
        let taken = Set(people.map(\.id))
        if let address = value.address, let id = server.account(address), !taken.contains(id) { return id }
        if let external = value.externalID?.lowercased(), UUIDText.isValid(external), !taken.contains(external) {
            return external
        }
        return UUIDText.random()
    }

    func changes(
        to value: SCIMUser, id: String, at now: Timestamp
    ) async throws -> ([DirectoryChange], DirectoryGroup?) {
        let same = try await server.store.resources(kind: name, name: key(value))
        guard same.allSatisfy({ $0.id == id }) else {
            throw SCIMError(409, .uniqueness, "there is a user with this userName")
        }
        guard let address = value.address else { throw SCIMError.invalid(.invalidValue, "an address is missing") }
        let people = try await server.store.people()
        let before = people.first { $0.id == id }
        if value.isActive,
            people.contains(where: { $0.id != id && $0.isActive && $0.email.lowercased() == address.lowercased() })
        {
            throw SCIMError(409, .uniqueness, "another person has this address")
        }
        let after = Person(
            source: SCIMServer.source, external: before?.external ?? value.externalID ?? id, id: id,
            userName: value.userName, email: address, name: value.name, standing: value.isActive ? .active : .disabled,
            changed: now)
        switch (before?.isActive, value.isActive) {
        case (nil, true): return ([.joined(after)], nil)
        case (false, true): return ([.returned(after)], nil)
        // Also again for who is out already: what was not reached before is done then.
        case (_, false): return ([.left(after)], nil)
        case (true, true): return ([.changed(after)], nil)
        }
    }

    func removal(of resource: DirectoryResource, at now: Timestamp) async throws -> [DirectoryChange] {
        guard var person = try await server.store.person(id: resource.id) else { return [] }
        (person.standing, person.changed) = (.gone, now)
        return [.left(person)]
    }
}

struct SCIMGroupKind: SCIMKind {
    let server: SCIMServer
    let name = "Group"
    let schema = SCIMGroup.schema
    let nameAttribute = "displayname"

    func replaced(_ body: JSONNode) throws(SCIMError) -> SCIMGroup { try SCIMGroup(body) }

    func patched(_ resource: DirectoryResource, _ operations: [SCIMPatch.Operation]) throws -> SCIMGroup {
        try SCIMPatch.apply(operations, to: SCIMGroup(JSONDocument(text: resource.body).root))
    }

    func newID(_ value: SCIMGroup) async throws -> String { UUIDText.random() }
    func key(_ value: SCIMGroup) -> String { value.displayName.lowercased() }
    func external(_ value: SCIMGroup) -> String? { value.externalID }
    func body(_ value: SCIMGroup) -> String { value.body() }
    func write(_ body: String, _ json: inout JSONWriter, withMembers: Bool) throws {
        try SCIMGroup(JSONDocument(text: body).root).write(&json, withMembers: withMembers)
    }

    func changes(
        to value: SCIMGroup, id: String, at now: Timestamp
    ) async throws -> ([DirectoryChange], DirectoryGroup?) {
        let same = try await server.store.resources(kind: name, name: key(value))
        guard same.allSatisfy({ $0.id == id }) else {
            throw SCIMError(409, .uniqueness, "there is a group with this displayName")
        }
        let users = Set(try await server.store.people(of: SCIMServer.source).map(\.id))
        guard value.members.isSubset(of: users) else {
            throw SCIMError.invalid(.invalidValue, "a member is no user of this client")
        }
        return (
            [],
            DirectoryGroup(
                source: SCIMServer.source, external: id, id: id, name: value.displayName,
                members: value.members.sorted())
        )
    }

    func removal(of resource: DirectoryResource, at now: Timestamp) async throws -> [DirectoryChange] { [] }
}

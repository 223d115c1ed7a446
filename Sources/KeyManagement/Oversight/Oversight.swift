package import Diagnostics
package import KMSProtocol
import KeyStore
import JOSESignature
import MasterKey
package import SignedPolicy
package import WireText

/// What operators and officers see and do: the spaces and their readers from outside of any request.
///
/// Records are sealed, so whatever asks about all spaces walks through them page by page, in memory that does not grow
/// with their number, and tells how far it is. Reads are of the store's present state; a walk is no single view.
package struct Oversight: Sendable {
    /// Who may read by policy and not by a list; named by the caller, for the policy in force now.
    package struct PolicyReaders: Sendable, Equatable {
        package struct Service: Sendable, Equatable {
            package var name: String
            /// Its account, and the client with which it comes: a freeze of the service may name those as well.
            package var aliases: Set<String>
            /// URIs of the resources that it may read; nil for all.
            package var spaces: Set<String>?
            package var notBefore: Timestamp?
            package var notAfter: Timestamp
            package var formerMembers: Bool

            package init(
                name: String, aliases: Set<String> = [], spaces: Set<String>?, notBefore: Timestamp? = nil,
                notAfter: Timestamp, formerMembers: Bool = false
            ) {
                self.name = name
                self.aliases = aliases
                self.spaces = spaces
                self.notBefore = notBefore
                self.notAfter = notAfter
                self.formerMembers = formerMembers
            }

            func covers(_ space: String, at moment: Timestamp) -> Bool {
                spaces?.contains(space) ?? true && notBefore.map { $0 <= moment } ?? true && moment < notAfter
            }
        }

        package var services: [Service]
        /// Users who may retrieve on behalf of others, until when.
        package var officers: [String: Timestamp?]
        /// Hosts of the partners, and whether their users may read through a nested resource.
        package var partners: [String: Bool]

        package init(
            services: [Service] = [], officers: [String: Timestamp?] = [:], partners: [String: Bool] = [:]
        ) {
            self.services = services
            self.officers = officers
            self.partners = partners
        }

        /// As the signed policy names them.
        package init(_ policy: Policy, partners: [String: Bool]) {
            services = policy.services.map { consent in
                let spaces: Set<String>? = if case .only(let named) = consent.spaces { named } else { nil }
                return Service(
                    name: consent.name, aliases: Set([consent.subject] + (consent.client.map { [$0] } ?? [])),
                    spaces: spaces, notBefore: consent.notBefore, notAfter: consent.notAfter,
                    formerMembers: consent.formerMembers)
            }
            officers = [:]
            for agent in policy.agents {
                // Of several entries, one for each matter, the last to end counts.
                guard let other = officers[agent.user] else {
                    officers.updateValue(agent.notAfter, forKey: agent.user)
                    continue
                }
                let later = other.flatMap { end in agent.notAfter.map { max(end, $0) } }
                officers.updateValue(later, forKey: agent.user)
            }
            self.partners = partners
        }
    }

    let management: KeyManagement
    let sessions: SessionTable
    let readers: @Sendable () -> PolicyReaders
    let homes: UserHomes
    static let page = 200

    package init(
        management: KeyManagement, sessions: SessionTable,
        readers: @escaping @Sendable () -> PolicyReaders = { PolicyReaders() }
    ) {
        self.management = management
        self.sessions = sessions
        self.readers = readers
        homes = UserHomes(store: management.store, ring: management.vault.ring)
    }

    var store: any KeyStore { management.store }
    var vault: RecordVault { management.vault }
    var names: KMSNames { management.names }
    var policy: KMSPolicy { management.inForce.current.values }

    /// Told after each page: what is done, in words. False ends the walk.
    package typealias Progress = @Sendable (String) -> Bool

    /// All spaces in the order of their ids, deleted ones included. Answers false when `progress` ended it.
    @discardableResult
    func walk(
        after start: String? = nil, _ progress: Progress, _ body: (ResourceRecord, ResourceContent) async throws -> Bool
    ) async throws -> Bool {
        var last = start
        var count = 0
        while true {
            let page = try await store.resources(after: last, limit: Self.page)
            guard let end = page.last else { return true }
            for record in page where try await !body(record, vault.content(record)) { return true }
            last = end.id
            count += page.count
            guard progress("spaces looked at: \(count)") else { return false }
            // The store's reads do not suspend, and others want the thread too.
            await Task.yield()
        }
    }

    /// All sessions of a user, ended ones included; tokens name users in either case.
    func sessionRecords(of user: String) async throws -> [SessionRecord] {
        var records: [SessionRecord] = []
        for form in Set([user, UUIDText.isValid(user) ? user.uppercased() : user]) {
            var last: String?
            while true {
                let page = try await store.sessions(ofUser: vault.lookup(user: form), after: last, limit: Self.page)
                guard let end = page.last else { break }
                records += page
                last = end.id
            }
        }
        return records
    }

    /// The partner at which a user is at home; nil for an own user, and one whom nobody has met.
    func partner(of user: String) async throws -> String? {
        guard case .partner(let host) = try await homes.home(of: user) else { return nil }
        return host
    }
}

/// Whom or what an operator asks about: a space by its URI, everybody else by the user's id.
package enum OversightSubject: Sendable, Equatable {
    /// By the resource's id.
    case space(String)
    case user(String)

    package init(_ text: String, names: KMSNames) throws(DiagnosedError) {
        guard !text.isEmpty, text.utf8.count <= 512 else {
            throw DiagnosedError(
                .subjectMalformed, fault: .client, "this names neither a space nor a user",
                expected: "kms://\(names.host)/resources/UUID, or a user's id")
        }
        guard text.prefix(6).lowercased() == "kms://" || text.hasPrefix("/") else {
            self = .user(text.canonicalAuthID)
            return
        }
        guard let uri = KMSURI(text), names.owns(uri), case .resource(let id) = uri.object else {
            throw DiagnosedError(
                .subjectMalformed, fault: .client, "this names no space of this KMS",
                expected: "kms://\(names.host)/resources/UUID", found: text.quotedForError,
                hint: "to ask about a user, give the user's id")
        }
        self = .space(id)
    }
}

extension DiagnosedError.Code {
    /// An operator's argument names neither a space nor a user.
    package static let subjectMalformed: Self = "subject-malformed"
    /// An operator asked for something that is not there.
    package static let subjectUnknown: Self = "subject-unknown"
}

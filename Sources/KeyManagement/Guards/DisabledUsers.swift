import Diagnostics
import KMSProtocol
package import KeyStore
import Synchronization
package import WireText

/// Who is cut off altogether: durable and sealed in the store, at hand in memory on every node, asked before any other rule.
///
/// Who is on it says the authorization service, in its signed list (`RevocationDocument.disabled`). The copy here keeps it in
/// force while that service is away, after a restart, and on nodes that have not read the list yet: those look at the store
/// twice a second (`refresh`). It is the token's user that counts: what a consented service does on behalf of somebody who
/// has left, such as a search for evidence, goes on.
///
/// The list of one issuer replaces what that issuer said before, and nothing that another one said. An older list in the
/// store than the one known here is overwritten with what is known: nobody is let in again by an old row. Thread-safe.
package final class DisabledUsers: Sendable {
    package struct Entry: Sendable, Equatable {
        /// In canonical form.
        package let user: String
        package let issuer: String
        /// As the issuer says.
        package let since: Timestamp
    }

    /// What a list brought.
    package struct Difference: Sendable, Equatable {
        package var added: [String] = []
        package var removed: [String] = []
        package var isEmpty: Bool { added.isEmpty && removed.isEmpty }
    }

    package static let setting = "disabled-users"
    /// The version of the list alone: what nodes look at twice a second.
    package static let head = "disabled-users-head"
    package static let refreshMilliseconds = 500
    /// Of all issuers together.
    package static let maximum = 50_000
    private static let format: UInt8 = 1

    private struct State {
        var entries: [Entry] = []
        var users: Set<String> = []
        var version: Int64 = 0
        /// Why it is not known who is disabled.
        var unknown: DiagnosedError?
    }

    private let store: any KeyStore
    private let vault: RecordVault
    private let state = Mutex(State())

    /// Reads what stands; throws when that is not possible.
    package init(store: any KeyStore, vault: RecordVault) async throws {
        self.store = store
        self.vault = vault
        try await refresh()
    }

    package var entries: [Entry] { state.withLock { $0.entries } }

    package func entry(of user: String) -> Entry? {
        let user = user.canonicalAuthID
        return state.withLock { state in
            state.users.contains(user) ? state.entries.first { $0.user == user } : nil
        }
    }

    /// Looks whether another node wrote a list. A store that is away changes nothing of what is known; rows that are not
    /// genuine stop every answer.
    package func refresh() async throws {
        let head = try await store.setting(Self.head)
        let known = state.withLock { ($0.version, $0.unknown != nil) }
        do {
            let version = try headVersion(head)
            guard known.0 != version || known.1 else { return }
        } catch {
            throw forged(error)
        }
        let value = try await store.setting(Self.setting)
        do {
            let (entries, version) = try read(value)
            take(entries, version: version)
        } catch {
            throw forged(error)
        }
    }

    /// Takes what an issuer says now; durable, and in force here, when it returns.
    package func apply(_ disabled: [String: Timestamp], of issuer: String) async throws -> Difference {
        let wanted = disabled.map { Entry(user: $0.key.canonicalAuthID, issuer: issuer, since: $0.value) }
            .sorted { $0.user < $1.user }
        for _ in 0..<16 {
            // Compared without the store as long as the store has what is known here.
            let head = try await store.setting(Self.head)
            let version = try headVersion(head)
            let known = state.withLock { ($0.entries, $0.version) }
            let value = try await store.setting(Self.setting)
            let stored = try read(value)
            let isOlder = stored.version < known.1
            let present = isOlder ? known.0 : stored.entries
            let others = present.filter { $0.issuer != issuer }
            let own = present.filter { $0.issuer == issuer }
            var difference = Difference()
            let (before, after) = (Set(own.map(\.user)), Set(wanted.map(\.user)))
            difference.added = after.subtracting(before).sorted()
            difference.removed = before.subtracting(after).sorted()
            guard isOlder || version < stored.version || own != wanted else {
                take(stored.entries, version: stored.version)
                return difference
            }
            let all = others + wanted
            guard all.count <= Self.maximum else {
                throw DiagnosedError(
                    "disabled-limit", fault: .configuration, "more users are disabled than the KMS remembers",
                    expected: "at most \(Self.maximum)", found: "\(all.count)")
            }
            let next = max(stored.version, known.1, version) + 1
            let change = StoreChange(
                writes: [
                    .putSetting(name: Self.setting, value: try seal(all, version: next)),
                    .putSetting(name: Self.head, value: try sealHead(next)),
                ],
                expectations: [.setting(name: Self.setting, value: value), .setting(name: Self.head, value: head)])
            if try await store.commit(change) == .committed {
                take(all, version: next)
                return difference
            }
        }
        throw DiagnosedError(
            "disabled-conflict", fault: .store, "others change the list of disabled users at the same time",
            hint: "try again")
    }

    // MARK: Judging

    /// Whether a user is disabled; throws while the list is known to be forged.
    func isCutOff(_ user: String) throws(KMSFailure) -> Bool {
        let (unknown, isDisabled) = state.withLock { ($0.unknown != nil, $0.users.contains(user.canonicalAuthID)) }
        guard !unknown else {
            throw KMSFailure(
                KMSStatus.internalError, "it is not known who is disabled", rule: "disabled-unknown")
        }
        return isDisabled
    }

    /// Refuses who is disabled, and everybody while the list is known to be forged.
    func check(_ user: String) throws(KMSFailure) {
        guard try !isCutOff(user) else {
            throw KMSFailure(
                KMSStatus.unauthorized, "Failed to authenticate the bearer token", rule: "user-disabled")
        }
    }

    func isDisabled(_ user: String) -> Bool { state.withLock { $0.users.contains(user.canonicalAuthID) } }

    // MARK: -

    private func forged(_ error: any Error) -> DiagnosedError {
        let known = (error as? DiagnosedError) ?? RecordVault.forged("list of disabled users")
        state.withLock { $0.unknown = known }
        return known
    }

    /// Never goes back.
    private func take(_ entries: [Entry], version: Int64) {
        state.withLock { state in
            guard version >= state.version else { return state.unknown = nil }
            state = State(entries: entries, users: Set(entries.map(\.user)), version: version, unknown: nil)
        }
    }

    private func seal(_ entries: [Entry], version: Int64) throws -> [UInt8] {
        var fields = FieldWriter(format: Self.format)
        fields.field(Int64(entries.count))
        for entry in entries {
            fields.field(entry.user)
            fields.field(entry.issuer)
            fields.field(entry.since)
        }
        return try fields.withUnsafeBytes { try vault.sealSetting($0, name: Self.setting, version: version) }
    }

    private func read(_ value: [UInt8]?) throws -> (entries: [Entry], version: Int64) {
        guard let value else { return ([], 0) }
        return try vault.openSetting(value, name: Self.setting) { bytes, version in
            guard var fields = FieldReader(bytes, format: Self.format), let count = fields.number(),
                (0...Int64(Self.maximum)).contains(count)
            else { throw RecordVault.forged("list of disabled users") }
            var entries: [Entry] = []
            for _ in 0..<count {
                guard let user = fields.text(), let issuer = fields.text(), let since = fields.time() else {
                    throw RecordVault.forged("list of disabled users")
                }
                entries.append(Entry(user: user, issuer: issuer, since: since))
            }
            guard fields.isAtEnd else { throw RecordVault.forged("list of disabled users") }
            return (entries, version)
        }
    }

    private func sealHead(_ version: Int64) throws -> [UInt8] {
        let fields = FieldWriter(format: Self.format)
        return try fields.withUnsafeBytes { try vault.sealSetting($0, name: Self.head, version: version) }
    }

    private func headVersion(_ value: [UInt8]?) throws -> Int64 {
        guard let value else { return 0 }
        return try vault.openSetting(value, name: Self.head) { bytes, version in
            guard let fields = FieldReader(bytes, format: Self.format), fields.isAtEnd else {
                throw RecordVault.forged("list of disabled users")
            }
            return version
        }
    }
}

// Where the way of a request asks the list: before anything else is judged, and once more when the answer leaves.
extension RequestHandler {
    /// Of a person's session; what unnamed holders and partners may, other rules say.
    func refusalOfDisabled(_ session: LiveSession) -> KMSFailure? {
        guard let disabled = keyManagement.disabled, case .user = session.content.holder else { return nil }
        do {
            try disabled.check(session.content.userID)
            return nil
        } catch {
            return error
        }
    }

    /// The identity, unless the token's user is disabled.
    func notDisabled(_ identity: TokenIdentity) throws(KMSFailure) -> TokenIdentity {
        try keyManagement.disabled?.check(identity.userID)
        return identity
    }

    /// Whether an answer that waited for its record belongs to somebody who was disabled meanwhile.
    func isOfDisabled(_ entry: RequestLogEntry) -> Bool {
        guard let disabled = keyManagement.disabled, let user = entry.user else { return false }
        return disabled.isDisabled(user)
    }
}

package import Diagnostics
import KMSProtocol
package import KeyStore
import Synchronization
import WireText

/// The freezes that stand: durable and sealed in the store, at hand in memory on every node.
///
/// A freeze is in force on this node when `order` returns; other nodes of the same store take it with the next renewal of
/// their lease (`take`), or read it within half a second (`refresh`, called by a service loop). While the setting can not be
/// read or is not genuine, release stops: a freeze that somebody deleted or a store that is away must not open anything.
/// Thread-safe.
package final class FreezeBoard: Sendable {
    /// How often a node looks at what others have frozen: a freeze is to hold everywhere within a second.
    package static let refreshMilliseconds = 500
    package static let setting = "freezes"
    private static let format: UInt8 = 1
    private static let maximum = 10_000

    private struct State {
        var freezes: [Freeze] = []
        var value: [UInt8]?
        var version: Int64 = 0
        /// Why it is not known what is frozen.
        var unknown: DiagnosedError?
    }

    /// What stops all release, as a freeze of everything does, and no officer ordered.
    package let rollback = RollbackGuard()
    private let store: any KeyStore
    private let vault: RecordVault
    private let state = Mutex(State())

    /// Reads what stands; throws when that is not possible.
    package init(store: any KeyStore, vault: RecordVault) async throws {
        self.store = store
        self.vault = vault
        try await refresh()
    }

    package var standing: [Freeze] { state.withLock { $0.freezes } }

    /// Reads the store again; cheap when nothing changed.
    package func refresh() async throws {
        do {
            let before = version
            try take(try await store.setting(Self.setting), readAfter: before)
        } catch {
            let known =
                (error as? DiagnosedError) ?? DiagnosedError(.storeFailed, fault: .store, "freezes are not known")
            state.withLock { $0.unknown = known }
            throw known
        }
    }

    /// The version that is known here, for `take`.
    package var version: Int64 { state.withLock { $0.version } }

    /// Takes over what stands in the store's setting, as a renewal of the lease brings it. `known` is `version` as it was
    /// before the setting was read: what is older than that somebody put back; what is older than what was taken meanwhile
    /// only came late. True: something else stands than before.
    @discardableResult
    package func take(_ value: [UInt8]?, readAfter known: Int64) throws -> Bool {
        guard state.withLock({ $0.value != value || $0.unknown != nil }) else { return false }
        do {
            let (freezes, version) = try read(value)
            return try state.withLock { state in
                guard version >= known else { throw Self.rolledBack }
                guard version >= state.version else { return false }
                let isOther = state.value != value
                state = State(freezes: freezes, value: value, version: version, unknown: nil)
                return isOther
            }
        } catch {
            let unknown =
                (error as? DiagnosedError) ?? DiagnosedError(.storeFailed, fault: .store, "freezes are not known")
            state.withLock { $0.unknown = unknown }
            throw unknown
        }
    }

    /// Makes a freeze stand, durable and here at once.
    package func order(_ freeze: Freeze) async throws {
        try await change { list in
            guard list.count < Self.maximum else {
                throw DiagnosedError(
                    "freeze-limit", fault: .client, "too many freezes stand", expected: "at most \(Self.maximum)",
                    hint: "lift some, or freeze everything")
            }
            list.append(freeze)
        }
    }

    /// Ends a freeze; returns it, or nil when none of that id stands.
    package func lift(_ id: String) async throws -> Freeze? {
        var lifted: Freeze?
        try await change { list in
            lifted = list.first { $0.id == id }
            list.removeAll { $0.id == id }
        }
        return lifted
    }

    /// Puts what is known here back into a store that has an older list, for a database that was promoted without all of
    /// the log (docs/failover.md). A newer list stays, and one that is not genuine throws. False: nothing was to be done.
    package func restore() async throws -> Bool {
        for _ in 0..<16 {
            let known = state.withLock { (value: $0.value, version: $0.version) }
            let value = try await store.setting(Self.setting)
            guard let own = known.value, try read(value).version < known.version else {
                try await refresh()
                return false
            }
            let change = StoreChange(
                writes: [.putSetting(name: Self.setting, value: own)],
                expectations: [.setting(name: Self.setting, value: value)])
            if try await store.commit(change) == .committed {
                try await refresh()
                return true
            }
        }
        throw Self.conflict
    }

    private static let conflict = DiagnosedError(
        "freeze-conflict", fault: .store, "others change the freezes at the same time", hint: "try again")

    private func change(_ body: (inout [Freeze]) throws -> Void) async throws {
        for _ in 0..<16 {
            let value = try await store.setting(Self.setting)
            var (freezes, version) = try read(value)
            try body(&freezes)
            var fields = FieldWriter(format: Self.format)
            fields.field(Int64(freezes.count))
            for freeze in freezes { freeze.write(to: &fields) }
            let sealed = try fields.withUnsafeBytes {
                try vault.sealSetting($0, name: Self.setting, version: version + 1)
            }
            let change = StoreChange(
                writes: [.putSetting(name: Self.setting, value: sealed)],
                expectations: [.setting(name: Self.setting, value: value)])
            if try await store.commit(change) == .committed {
                try await refresh()
                return
            }
        }
        throw Self.conflict
    }

    private func read(_ value: [UInt8]?) throws -> (freezes: [Freeze], version: Int64) {
        try Self.read(value, vault: vault)
    }

    static func read(_ value: [UInt8]?, vault: RecordVault) throws -> (freezes: [Freeze], version: Int64) {
        guard let value else { return ([], 0) }
        return try vault.openSetting(value, name: setting) { bytes, version in
            guard var fields = FieldReader(bytes, format: format), let count = fields.number(),
                (0...Int64(maximum)).contains(count)
            else { throw RecordVault.forged("freeze list") }
            var freezes: [Freeze] = []
            for _ in 0..<count {
                guard let freeze = Freeze(&fields) else { throw RecordVault.forged("freeze list") }
                freezes.append(freeze)
            }
            guard fields.isAtEnd else { throw RecordVault.forged("freeze list") }
            return (freezes, version)
        }
    }

    package static let rolledBack = DiagnosedError(
        "store-rollback", fault: .store, "the list of freezes in the store is older than the one known",
        expected: "a version that only rises", hint: "somebody put back an old row; find out who has write access")

    // MARK: Judging

    /// Refuses a release that a freeze covers. Freezes of a user, a device or everything are found before any key is
    /// read; those of a space or a time range when the key is known.
    func check(_ release: @autoclosure () -> Freeze.Release) throws(KMSFailure) {
        try rollback.check()
        let found = state.withLock { state -> KMSFailure? in
            if state.unknown != nil { return Self.notKnown }
            guard !state.freezes.isEmpty else { return nil }
            let release = release()
            guard let freeze = state.freezes.first(where: { $0.covers(release) }) else { return nil }
            return KMSFailure(
                KMSStatus.forbidden, "the release of keys is frozen by the organisation's officers",
                rule: "frozen:\(freeze.id)")
        }
        if let found { throw found }
    }

    /// Whether `check` may refuse anything now.
    var mayRefuse: Bool {
        (try? rollback.check()) == nil || state.withLock { $0.unknown != nil || !$0.freezes.isEmpty }
    }

    /// Whether `check` made this refusal.
    static func isFreeze(_ failure: KMSFailure) -> Bool {
        failure.rule.map { $0 == unknownRule || $0 == RollbackGuard.rule || $0.hasPrefix("frozen:") } ?? false
    }

    static let unknownRule = "freezes-unknown"
    private static let notKnown = KMSFailure(
        KMSStatus.internalError, "it is not known what is frozen", rule: unknownRule)
}

extension Caller {
    /// What is released to this caller, for `FreezeBoard.check`.
    func release(spaces: [String] = [], bound: [Timestamp] = []) -> Freeze.Release {
        var partner: String?
        if case .partner(let host) = capacity { partner = host }
        var users: Set = [tokenUser.canonicalAuthID, effectiveUser.canonicalAuthID]
        if case .service(let agent?) = capacity { users.insert(agent.canonicalAuthID) }
        return Freeze.Release(
            users: users, device: clientID,
            services: serviceNames, partner: partner, spaces: spaces, bound: bound)
    }
}

import Diagnostics
package import KeyStore
package import SignedPolicy
package import WireText

/// The nonces of officers' requests that were taken, sealed as one setting of the store: a restart forgets none, and what
/// one node took no other node of the same store takes.
package struct OfficerNonces: Sendable {
    static let setting = "officer-nonces"
    private static let format: UInt8 = 1
    /// A nonce is kept this long beyond its request's end, in seconds, so that a clock that is set back brings none back.
    private static let keptBeyond: Int64 = 86_400

    private let store: any KeyStore
    private let vault: RecordVault

    package init(store: any KeyStore, vault: RecordVault) {
        self.store = store
        self.vault = vault
    }

    package func remembered() async throws -> [OfficerDesk.Nonce] {
        try Self.read(try await store.setting(Self.setting), vault).nonces
    }

    /// Keeps what was taken elsewhere, as far as it still counts and is not there; how many those were.
    func takeOver(_ nonces: [OfficerDesk.Nonce], now: Timestamp) async throws -> [OfficerDesk.Nonce] {
        let known = Set(try await remembered().map(\.value))
        var missing: [String: OfficerDesk.Nonce] = [:]
        for nonce in nonces where !known.contains(nonce.value) && nonce.until.adding(seconds: Self.keptBeyond) >= now {
            missing[nonce.value] = nonce
        }
        // As many as a desk remembers: those that count longest.
        let taken = missing.values.sorted { ($0.until, $0.value) > ($1.until, $1.value) }
            .prefix(OfficerDesk.maximumNonces)
        if !taken.isEmpty { try await keep(Array(taken), now: now) }
        return Array(taken)
    }

    /// Durable when it returns; throws when one of them is there already.
    package func keep(_ nonces: [OfficerDesk.Nonce], now: Timestamp) async throws {
        for _ in 0..<16 {
            let value = try await store.setting(Self.setting)
            var (kept, version) = try Self.read(value, vault)
            guard !kept.contains(where: { old in nonces.contains { $0.value == old.value } }) else {
                throw DiagnosedError(
                    .requestReplayed, fault: .client, "another node took this signature before",
                    hint: "sign again: each signature counts once")
            }
            kept.removeAll { $0.until.adding(seconds: Self.keptBeyond) < now }
            // As many as a desk remembers; the oldest go first, and those are over.
            kept.sort { $0.until < $1.until }
            kept = Array(kept.suffix(max(0, OfficerDesk.maximumNonces - nonces.count))) + nonces
            var fields = FieldWriter(format: Self.format)
            fields.field(Int64(kept.count))
            for nonce in kept {
                fields.field(nonce.value)
                fields.field(nonce.until)
            }
            let sealed = try fields.withUnsafeBytes {
                try vault.sealSetting($0, name: Self.setting, version: version + 1)
            }
            let change = StoreChange(
                writes: [.putSetting(name: Self.setting, value: sealed)],
                expectations: [.setting(name: Self.setting, value: value)])
            if try await store.commit(change) == .committed { return }
        }
        throw DiagnosedError(.storeBusy, fault: .store, "others take officers' requests at the same time")
    }

    static func read(
        _ value: [UInt8]?, _ vault: RecordVault
    ) throws -> (nonces: [OfficerDesk.Nonce], version: Int64) {
        guard let value else { return ([], 0) }
        return try vault.openSetting(value, name: setting) { bytes, version in
            guard var fields = FieldReader(bytes, format: format), let count = fields.number(),
                (0...Int64(OfficerDesk.maximumNonces)).contains(count)
            else { throw RecordVault.forged("list of nonces") }
            var nonces: [OfficerDesk.Nonce] = []
            for _ in 0..<count {
                guard let value = fields.text(), let until = fields.time() else {
                    throw RecordVault.forged("list of nonces")
                }
                nonces.append(OfficerDesk.Nonce(value: value, until: until))
            }
            guard fields.isAtEnd else { throw RecordVault.forged("list of nonces") }
            return (nonces, version)
        }
    }
}

import Diagnostics
package import KeyStore
package import MasterKey
package import WireText

/// From when on the counters of a store go up without a break: a mark that is sealed in the store itself.
///
/// There is a new one whenever counters may rightly be lower, or sums others, than a node remembers: after a restore, and
/// when an officer has accepted a gap. Who writes into the database can put back an old mark, which every node knows to be
/// old, and can make none.
package struct StoreEpoch: Sendable, Equatable {
    package enum Cause: Int64, Sendable {
        /// Counting began here, in a store that was new or of a version without counters.
        case begun = 0
        /// Restored from a backup, and frozen until an officer opens it.
        case restored = 1
        /// What was restored is open: an officer has lifted its freeze.
        case opened = 2
        /// An officer has accepted a gap.
        case accepted = 3
    }

    static let setting = "store-epoch"
    private static let format: UInt8 = 1

    package var id: String
    package var cause: Cause
    package var time: Timestamp
    /// Of the gap, where one was accepted.
    package var note: String
    /// Digest of the rows that do not open and were accepted; empty for none.
    var broken: [UInt8] = []

    package init(_ cause: Cause, id: String = UUIDText.random(), note: String = "", time: Timestamp) {
        (self.id, self.cause, self.time, self.note) = (id, cause, time, note)
    }

    /// What stands in the store, and its value for an expectation; no epoch for a value that does not open.
    static func read(_ store: any KeyStore, _ vault: RecordVault) async throws -> (epoch: StoreEpoch?, value: [UInt8]?)
    {
        guard let value = try await store.setting(setting) else { return (nil, nil) }
        let epoch = try? vault.openSetting(value, name: setting) { bytes, _ in StoreEpoch(bytes) }
        return (epoch, value)
    }

    /// The change that puts it in the place of `value`.
    func change(replacing value: [UInt8]?, _ vault: RecordVault) throws -> StoreChange {
        var fields = FieldWriter(format: Self.format)
        fields.field(id)
        fields.field(cause.rawValue)
        fields.field(time)
        fields.field(note)
        broken.withUnsafeBytes { fields.field($0) }
        let version = value.map(SealedTable.settingVersion) ?? 0
        let sealed = try fields.withUnsafeBytes {
            try vault.sealSetting($0, name: Self.setting, version: version &+ 1)
        }
        return StoreChange(
            writes: [.putSetting(name: Self.setting, value: sealed)],
            expectations: [.setting(name: Self.setting, value: value)])
    }

    /// Begins one in a store that no service has open: the sums become those of the rows as they are.
    package static func begin(
        _ cause: Cause, note: String, store: SummingStore, vault: RecordVault,
        view: @Sendable ((any StoreSnapshot) throws -> RowScan) throws -> RowScan, now: Timestamp
    ) async throws {
        let scan = try view { try RowScan.run($0, vault) }
        let (_, value) = try await read(store, vault)
        var epoch = StoreEpoch(cause, note: note, time: now)
        epoch.broken = scan.broken
        guard try await store.commit(epoch.change(replacing: value, vault), adding: scan.difference) == .committed
        else {
            throw DiagnosedError(.storeBusy, fault: .store, "somebody else works on the store")
        }
    }

    private init?(_ bytes: UnsafeRawBufferPointer) {
        guard var fields = FieldReader(bytes, format: Self.format), let id = fields.text(),
            let cause = fields.number().flatMap({ Cause(rawValue: $0) }), let time = fields.time(),
            let note = fields.text(), let broken = fields.octets(), fields.isAtEnd
        else { return nil }
        self.init(cause, id: id, note: note, time: time)
        self.broken = Array(broken)
    }
}

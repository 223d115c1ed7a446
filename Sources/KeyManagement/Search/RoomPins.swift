import KMSProtocol
import KeyStore
import SecretMemory
import WireText

// Whose a room is. Which space a room's messages are of only the core says, and each indexer could believe another word of it
// (security model, rule 27). So the first space that a room is indexed for stands here, for all indexers and nodes, and for
// good: the room's name as a blind index, the space sealed.
extension KeyManagement {
    private static let pinFormat: UInt8 = 1
    static let roomOfAnother = "room-of-another-space"

    /// What has to be written so that the room is the space's; nothing when it is so already or no room is named. Throws the
    /// refusal when it is another one's.
    func roomPin(_ room: String?, to resource: String, _ now: Timestamp) async throws -> StoreChange {
        guard let room else { return StoreChange() }
        let name = "search-room " + Hexadecimal.encode(vault.lookup(room: room))
        guard let value = try await store.setting(name) else {
            var fields = FieldWriter(format: Self.pinFormat)
            fields.field(resource)
            fields.field(now)
            let sealed = try fields.withUnsafeBytes { try vault.sealSetting($0, name: name, version: 1) }
            return StoreChange(
                writes: [.putSetting(name: name, value: sealed)], expectations: [.setting(name: name, value: nil)])
        }
        let pinned = try vault.openSetting(value, name: name) { bytes, _ -> String in
            guard var fields = FieldReader(bytes, format: Self.pinFormat), let pinned = fields.text(),
                fields.time() != nil, fields.isAtEnd
            else { throw RecordVault.forged("room of a search index") }
            return pinned
        }
        guard pinned == resource else {
            throw KMSFailure(
                KMSStatus.conflict, "the room is indexed for another space (\(Self.roomOfAnother))",
                rule: Self.roomOfAnother)
        }
        return StoreChange()
    }
}

import WireText

/// The id by which Exchange finds a meeting, made of its UID ([MS-OXOCAL], section 2.2.1.27; [MS-OXCICAL], section
/// 2.1.3.1.1.20.26).
enum GlobalObjectID {
    private static let head: [UInt8] = [
        0x04, 0x00, 0x00, 0x00, 0x82, 0x00, 0xE0, 0x00, 0x74, 0xC5, 0xB7, 0x10, 0x1A, 0x82, 0xE0, 0x08,
    ]

    /// `PidLidCleanGlobalObjectId` in base64: of a UID in Outlook's own form its octets without a date, of any other the
    /// UID behind `vCal-Uid`.
    static func clean(uid: String) -> String {
        if let octets = Hexadecimal.decode(uid.lowercased()), octets.starts(with: head), octets.count >= 40 {
            return Base64.encode(Array(octets[..<16]) + [0, 0, 0, 0] + Array(octets[20...]))
        }
        let data = Array("vCal-Uid".utf8) + [1, 0, 0, 0] + Array(uid.utf8) + [0]
        let size = (0..<4).map { UInt8(truncatingIfNeeded: data.count >> ($0 * 8)) }
        return Base64.encode(head + [UInt8](repeating: 0, count: 20) + size + data)
    }
}

package import ServiceRuntime

/// Where `hdsctl backup` puts its files, and how old the newest one may become.
package struct BackupSection: Decodable, Sendable {
    package let folder: FileLocation
    /// Hours until the newest backup raises HDS-BACKUP-STALE.
    package let staleAfterHours: Int
    /// Days until a backup of the erasable keys is deleted: what was erased is gone for good so long afterwards.
    package let erasableDays: Int

    /// Days until the nightly backup deletes an older one; nil: it deletes none.
    package let keepDays: Int?

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case folder
        case staleAfterHours = "stale-after-hours"
        case erasableDays = "erasable-days"
        case keepDays = "keep-days"
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        folder = try section.value(.folder)
        staleAfterHours = try section.value(.staleAfterHours, default: 26, in: 1...8760)
        erasableDays = try section.value(.erasableDays, default: 30, in: 1...3650)
        keepDays = try section.optional(.keepDays)
        guard keepDays.map({ (1...36_500).contains($0) }) ?? true else {
            throw section.problem(.keepDays, "expected 1 to 36500")
        }
    }
}

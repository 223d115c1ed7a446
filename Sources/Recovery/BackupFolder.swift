package import Diagnostics
import Glibc
package import WireText

/// The folder that a service writes its backups into.
package struct BackupFolder: Sendable {
    package static let ending = ".hdsbackup"

    package struct Entry: Sendable {
        package let file: String
        package let header: BackupHeader
    }

    package let path: String

    package init(_ path: String) { self.path = path }

    /// Newest first. Files that are no backups, or damaged at their start, are left out.
    package func list(_ ending: String = BackupFolder.ending) throws(DiagnosedError) -> [Entry] {
        guard let directory = opendir(path) else {
            throw DiagnosedError(
                .backupFile, fault: .configuration, "the folder of backups \(path) can not be read",
                found: String(cString: strerror(errno)), hint: "make it, with mode 0700, for the service's user")
        }
        defer { closedir(directory) }
        var entries: [Entry] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard name.hasSuffix(ending), let header = try? Backup.header(of: "\(path)/\(name)") else { continue }
            entries.append(Entry(file: "\(path)/\(name)", header: header))
        }
        return entries.sorted { $0.header.created > $1.header.created }
    }

    /// The newest backup of a KMS.
    package func newest(of host: String) throws(DiagnosedError) -> Entry {
        guard let newest = try list().first(where: { $0.header.host == host }) else {
            throw DiagnosedError(
                .backupFile, fault: .configuration, "there is no backup of \(host) in \(path)",
                hint: "make one: hdsctl backup create")
        }
        return newest
    }

    /// Deletes backups of a KMS that were made before `limit`, with their receipts. The newest one that was proved stays,
    /// however old it is, and the newest of all. How many were deleted.
    package func expire(of host: String, before limit: Timestamp) throws(DiagnosedError) -> Int {
        let own = try list().filter { $0.header.host == host }
        let proved = own.first { access($0.file + VerifiedBackups.ending, F_OK) == 0 }
        var deleted = 0
        for entry in own.dropFirst() where entry.header.created < limit && entry.file != proved?.file {
            guard unlink(entry.file) == 0 || errno == ENOENT else {
                throw DiagnosedError(
                    .backupFile, fault: .configuration, "the old backup \(entry.file) can not be deleted",
                    found: String(cString: strerror(errno)), hint: "see whether its folder may be written")
            }
            unlink(entry.file + VerifiedBackups.ending)
            deleted += 1
        }
        return deleted
    }
}

import Diagnostics
package import EDiscoveryModel
import Glibc

/// One message as a mail of its own, for an archive that somebody else keeps: the same form as in an export (`MailMessage`).
package enum ArchiveMessage {
    /// - Parameters:
    ///   - number: what stands in the place of a document number.
    ///   - target: the file; it is there whole or not at all, and one that is there is replaced by the same.
    ///   - scratch: a folder's path that is not there, on the same file system; gone when this returns.
    ///   - file: the octets of a file by its reference, nil when they are not there.
    package static func write(
        _ item: CollectedItem, in space: CollectedSpace, number: String, to target: String, scratch: String,
        file chunks: (_ reference: String) async throws -> ExportSource.Chunks?
    ) async throws {
        let settings = try ExportSettings(
            report: "archive", matter: "archive", created: item.published, formats: [.eml], wantsFiles: false)
        let folder = try PackageFolder(scratch)
        defer { folder.abandon() }
        var places: [ExportedItem.Place] = []
        for (position, file) in item.files.enumerated() {
            let own = "\(number)-\(position + 1)"
            guard let reference = file.reference, let chunks = try await chunks(reference) else {
                places.append(.init(number: own, path: nil))
                continue
            }
            // Files of a package are made in the order of their paths.
            let digits = String(position)
            let padded = String(repeating: "0", count: max(0, 6 - digits.utf8.count)) + digits
            let attachment = try folder.file("native/\(padded)")
            while let octets = try await chunks() { try attachment.write(octets) }
            try attachment.close()
            places.append(.init(number: own, path: attachment.path))
        }
        let entry = ExportEntry(
            ExportedItem(item: item, number: number, files: places), index: 0, space: SpacePlace(space, ordinal: 1),
            settings: settings)
        let mail = try folder.file("message.eml")
        try MailMessage(
            entry: entry, header: MailMessage.header(of: entry, settings.zone), settings: settings, folder: folder,
            lineEnd: [0x0D, 0x0A]
        ).write(to: mail)
        try mail.close()
        guard rename(folder.path(of: mail.path), target) == 0 else {
            throw DiagnosedError.exportFile("a message can not be put into the archive", target, errno: errno)
        }
    }
}

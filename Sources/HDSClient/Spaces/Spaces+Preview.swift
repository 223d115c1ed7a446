import Diagnostics
import DomainPolicy
import KMSClient
import KMSProtocol
import SecretMemory
import WireText

// Previews: the organisation's transcoding service draws a page of a file, and seals it as the message is sealed.
extension Spaces {
    /// A page of the file as PNG. Refused where the organisation does not consent to the service; the words are the KMS's.
    package func preview(
        of number: Int64, file place: Int = 0, page: Int = 1, size: Int = 1_024, in space: Space
    ) async throws -> [UInt8] {
        try store.current().policy?.checkDownload()
        let found = number < 1 ? nil : try await cloud.activities(in: space.id, since: number - 1, limit: 1).items.first
        guard let activity = found, activity.sequence == number, case .share(let files) = activity.kind,
            files.indices.contains(place), let uri = activity.keyURI
        else {
            throw DiagnosedError(
                .fileUnknown, fault: .client, "the space has no file of that number", found: "#\(number)",
                hint: "'hds files' lists the files")
        }
        let key = try await keys.key(uri)
        guard key.resourceURI == space.resource else {
            throw DiagnosedError(
                .contentUnreadable, fault: .peer, "the file is encrypted with a key of another space")
        }
        let record = try SecureContentRecord(opening: files[place].record, with: key.key)
        let image = try await cloud.preview(
            url: record.location, record: files[place].record, keyURI: uri, in: space.id, page: page, size: size)
        let octets = try image.open(with: key.key).withUnsafeBytes { [UInt8]($0) }
        guard octets.starts(with: [0x89, 0x50, 0x4E, 0x47]) else {
            throw DiagnosedError(.contentUnreadable, fault: .peer, "the preview is no PNG image")
        }
        return octets
    }
}

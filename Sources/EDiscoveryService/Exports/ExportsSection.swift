import Diagnostics
import JOSESignature
package import ServiceRuntime
import WireText

/// The section `exports`: where exports are made, and for whom they are sealed.
package struct ExportsSection: Decodable, Sendable {
    /// Sealed volumes.
    package let folder: FileLocation
    /// Plain packages, for as long as one is made: memory, or an encrypted disk.
    package let scratch: FileLocation
    /// A JSON file with the officers' public keys, a JWK set: exports are sealed for these alone.
    package let recipients: FileLocation

    init(folder: String, scratch: String, recipients: String) {
        (self.folder, self.scratch, self.recipients) = (
            FileLocation(folder), FileLocation(scratch), FileLocation(recipients)
        )
    }

    package enum CodingKeys: String, CodingKey, CaseIterable { case folder, scratch, recipients }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        folder = try section.value(.folder)
        scratch = try section.value(.scratch)
        recipients = try section.value(.recipients)
        guard folder.path != scratch.path else { throw section.problem(.scratch, "expected another folder") }
    }

    /// By name, read anew for each export.
    func recipient(_ kid: String) throws -> JWK? {
        let text = try recipients.text(upTo: 1 << 20)
        return try JWKSet(json: Array(text.utf8)).keys.first { $0.kid == kid }
    }
}

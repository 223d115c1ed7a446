package import ServiceRuntime

/// The section `archive`: where every message goes as a mail of its own, as it comes.
package struct ArchiveSection: Decodable, Sendable {
    /// Another program takes the files out of it, and deletes them.
    package let folder: FileLocation

    package enum CodingKeys: String, CodingKey, CaseIterable { case folder }

    package init(from decoder: any Decoder) throws {
        folder = try decoder.container(keyedBy: CodingKeys.self).value(.folder)
    }
}

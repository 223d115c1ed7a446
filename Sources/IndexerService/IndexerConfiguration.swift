import Cryptography
import KMSClient
package import LinkedService
package import SearchProtocol
package import ServiceRuntime
package import TextAnalysis

/// The configuration of `hds-indexer`: one YAML file, every key documented in config/hds-indexer.yaml.
package struct IndexerConfiguration: KMSLinkedConfiguration {
    package static let kind = "indexer"
    package static let accountPlace = "service-account"

    package let runtime: RuntimeSection
    package let node: String
    package let organisation: String
    package let core: CoreSection
    package let proxy: ProxySection?
    package let account: ServiceAccountSection
    package let kms: PinnedKMSSection
    package let index: IndexSection
    /// Without it nobody but the core and the KMS talks to the indexer.
    package let control: IndexerControlSection?

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case runtime, node, organisation, core, proxy
        case account = "service-account"
        case kms, index, control
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        runtime = try section.value(.runtime)
        node = try section.value(.node)
        organisation = try section.value(.organisation)
        core = try section.value(.core)
        proxy = try section.optional(.proxy)
        account = try section.value(.account)
        kms = try section.value(.kms)
        index = try section.value(.index)
        control = try section.optional(.control)
        guard !node.isEmpty, node.utf8.count <= 64 else { throw section.problem(.node, "expected 1 to 64 characters") }
    }
}

/// What is indexed, and how much it tells whoever owns the search service.
package struct IndexSection: Decodable, Sendable {
    /// SQLite file of what the indexer remembers, sealed.
    package let database: FileLocation
    package let profile: SearchProfile
    package let languages: LanguageSet
    package let languageCodes: [String]
    /// A space gets a new search key after so many messages.
    package let messagesPerEpoch: Int
    /// Whether everything is indexed anew when profile or languages are not those of the index; else the service does not start.
    let mayIndexAnew: Bool
    /// At most so many items of the feed are dealt with at once.
    package let batch: Int
    package let files: FilesSection

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case database, profile, languages
        case messagesPerEpoch = "messages-per-epoch"
        case mayIndexAnew = "index-anew"
        case batch, files
    }

    private enum Profile: String, NamedValue, Sendable { case list, padded, salted }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        database = try section.value(.database)
        let name = try section.value(.profile, default: Profile.padded).rawValue
        profile = SearchProfile(name: name) ?? .padded
        languageCodes = try section.value(.languages, default: ["en"])
        guard let languages = LanguageSet(codes: languageCodes), !languages.isEmpty else {
            throw section.problem(
                .languages, "expected codes of " + Language.allCases.map(\.code).sorted().joined(separator: ", "))
        }
        self.languages = languages
        messagesPerEpoch = try section.value(.messagesPerEpoch, default: 100_000, in: 1_000...10_000_000)
        mayIndexAnew = try section.value(.mayIndexAnew, default: false)
        batch = try section.value(.batch, default: 256, in: 1...1_000)
        files = try section.optional(.files) ?? FilesSection()
    }
}

/// Whether the texts of files are searched, and what that may cost.
package struct FilesSection: Decodable, Sendable {
    package let areRead: Bool
    /// A larger file is searched by its name only.
    package let largestMegabytes: Int
    /// Path of hds-extract.
    package let reader: String

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case areRead = "read"
        case largestMegabytes = "largest-megabytes"
        case reader
    }

    private static let installed = "/usr/bin/hds-extract"

    init() { (areRead, largestMegabytes, reader) = (true, 16, Self.installed) }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        areRead = try section.value(.areRead, default: true)
        largestMegabytes = try section.value(.largestMegabytes, default: 16, in: 1...64)
        reader = try section.value(.reader, default: Self.installed)
    }
}

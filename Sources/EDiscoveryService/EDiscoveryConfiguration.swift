package import DatabaseConfiguration
package import LinkedService
package import ServiceRuntime

/// The configuration of `hds-ediscovery`: one YAML file, every key documented in config/hds-ediscovery.yaml.
package struct EDiscoveryConfiguration: KMSLinkedConfiguration {
    package static let kind = "ediscovery"
    package static let accountPlace = "service-account"

    package let runtime: RuntimeSection
    package let node: String
    package let organisation: String
    package let core: CoreSection
    package let proxy: ProxySection?
    package let account: ServiceAccountSection
    package let kms: PinnedKMSSection
    package let mirror: MirrorSection
    package let console: ConsoleSection?
    package let dlp: DLPSection?
    package let exports: ExportsSection?
    package let archive: ArchiveSection?

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case runtime, node, organisation, core, proxy
        case account = "service-account"
        case kms, mirror, console, dlp, exports, archive
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
        mirror = try section.value(.mirror)
        console = try section.optional(.console)
        dlp = try section.optional(.dlp)
        exports = try section.optional(.exports)
        archive = try section.optional(.archive)
        guard !node.isEmpty, node.utf8.count <= 64 else { throw section.problem(.node, "expected 1 to 64 characters") }
    }
}

/// What the worker keeps, and who is who.
package struct MirrorSection: Decodable, Sendable {
    /// SQLite file, sealed.
    package let database: FileLocation
    /// Rows that workers share; nil: `database`.
    package let postgresql: PostgreSQLSection?
    /// JSON file of the customer's people; nil: subjects are named by their ids only.
    package let directory: FileLocation?
    /// At most so many items of the feed are written at once.
    package let batch: Int
    /// Files of messages up to so many MiB are kept beside the database; 0: none.
    package let largestFile: Int

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case database, postgresql, directory, batch
        case largestFile = "largest-file"
        case followsCore = "follow-core-retention"
    }

    /// Whether what the core deletes for its age is destroyed here as well.
    package let followsCore: Bool

    /// Where the files of messages are.
    package var folder: String {
        (database.path.hasSuffix(".sqlite") ? String(database.path.dropLast(7)) : database.path) + "-files"
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        database = try section.value(.database)
        postgresql = try section.optional(.postgresql)
        directory = try section.optional(.directory)
        batch = try section.value(.batch, default: 256, in: 1...1_000)
        followsCore = try section.value(.followsCore, default: false)
        largestFile = try section.value(.largestFile, default: 1024, in: 0...1_048_576)
    }
}

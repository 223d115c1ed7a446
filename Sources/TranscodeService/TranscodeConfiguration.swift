package import LinkedService
package import ServiceRuntime

/// The configuration of `hds-transcode`: one YAML file, every key documented in config/hds-transcode.yaml.
package struct TranscodeConfiguration: KMSLinkedConfiguration {
    package static let kind = "transcode"
    package static let accountPlace = "service-account"

    package let runtime: RuntimeSection
    package let node: String
    package let organisation: String
    package let core: CoreSection
    package let proxy: ProxySection?
    package let account: ServiceAccountSection
    package let kms: PinnedKMSSection
    package let previews: PreviewSection

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case runtime, node, organisation, core, proxy
        case account = "service-account"
        case kms, previews
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
        previews = try section.optional(.previews) ?? PreviewSection()
        guard !node.isEmpty, node.utf8.count <= 64 else { throw section.problem(.node, "expected 1 to 64 characters") }
    }
}

/// What a preview may cost.
package struct PreviewSection: Decodable, Sendable {
    /// Path of hds-extract.
    package let drawer: String
    /// A larger file has no preview.
    package let largestMegabytes: Int
    /// Seconds of processor time for one page.
    package let seconds: Int

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case drawer
        case largestMegabytes = "largest-megabytes"
        case seconds
    }

    private static let installed = "/usr/bin/hds-extract"

    init() { (drawer, largestMegabytes, seconds) = (Self.installed, 16, 5) }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        drawer = try section.value(.drawer, default: Self.installed)
        largestMegabytes = try section.value(.largestMegabytes, default: 16, in: 1...64)
        seconds = try section.value(.seconds, default: 5, in: 1...8)
    }
}

package import ServiceRuntime

/// Where a node remembers the counters of the key store, and how often it looks at all rows.
package struct RollbackSection: Decodable, Sendable {
    /// Nil: named after the audit folder, beside the key store or that folder.
    package let countersFile: FileLocation?
    package let scanEvery: Duration

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case countersFile = "counters-file"
        case scanEvery = "scan-every"
    }

    package init() { (countersFile, scanEvery) = (nil, .seconds(3600)) }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        countersFile = try section.optional(.countersFile)
        scanEvery = try section.value(
            .scanEvery, default: .seconds(3600), in: .seconds(60) ... .seconds(7 * 86_400))
    }
}

extension KMSServiceConfiguration {
    /// Nodes that share a folder have audit folders of their own.
    var countersFile: String {
        let trail = auditFolder.split(separator: "/").last ?? "audit"
        return rollback.countersFile?.path ?? "\(dataFolder)/\(trail).counters"
    }
}

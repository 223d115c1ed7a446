package import CoreLink

/// How a service greets the core: the part of the link's configuration that never changes while the service runs.
package struct LinkSettings: Sendable {
    private let service: String
    private let node: String
    private let organisation: String
    private let version: String
    private let proof: NodeProof?
    private let epoch: @Sendable () -> Int64
    private let destination: @Sendable () -> String
    private let details: @Sendable () -> String

    /// - Parameters:
    ///   - version: the release of the service.
    ///   - details: the details document of the destination; an empty object for kinds that have none.
    package init<Configuration: LinkedConfiguration>(
        _ configuration: Configuration, version: String, proof: NodeProof? = nil,
        epoch: @escaping @Sendable () -> Int64 = { 0 }, destination: @escaping @Sendable () -> String,
        details: @escaping @Sendable () -> String = { "{}" }
    ) {
        service = Configuration.kind
        node = configuration.node
        organisation = configuration.organisation
        self.version = version
        self.proof = proof
        self.epoch = epoch
        self.destination = destination
        self.details = details
    }

    package func link(_ material: LinkMaterial, _ network: NetworkWatch) -> CoreLinkConfiguration {
        CoreLinkConfiguration(
            url: material.url, trust: material.trust, coreKey: material.coreKey, proof: proof,
            route: network.route(through: material.proxy), node: node, service: service, organisation: organisation,
            version: version, epoch: epoch(), destination: destination(), details: details,
            token: { [tokens = material.tokens] in try await tokens.token() })
    }
}

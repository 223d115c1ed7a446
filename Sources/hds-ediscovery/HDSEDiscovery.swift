import ArgumentParser
import EDiscoveryService
import Glibc
import ServiceRuntime

/// The eDiscovery worker.
struct HDSEDiscovery: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hds-ediscovery", abstract: "The eDiscovery worker of a hybrid data security appliance.",
        discussion: """
            Keeps a sealed mirror of what happens in the organisation's spaces, and makes reports of it for compliance \
            officers, with keys that the KMS gives on behalf of participants, by the organisation's consent. Commands and answers go sealed through \
            the core. Runs until SIGTERM. A configuration that can not be used ends it with 78 and says what to correct.
            """, version: EDiscoveryAssembly.identity.version)

    @Option(name: .long, help: "The configuration, a YAML file; every key is explained in config/hds-ediscovery.yaml.")
    var config = "/etc/hds/hds-ediscovery.yaml"

    func run() async throws {
        let code = await ServiceRuntime.run(
            EDiscoveryAssembly.identity, configurationFile: config, as: EDiscoveryConfiguration.self
        ) { configuration, context in
            try await EDiscoveryAssembly.start(configuration, context)
        }
        Glibc.exit(code.rawValue)
    }
}

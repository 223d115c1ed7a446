import ArgumentParser
import Glibc
import KMSService
import ServiceRuntime

/// The key management service.
@main
struct HDSKMS: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hds-kms", abstract: "The key management service of a hybrid data security appliance.",
        discussion: """
            Answers requests of clients for keys, which reach it end-to-end encrypted over its own outbound link to the \
            cloud core. Runs until SIGTERM, then answers what is in flight and ends with 0. A configuration that can not \
            be used ends it with 78 and says what to correct.
            """, version: KMSAssembly.identity.version)

    @Option(name: .long, help: "The configuration, a YAML file; every key is explained in config/hds-kms.yaml.")
    var config = "/etc/hds/hds-kms.yaml"

    func run() async throws {
        let code = await ServiceRuntime.run(
            KMSAssembly.identity, configurationFile: config, as: KMSServiceConfiguration.self
        ) { configuration, context in
            try await KMSAssembly.start(configuration, context)
        }
        Glibc.exit(code.rawValue)
    }
}

import ArgumentParser
import Glibc
import IndexerService
import ServiceRuntime

/// The search indexer.
@main
struct HDSIndexer: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hds-indexer", abstract: "The search indexer of a hybrid data security appliance.",
        discussion: """
            Reads the messages of the organisation from the core's feed, with keys that the KMS gives it by the \
            organisation's consent, and fills the core's search service with opaque values. Answers searches, which reach it \
            sealed. Runs until SIGTERM. A configuration that can not be used ends it with 78 and says what to correct.
            """, version: IndexerAssembly.identity.version)

    @Option(name: .long, help: "The configuration, a YAML file; every key is explained in config/hds-indexer.yaml.")
    var config = "/etc/hds/hds-indexer.yaml"

    func run() async throws {
        let code = await ServiceRuntime.run(
            IndexerAssembly.identity, configurationFile: config, as: IndexerConfiguration.self
        ) { configuration, context in
            try await IndexerAssembly.start(configuration, context)
        }
        Glibc.exit(code.rawValue)
    }
}

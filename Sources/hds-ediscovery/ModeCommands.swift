import APIService
import ArgumentParser
import EDiscoveryService
import Glibc
import ServiceRuntime
import TranscodeService

/// One program, three services: which one it is, the name says by which it is started (docs/decisions/170). Each has a unit, a
/// user, an account, a consent and a configuration of its own; nothing is shared but the file.
@main
enum HDSEDiscoveryProgram {
    static func main() async {
        switch CommandLine.arguments.first?.split(separator: "/").last {
        case "hds-api": await HDSAPI.main()
        case "hds-transcode": await HDSTranscode.main()
        default: await HDSEDiscovery.main()
        }
    }
}

/// The API server for integrations.
struct HDSAPI: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hds-api", abstract: "The API server of a hybrid data security appliance.",
        discussion: """
            Shows integrations the spaces and messages of the person whose tokens they bring, opened here with keys that the \
            KMS gives that person, and posts for the person; by the organisation's consent, and not without. Runs until SIGTERM. \
            A configuration that can not be used ends it with 78 and says what to correct.
            """, version: APIAssembly.identity.version)

    @Option(name: .long, help: "The configuration, a YAML file; every key is explained in config/hds-api.yaml.")
    var config = "/etc/hds/hds-api.yaml"

    func run() async throws {
        let code = await ServiceRuntime.run(
            APIAssembly.identity, configurationFile: config, as: APIConfiguration.self
        ) { configuration, context in
            try await APIAssembly.start(configuration, context)
        }
        Glibc.exit(code.rawValue)
    }
}

/// The transcoding service.
struct HDSTranscode: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hds-transcode", abstract: "The transcoding service of a hybrid data security appliance.",
        discussion: """
            Draws pages of documents and pictures for members of a space, in a confined process, with keys that the KMS gives \
            it by the organisation's consent, and not without. Files and images leave it sealed as the message is. Runs until \
            SIGTERM. A configuration that can not be used ends it with 78 and says what to correct.
            """, version: TranscodeAssembly.identity.version)

    @Option(name: .long, help: "The configuration, a YAML file; every key is explained in config/hds-transcode.yaml.")
    var config = "/etc/hds/hds-transcode.yaml"

    func run() async throws {
        let code = await ServiceRuntime.run(
            TranscodeAssembly.identity, configurationFile: config, as: TranscodeConfiguration.self
        ) { configuration, context in
            try await TranscodeAssembly.start(configuration, context)
        }
        Glibc.exit(code.rawValue)
    }
}

import ArgumentParser
import HTTPServer
import ServiceRuntime
import TokenIssuer

/// Runs the service.
struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Run the service.")

    @OptionGroup var file: ConfigurationOption

    func run() async throws {
        let identity = ServiceIdentity(name: "hds-auth", version: HDSAuth.version)
        let code = await ServiceRuntime.run(
            identity, configurationFile: file.path, as: AuthConfiguration.self, start: Self.start)
        throw ArgumentParser.ExitCode(code.rawValue)
    }

    private static func start(
        _ configuration: AuthConfiguration, _ context: ServiceContext
    ) async throws -> ServicePlan<AuthConfiguration> {
        let accounts = try AccountDirectory(path: configuration.accounts.path)
        let service = try AuthorizationService(
            settings: try configuration.settings(), accounts: accounts, stateFolder: configuration.state.path,
            events: context.events, metrics: context.metrics)
        let server = WebServer(
            configuration: WebServerConfiguration(
                host: configuration.listen.host, port: configuration.listen.port,
                identity: try configuration.serverIdentity(context.credentials),
                maximumBody: IssuerRoutes.maximumBodyBytes, serverName: "hds-auth"),
            router: IssuerRoutes(service).router())
        return ServicePlan(
            services: [LoginJanitor(service), server], selfTest: { try await service.check() },
            reload: { new in try reload(new, running: configuration, accounts) },
            finish: { service.close() })
    }

    /// Accounts are taken over at once; what else the file says counts from the next start, and says so.
    private static func reload(
        _ new: AuthConfiguration, running: AuthConfiguration, _ accounts: AccountDirectory
    ) throws {
        try new.requireSameSettings(as: running)
        try accounts.reload()
    }
}

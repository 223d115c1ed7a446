import ArgumentParser
import Cryptography
import Diagnostics
import HTTPServer
import ServiceRuntime
import TLSChannel
import TokenIssuer

/// Runs the service.
struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Run the service.")

    @OptionGroup var file: ConfigurationOption

    func run() async throws {
        let identity = ServiceIdentity(name: "hds-auth", version: Release.version)
        let code = await ServiceRuntime.run(
            identity, configurationFile: file.path, as: AuthConfiguration.self, start: Self.start)
        throw ArgumentParser.ExitCode(code.rawValue)
    }

    private static func start(
        _ configuration: AuthConfiguration, _ context: ServiceContext
    ) async throws -> ServicePlan<AuthConfiguration> {
        let accounts = try AccountDirectory(path: configuration.accounts.path)
        let settings = try configuration.settings()
        try settings.requireUsableOrganisations(of: accounts.accounts)
        let service = try AuthorizationService(
            settings: settings, accounts: accounts, stateFolder: configuration.state.path,
            events: context.events, metrics: context.metrics)
        let identity = try configuration.serverIdentity(context.credentials)
        watch(service, configuration, identity, context)
        let server = WebServer(
            configuration: WebServerConfiguration(
                host: configuration.listen.host, port: configuration.listen.port, identity: identity,
                maximumBody: IssuerRoutes.maximumBodyBytes, serverName: "hds-auth"),
            router: IssuerRoutes(service).router())
        return ServicePlan(
            services: [LoginJanitor(service), server], selfTest: { try await service.check() },
            reload: { new in try reload(new, running: configuration, settings, accounts) },
            finish: { service.close() })
    }

    private static func watch(
        _ service: AuthorizationService, _ configuration: AuthConfiguration, _ identity: TLSServerIdentity,
        _ context: ServiceContext
    ) {
        let alarms = context.alarms
        context.health.probe(HealthCheck("logins", "the database of logins", gate: .required), every: .seconds(15)) {
            do {
                let count = try await service.grants.familyCount()
                alarms.clear(.databaseUnreachable, "the database of logins answers")
                return .ok("\(count) logins")
            } catch {
                alarms.raise(.databaseUnreachable, Loggable(error: error))
                return .fail(error)
            }
        }
        context.health.watchSpace(of: configuration.state)
        if let certificate = identity.certificateChain.first {
            context.health.watchCertificate(
                "certificate", "the certificate of the authorization service",
                fix: "replace the files of the section tls and restart the service"
            ) { certificate.notAfter }
            let host = configuration.issuerHost
            if !certificate.isValid(forHost: host) {
                context.health.warn(
                    StandingWarning(
                        "certificate-name", "the certificate is not for \(reviewed: host), the host of the issuer",
                        fix: "clients refuse it unless a proxy in front shows another one: get one with that name"))
            }
        }
    }

    /// Accounts are taken over at once; what else the file says counts from the next start, and says so.
    private static func reload(
        _ new: AuthConfiguration, running: AuthConfiguration, _ settings: IssuerSettings, _ accounts: AccountDirectory
    ) throws {
        try new.requireSameSettings(as: running)
        try accounts.reload(judge: settings.requireUsableOrganisations)
    }
}

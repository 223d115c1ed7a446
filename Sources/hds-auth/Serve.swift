import ArgumentParser
import Cryptography
import Diagnostics
import HTTPServer
import SCIMServer
import ServiceLifecycle
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
        let providers = try configuration.identityProviders(context.credentials)
        let made = providers.organisations
        try settings.requireUsableOrganisations(of: accounts.accounts, made: made)
        let service = try AuthorizationService(
            settings: settings, accounts: accounts, providers: providers, stateFolder: configuration.state.path,
            events: context.events, metrics: context.metrics)
        let identity = try configuration.tls.identity(context.credentials)
        let certificate = CertificateInUse(identity, configuration.tls.certificate)
        certificate.watch(
            context.health, "the certificate of the authorization service", host: configuration.issuerHost)
        watch(service, configuration, context)
        ProviderWatch.begin(providers, context)
        let people = try configuration.people(service, context)
        let control = try configuration.control.map { section throws(DiagnosedError) in
            try AuthControl(section, service, people, host: configuration.issuerHost)
        }
        let router = IssuerRoutes(service).router()
        people.scim?.add(to: router)
        let server = WebServer(
            configuration: WebServerConfiguration(
                host: configuration.listen.host, port: configuration.listen.port, identity: identity,
                maximumBody: people.scim == nil ? IssuerRoutes.maximumBodyBytes : SCIMServer.maximumBodyBytes,
                largeBodies: ["/saml/": IssuerRoutes.maximumAssertionBytes], serverName: "hds-auth"),
            router: router)
        return ServicePlan(
            services: [LoginJanitor(service)] + people.syncs + (control.map { [$0] } ?? []) + [server],
            selfTest: { try await service.check() },
            reload: { new in
                let identity = try new.tls.replacement(context.credentials)
                let tls = try WebServer.tls(identity)
                try accounts.reload { new throws(DiagnosedError) in
                    try settings.requireUsableOrganisations(of: new, made: made)
                }
                server.use(tls)
                certificate.replace(identity, new.tls.certificate)
            }, reloadable: AuthConfiguration.reloadable,
            finish: { service.close() })
    }

    private static func watch(
        _ service: AuthorizationService, _ configuration: AuthConfiguration, _ context: ServiceContext
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
    }
}

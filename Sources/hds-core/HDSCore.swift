import ArgumentParser
import CloudCore
import Diagnostics
import HTTPServer
import ServiceRuntime

/// The command `hds-core`: the reference cloud core, for demonstration, tests and drills.
@main
struct HDSCore: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hds-core",
        abstract: "The reference cloud core: relays and stores what only clients and their KMS can read.",
        discussion: """
            It serves clients (bootstrap, devices, event sockets, conversations, files) and takes the links of key \
            management services. It holds no key: what it relays and stores is opaque to it.
            """,
        version: Release.version)

    @Option(
        name: [.customLong("config"), .customLong("configuration"), .customShort("c")],
        help: ArgumentHelp("The service's configuration.", valueName: "file"), completion: .file())
    var file = "/etc/hds/hds-core.yaml"

    /// What `hdsctl drill hostile-core` starts: a core that attacks. Not shown, and refused everywhere else.
    @Option(help: ArgumentHelp("The folder of a drill.", visibility: .hidden), completion: .directory)
    var hostileDrill: String?

    func run() async throws {
        let drill = hostileDrill
        let code = await ServiceRuntime.run(
            ServiceIdentity(name: "hds-core", version: Release.version), configurationFile: file,
            as: CoreConfiguration.self
        ) { try await Self.start($0, $1, drill: drill) }
        throw ArgumentParser.ExitCode(code.rawValue)
    }

    private static func start(
        _ configuration: CoreConfiguration, _ context: ServiceContext, drill: String?
    ) async throws -> ServicePlan<CoreConfiguration> {
        let identity = try configuration.tls.identity(context.credentials)
        let certificate = CertificateInUse(identity, configuration.tls.certificate)
        let core = try CloudCore(
            configuration: try configuration.core(context.credentials), recorder: context.events,
            metrics: context.metrics, hostile: try drill.map { try hostile($0, configuration) })
        try await core.prepare()
        watch(core, context)
        certificate.watch(
            context.health, "the certificate of the core", host: configuration.publicHost)
        let server = core.server(
            WebServerConfiguration(
                host: configuration.listen.host, port: configuration.listen.port, identity: identity,
                serverName: "hds-core", maximumConnections: configuration.maximumConnections))
        return ServicePlan(
            services: [core, server, core.forwardDrain], selfTest: { try await core.check() },
            reload: { new in
                let identity = try new.tls.replacement(context.credentials)
                let tls = try WebServer.tls(identity)
                core.renew(try new.core(context.credentials))
                server.use(tls)
                certificate.replace(identity, new.tls.certificate)
            }, reloadable: CoreConfiguration.reloadable, finish: { await core.close() })
    }

    /// The malicious half, in a folder that was made to be thrown away, for loopback and for nobody else.
    private static func hostile(_ folder: String, _ configuration: CoreConfiguration) throws -> HostileRelay {
        let isOnLoopback = ["127.0.0.1", "::1"].contains(configuration.listen.host)
        let isInside = configuration.store.database.path.hasPrefix(folder + "/")
        guard isOnLoopback, isInside, let hostile = HostileRelay(folder: folder) else {
            throw DiagnosedError(
                "hostile-core-refused", fault: .configuration, "this is no place for a hostile core",
                expected:
                    "a folder that holds \(HostileRelay.mark) and the core's database, and a core on loopback",
                hint: "let hdsctl drill hostile-core start it")
        }
        return hostile
    }

    private static func watch(_ core: CloudCore, _ context: ServiceContext) {
        let alarms = context.alarms
        context.health.probe(HealthCheck("store", "the database", gate: .required), every: .seconds(15)) {
            do {
                try await core.check()
                alarms.clear(.databaseUnreachable, "reading and durable writing work")
                return .ok("reading and durable writing work")
            } catch {
                alarms.raise(.databaseUnreachable, Loggable(error: error))
                return .fail(error)
            }
        }
        context.health.probe(HealthCheck("links", "the links of key management services"), every: .seconds(5)) {
            judgeNodes(core, alarms)
            let missing = core.openLinks.filter { $0.count == 0 }.map(\.organisation)
            guard !missing.isEmpty else {
                let nodes = core.linkedNodes.flatMap(\.nodes)
                    .map { "\($0.node) \($0.version), epoch \($0.epoch)" }.joined(separator: "; ")
                return .ok("every organisation is linked: \(reviewed: nodes)")
            }
            return .warn(
                "no link of \(reviewed: missing.joined(separator: ", "))",
                fix: "start the key management service of the organisation, and look at its health address")
        }
    }

    /// Alarms about the nodes of each organisation.
    private static func judgeNodes(_ core: CloudCore, _ alarms: AlarmBoard) {
        let superseded = core.supersededNodes
        for (organisation, nodes) in core.linkedNodes {
            let subject = Loggable(reviewed: organisation)
            if Set(nodes.map(\.version)).count > 1 {
                let text = nodes.map { "\($0.node) \($0.version)" }.joined(separator: ", ")
                alarms.raise(.versionSkew, about: subject, Loggable(reviewed: text))
            } else {
                alarms.clear(.versionSkew, about: subject, "all linked nodes are of one release")
            }
            if let node = superseded.first(where: { $0.organisation == organisation }) {
                alarms.raise(
                    .splitBrain, about: subject,
                    "node \(reviewed: node.node) of \(subject) came with epoch \(node.epoch), which is over")
            } else {
                alarms.clear(.splitBrain, about: subject, "nobody came with an epoch that is over for two minutes")
            }
        }
    }
}

import CloudCore
import CoreLink
import Cryptography
import Diagnostics
import DomainPolicy
import HTTPClient
import HTTPServer
import Synchronization
import TLSChannel
import TestServers
import TokenIssuer
import WireText

@testable import HDSClient

/// A domain on loopback: the real authorization service and the real core, each behind a `Middleman` with TLS, and a
/// `TestKMS` on a real link. All of them, and the clients, go by one clock that the test moves.
final class SocketWorld: Sendable {
    static let email = "alice@example.com"
    /// Another organisation's KMS that the issuer says something to.
    static let partner = "kms://kms.partner.example.org"
    static let password = "correct horse battery"
    private static let serviceSecret = "service-secret-of-the-kms"

    let clock = TestClock()
    let folder = TemporaryFolder()
    let issuer: Middleman
    let core: Middleman
    let kms: TestKMS
    let accounts: AuthorizationService
    private let cloud: CloudCore
    private let running: [RunningService]
    private let web: WebClient
    /// The KMS's own link with the core.
    let kmsLink: CoreLink
    /// Where services reach the core and the authorization service, past the `Middleman`.
    private let corePort: Int
    private let issuerPort: Int

    /// - Parameters:
    ///   - opaque: the tokens for the cloud are opaque, and the core asks about them.
    ///   - policy: what the domain demands of clients.
    static func run(
        opaque: Bool = false, policy: ClientPolicy? = nil, _ body: (SocketWorld) async throws -> Void
    ) async throws {
        let world = try await SocketWorld(opaque: opaque, policy: policy)
        do {
            try await body(world)
        } catch {
            await world.stop()
            throw error
        }
        await world.stop()
    }

    private init(opaque: Bool, policy: ClientPolicy?) async throws {
        let pki = try TestServers.TestPKI.shared.get()
        let clock = clock
        kms = try TestKMS(clock: clock)
        kms.state.withLock { $0.acceptsEveryBearer = true }
        issuer = try await Middleman(pki.auth)
        core = try await Middleman(pki.core)
        let cluster = "kms://" + TestPKI.host
        var settings = IssuerSettings(
            issuer: issuer.url, domain: "example.com", kmsCluster: cluster,
            kmsRoots: [try TestPKI.shared.get().text("root.pem")], core: core.url)
        if opaque { settings.tokenFormats.cloud = .opaque }
        settings.clientPolicy = policy
        accounts = try AuthorizationService(
            settings: settings, accounts: AccountDirectory(Self.accounts()), stateFolder: folder.path,
            surroundings: .init(now: { clock.now }), passwords: PasswordCheck(decoy: Self.unknownHash))
        let issuerServer = WebServer(
            configuration: WebServerConfiguration(
                host: "127.0.0.1", port: 0, maximumBody: IssuerRoutes.maximumBodyBytes),
            router: IssuerRoutes(accounts).router())
        let issuerRun = RunningService([issuerServer])
        let issuerPort = try await issuerServer.boundPort
        issuer.pass(to: issuerPort)
        cloud = try CloudCore(
            configuration: CloudCoreConfiguration(
                publicURL: core.url, databasePath: folder.path + "/core.sqlite", filesPath: folder.path + "/files",
                organisations: [
                    .init(
                        id: "org-1", domains: ["example.com"], authorizationServer: issuer.url, issuer: issuer.url,
                        jwksURL: "http://127.0.0.1:\(issuerPort)/jwks.json", kmsCluster: cluster, trust: nil,
                        introspection: opaque
                            ? .init(
                                url: "http://127.0.0.1:\(issuerPort)/introspect", clientID: "hds-kms",
                                secret: Redacted(Self.serviceSecret), clusters: ["hds"]) : nil)
                ]), wall: { clock.now })
        try await cloud.prepare()
        let coreServer = cloud.server(WebServerConfiguration(host: "127.0.0.1", port: 0))
        let coreRun = RunningService([cloud, coreServer, cloud.forwardDrain])
        let corePort = try await coreServer.boundPort
        core.pass(to: corePort)
        self.corePort = corePort
        self.issuerPort = issuerPort
        let web = WebClient(trust: nil)
        self.web = web
        let (states, told) = AsyncStream.makeStream(of: LinkState.self)
        let link = KMSLink(kms, told) {
            try await Self.serviceToken(web, "hds-kms", "http://127.0.0.1:\(issuerPort)/token")
        } url: {
            "ws://127.0.0.1:\(corePort)/link/v1"
        }
        kmsLink = link.link
        running = [RunningService([link.link]), coreRun, issuerRun]
        for await state in states where state.phase == .open { break }
    }

    private func stop() async {
        for service in running { await service.stop() }
        await cloud.close()
        await web.close()
        await issuer.close()
        await core.close()
        accounts.close()
    }

    /// What a connector needs for its link.
    func linkOfConnector() -> CoreLinkConfiguration {
        CoreLinkConfiguration(
            url: "ws://127.0.0.1:\(corePort)/link/v1", trust: nil, node: "c1", service: "calendar",
            organisation: "org-1", version: "1.0.0", destination: "calendar://org-1", details: { "{}" },
            token: { [web, issuerPort] in
                try await Self.serviceToken(web, "hds-calendar", "http://127.0.0.1:\(issuerPort)/token")
            })
    }

    // MARK: - Clients

    func profile() throws -> DomainProfile {
        let pki = try TestServers.TestPKI.shared.get()
        return try DomainProfile(
            domain: "example.com", issuer: issuer.url, issuerTrust: ServerTrust(roots: [pki.customerRoot]),
            core: core.url, coreTrust: ServerTrust(roots: [pki.coreRoot]), kmsCluster: "kms://" + TestPKI.host,
            kmsRoots: [TestPKI.shared.get().certificate("root")])
    }

    /// The state of a device; the same name is the same folder, as another process has it.
    func store(_ name: String = "first") throws -> StateStore {
        try StateStore.open(folder: folder.path + "/home-" + name) { nil }
    }

    /// Short waits end at once, those of a second and more when the test moves the clock.
    var environment: ClientEnvironment {
        ClientEnvironment(
            now: { [clock] in clock.now },
            sleep: Sleep { [clock] milliseconds in
                guard milliseconds < 1000 else { return try await clock.wait(milliseconds: milliseconds) }
                try Task.checkCancellation()
                await Task.yield()
            })
    }

    /// What logs in on `store`, with the domain pinned.
    func login(_ store: StateStore) throws -> Login {
        let login = Login(store, environment: environment)
        try login.pin(profile())
        return login
    }

    /// A store on which somebody has logged in.
    func loggedIn(_ name: String = "first", email: String = SocketWorld.email) async throws -> StateStore {
        let store = try store(name)
        _ = try await login(store).logIn(email: email, proof: .password(Redacted(Self.password)))
        return store
    }

    /// Runs `body` with a client of that store.
    func withClient<R>(_ store: StateStore, _ body: (Client) async throws -> R) async throws -> R {
        let client = try await Client.connect(store, environment: environment)
        do {
            let result = try await body(client)
            await client.close()
            return result
        } catch {
            await client.close()
            throw error
        }
    }

    /// Runs `body` and moves the clock past each wait before a request is sent again, and past no other.
    func retrying<R: Sendable>(_ body: () async throws -> R) async throws -> R {
        let driver = Task { [clock, core] in
            while !Task.isCancelled {
                // Each event socket waits a second between its looks at the time.
                if clock.count(of: 1000) > core.openSockets { clock.advance(seconds: 1) }
                if clock.count(of: 2000) > 0 { clock.advance(seconds: 2) }
                await Task.yield()
            }
        }
        defer { driver.cancel() }
        return try await body()
    }

    // MARK: - Accounts

    // scrypt with ln=10 of the password, and of something else.
    private static let hash = "scrypt$ln=10,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$hKGWL22WtdGfIbxEPAZ06BS2bWyYKuZIKvypfAlYOWk"
    private static let unknownHash =
        "scrypt$ln=10,r=8,p=1$AwQFBgcICQoLDA0ODxAREg$iL3qAJsk4kAm0VhDqI2IkmzdqPVM-SB3yV-x1sgaQSA"
    private static let serviceHash =
        "scrypt$ln=10,r=8,p=1$AgMEBQYHCAkKCwwNDg8QEQ$H4PWBHmbGC5NSNovRMRslUXDMHZBvMDtoEwwy3wa6Js"

    private static func accounts() -> Accounts {
        Accounts(
            users: [
                UserAccount(
                    id: TestKMS.user, email: email, name: "Alice", organisation: "org-1", passwordHash: hash,
                    partners: [partner]),
                UserAccount(
                    id: "5b1e0000-0000-4000-8000-000000000002", email: "bob@example.com", name: "Bob",
                    organisation: "org-1", passwordHash: hash),
            ],
            services: [
                ServiceAccount(
                    id: "hds-kms", name: "KMS", organisation: "org-1", secretHash: serviceHash,
                    audiences: [.cloud: ["link:kms"]], introspects: [.cloud]),
                ServiceAccount(
                    id: "hds-calendar", name: "Calendars", organisation: "org-1", secretHash: serviceHash,
                    audiences: [.cloud: ["link:calendar"]], introspects: []),
            ])
    }

    private static func serviceToken(_ web: WebClient, _ account: String, _ url: String) async throws -> String {
        let basic = Base64.encode(Array("\(account):\(serviceSecret)".utf8))
        let answer = try await web.send(
            WebRequest(
                method: "POST", url: url,
                headers: [
                    ("Content-Type", "application/x-www-form-urlencoded"), ("Authorization", "Basic " + basic),
                ], body: Array("grant_type=client_credentials&audience=cloud".utf8)))
        guard let token = try JSONDocument(answer.body).root["access_token"]?.string else {
            throw TestFailure("no token for the link: \(answer.status)")
        }
        return token
    }
}

/// The link of a `TestKMS` with the core.
private final class KMSLink: Sendable {
    let link: CoreLink

    init(
        _ kms: TestKMS, _ states: AsyncStream<LinkState>.Continuation,
        token: @escaping @Sendable () async throws -> String, url: () -> String
    ) {
        let holder = Holder()
        let details = String(decoding: kms.details, as: UTF8.self)
        link = CoreLink(
            configuration: CoreLinkConfiguration(
                url: url(), trust: nil, node: "n1", service: "kms", organisation: "org-1", version: "1.0.0",
                destination: "kms://" + TestPKI.host, details: { details }, token: token),
            handler: { delivery in
                guard let answer = try? kms.answer(String(decoding: delivery.text, as: UTF8.self)) else { return }
                holder.link.withLock { $0?.link }?.answer(delivery, text: Array(answer.utf8))
            }, state: { states.yield($0) })
        holder.link.withLock { $0 = Weak(link: link) }
    }

    private struct Weak: Sendable { weak let link: CoreLink? }
    private final class Holder: Sendable { let link = Mutex<Weak?>(nil) }
}

import TestServers
import CloudCore
import CoreLink
import Diagnostics
import HTTPClient
import HTTPServer
import LinkProtocol
import NIOCore
import Synchronization
import TLSChannel
import Testing
import WebSocketChannel
import WireText

/// A core over real TLS sockets with its customer's issuer, clients and services; everything on loopback.
final class CoreBench: Sendable {
    let folder = TemporaryFolder()
    let issuer: TestIssuer
    let foreign: TestIssuer
    let port: Int
    let client: WebClient
    let trust: TLSTrust
    private let running = Mutex<(service: RunningService, core: CloudCore)?>(nil)
    private let clock: @Sendable () -> Int64
    private let wallOffset = WallOffset()
    /// Which organisation names which as its partner.
    private let partners: [String: [String]]
    private let meetings: CloudCoreConfiguration.Meetings?
    private let webhooks: CloudCoreConfiguration.Webhooks?

    private final class WallOffset: Sendable {
        private let seconds = Mutex<Int64>(0)
        var now: Timestamp { Timestamp.now().adding(seconds: seconds.withLock { $0 }) }
        func advance(_ more: Int64) { seconds.withLock { $0 += more } }
    }

    /// Moves the wall clock of the core forward.
    func advanceWall(_ seconds: Int64) { wallOffset.advance(seconds) }

    static let foreignCluster = "kms://kms.other.example.com"

    init(
        clock: @escaping @Sendable () -> Int64 = { KernelClock.monotonicMilliseconds() },
        partners: [String: [String]] = [:], meetings: CloudCoreConfiguration.Meetings? = nil,
        webhooks: CloudCoreConfiguration.Webhooks? = nil
    ) async throws {
        self.webhooks = webhooks
        self.clock = clock
        self.partners = partners
        self.meetings = meetings
        issuer = try await TestIssuer()
        foreign = try await TestIssuer(organisation: "other", name: "auth.other.example.com")
        port = try LoopbackPort.take()
        trust = TLSTrust(roots: [try TestPKI.shared.get().coreRoot], requirePathLengthZero: true)
        client = WebClient(trust: trust)
        try await start()
    }

    /// Runs a test on a bench and takes the bench down.
    static func run(
        clock: @escaping @Sendable () -> Int64 = { KernelClock.monotonicMilliseconds() },
        partners: [String: [String]] = [:], meetings: CloudCoreConfiguration.Meetings? = nil,
        webhooks: CloudCoreConfiguration.Webhooks? = nil, _ body: (CoreBench) async throws -> Void
    ) async throws {
        let bench = try await CoreBench(clock: clock, partners: partners, meetings: meetings, webhooks: webhooks)
        do {
            try await body(bench)
        } catch {
            await bench.stop()
            throw error
        }
        await bench.stop()
    }

    var url: String { "https://localhost:\(port)" }
    var core: CloudCore? { running.withLock { $0?.core } }

    func start() async throws {
        try await LoopbackPort.untilFree(port)
        var own = try issuer.configuration()
        var other = try foreign.configuration(domain: "other.example.com", cluster: Self.foreignCluster)
        own.partners = partners[own.id] ?? []
        other.partners = partners[other.id] ?? []
        var configuration = CloudCoreConfiguration(
            publicURL: url, databasePath: folder.path + "/core.sqlite", filesPath: folder.path + "/files",
            organisations: [own, other])
        if let meetings { configuration.meetings = meetings }
        configuration.webhooks = webhooks
        let core = try CloudCore(
            configuration: configuration, clock: clock, wall: { [wallOffset] in wallOffset.now })
        try await core.prepare()
        let server = core.server(
            WebServerConfiguration(
                host: "127.0.0.1", port: port, identity: try TestPKI.shared.get().core, serverName: "hds-core"))
        let service = RunningService([core, server, core.forwardDrain])
        _ = try await server.boundPort
        running.withLock { $0 = (service, core) }
    }

    func stopCore() async {
        guard let (service, core) = running.withLock({ $0 }) else { return }
        await service.stop()
        await core.close()
        running.withLock { $0 = nil }
    }

    func stop() async {
        await stopCore()
        await client.close()
        await issuer.stop()
        await foreign.stop()
    }

    // MARK: - Requests

    struct Answer {
        let status: Int
        let body: [UInt8]
        let headers: [(String, String)]
        var text: String { String(decoding: body, as: UTF8.self) }
        /// The body as JSON; of no JSON an empty object.
        var json: JSONNode { (try? JSONDocument(body))?.root ?? emptyObject }
        func header(_ name: String) -> String? { headers.first { $0.0.lowercased() == name }?.1 }
    }

    func send(
        _ method: String, _ path: String, token: String? = nil, device: String? = nil, body: [UInt8] = []
    ) async throws -> Answer {
        var headers: [(String, String)] = []
        if let token { headers.append(("Authorization", "Bearer \(token)")) }
        if let device { headers.append(("cisco-device-url", device)) }
        return try await request(method, path, headers: headers, body: body)
    }

    func request(
        _ method: String, _ path: String, headers: [(String, String)], body: [UInt8]
    ) async throws -> Answer {
        let response = try await client.send(
            WebRequest(
                method: method, url: path.hasPrefix("https:") ? path : url + path, headers: headers, body: body,
                timeout: .seconds(60), maximumResponseBytes: 64 << 20))
        return Answer(status: response.status, body: response.body, headers: response.headers)
    }

    func send(
        _ method: String, _ path: String, token: String?, device: String? = nil, json: String
    ) async throws -> Answer {
        try await send(method, path, token: token, device: device, body: Array(json.utf8))
    }

    // MARK: - People

    /// A user with a registered device.
    func signIn(_ person: TestPerson, expiresIn: Int64 = 3_600, at issuer: TestIssuer? = nil) async throws -> TestUser {
        let token = try (issuer ?? self.issuer).userToken(person, expiresIn: expiresIn)
        let answer = try await send(
            "POST", "/devices", token: token, json: #"{"name":"laptop","deviceType":"DESKTOP"}"#)
        try #require(answer.status == 201, "\(answer.text)")
        return TestUser(
            person: person, token: token, device: try #require(answer.json["url"]?.string),
            socket: try #require(answer.json["webSocketUrl"]?.string))
    }

    /// The authorized event socket of a device, with its first frame taken.
    func events(of user: TestUser) async throws -> TestEvents {
        let events = try await openEvents(user.socket)
        try await events.authorize(user.token)
        let first = try await events.next()
        try #require(first["data"]?["eventType"]?.string == "mercury.buffer_state")
        return events
    }

    func openEvents(_ url: String) async throws -> TestEvents {
        TestEvents(
            socket: try await client.webSocket(
                url + "?outboundWireFormat=text&bufferStates=true&aliasHttpStatus=true"))
    }

    // MARK: - Objects

    /// A conversation of the user, made through a KMS that answers; its id.
    func createConversation(
        _ user: TestUser, with others: [TestUser] = [], tempID: String? = nil, status: Int = 201
    ) async throws -> String {
        let answer = try await send(
            "POST", "/conversations", token: user.token,
            json: TestTexts.conversation(with: others.map(\.id), tempID: tempID))
        try #require(answer.status == status, "\(answer.text)")
        return try #require(answer.json["id"]?.string)
    }

    /// A stored file; its download URL.
    func upload(_ content: [UInt8], as user: TestUser) async throws -> String {
        let made = try await send("POST", "/files", token: user.token)
        try #require(made.status == 201, "\(made.text)")
        let stored = try await send(
            "PUT", try #require(made.json["uploadUrl"]?.string), token: user.token, body: content)
        try #require(stored.status == 200, "\(stored.text)")
        #expect(stored.json["size"]?.integer == Int64(content.count))
        return try #require(made.json["downloadUrl"]?.string)
    }

    // MARK: - Services

    func linkConfiguration(
        node: String = "n1", organisation: String = "acme", destination: String = RelayBench.destination,
        trust: TLSTrust? = nil, token: (@Sendable () async throws -> String)? = nil
    ) -> CoreLinkConfiguration {
        CoreLinkConfiguration(
            url: "wss://localhost:\(port)/link/v1", trust: trust ?? self.trust, node: node, service: "kms",
            organisation: organisation, version: "1.0.0", destination: destination,
            details: { #"{"kmsCluster":"\#(destination)","rsaPublicKey":"{}","node":"\#(node)"}"# },
            token: token ?? { [issuer] in try issuer.serviceToken() })
    }

    /// A service that answers each string with `answer to STRING`, once its link is open.
    func kms(node: String = "n1", _ answer: (@Sendable (String) -> String?)? = nil) async throws -> TestKMSLink {
        let kms = TestKMSLink(linkConfiguration(node: node), answer ?? { "answer to \($0)" })
        try await kms.wait { $0.phase == .open }
        return kms
    }
}

private let emptyObject: JSONNode = {
    // "{}" is valid JSON.
    guard let document = try? JSONDocument(text: "{}") else { preconditionFailure("{} is an object") }
    return document.root
}()

struct TestUser: Sendable {
    let person: TestPerson
    let token: String
    /// URL of the device.
    let device: String
    /// URL of its event socket.
    let socket: String
    var id: String { person.id }
}

/// A device's end of an event socket.
struct TestEvents: Sendable {
    let socket: WebSocketConnection

    func send(_ text: String) async throws { try await socket.send(text: text) }

    func authorize(_ token: String) async throws {
        try await send(
            #"{"id":"a1","type":"authorization","data":{"token":"Bearer \#(token)"},"trackingId":"t1"}"#)
    }

    func next() async throws -> JSONNode {
        guard case .text(let text)? = try await socket.incoming.makeAsyncIterator().next() else {
            throw Ended(closure: socket.closure)
        }
        return try JSONDocument(text: text).root
    }

    func acknowledge(_ frame: JSONNode) async throws {
        try await send(#"{"messageId":"\#(frame["id"]?.string ?? "")","type":"ack"}"#)
    }

    /// The wrapped strings of the next event, acknowledged.
    func nextMessages() async throws -> [String] {
        let frame = try await next()
        try await acknowledge(frame)
        return frame["data"]?["encryption"]?["kmsMessages"]?.strings ?? []
    }

    /// The code that the core closes with.
    func closeCode() async -> UInt16 { await socket.waitUntilClosed().code }
    func close() async { await socket.close() }

    struct Ended: Error { let closure: WebSocketClosure? }
}

/// A service on a real link; its states can be waited for.
final class TestKMSLink: Sendable {
    let link: CoreLink
    private let running: RunningService
    private let log: StateLog
    private let holder: Holder

    init(_ configuration: CoreLinkConfiguration, _ answer: @escaping @Sendable (String) -> String?) {
        let log = StateLog()
        let holder = Holder()
        let link = CoreLink(
            configuration: configuration,
            handler: { delivery in
                defer { log.took(String(decoding: delivery.text, as: UTF8.self)) }
                guard let text = answer(String(decoding: delivery.text, as: UTF8.self)) else {
                    holder.hold(delivery)
                    return
                }
                holder.link?.answer(delivery, text: Array(text.utf8))
            }, state: { log.append($0) })
        holder.hold(link)
        self.link = link
        self.log = log
        self.holder = holder
        running = RunningService([link])
    }

    private final class Holder: Sendable {
        private struct Weak: Sendable { weak let link: CoreLink? }
        private let held = Mutex<(link: Weak?, deliveries: [LinkDelivery])>((nil, []))
        func hold(_ link: CoreLink) { held.withLock { $0.link = Weak(link: link) } }
        func hold(_ delivery: LinkDelivery) { held.withLock { $0.deliveries.append(delivery) } }
        var link: CoreLink? { held.withLock { $0.link?.link } }
        func take() -> [LinkDelivery] {
            held.withLock { held in
                defer { held.deliveries = [] }
                return held.deliveries
            }
        }
    }

    /// Answers what `answer` has left without one.
    func answerHeld(_ text: String) {
        for delivery in holder.take() { link.answer(delivery, text: Array(text.utf8)) }
    }

    func stop() async { await running.stop() }
    func cancel() async { await running.cancel() }

    /// What the core has delivered, in order.
    var taken: [String] { log.texts }

    /// Returns when a state fits; states that were before this call and not waited for count too.
    @discardableResult
    func wait(for fits: @Sendable (LinkState) -> Bool) async throws -> LinkState { try await log.wait(for: fits) }
    func waitUntilTaken(_ count: Int) async { await log.waitUntilTaken(count) }
}

/// States and strings as they come, to be waited for without sleeping.
final class StateLog: Sendable {
    private let stream: AsyncStream<LinkState>
    private let sink: AsyncStream<LinkState>.Continuation
    private let deliveries: AsyncStream<Void>
    private let delivered: AsyncStream<Void>.Continuation
    private let strings = Mutex<[String]>([])

    init() {
        (stream, sink) = AsyncStream.makeStream()
        (deliveries, delivered) = AsyncStream.makeStream()
    }

    func append(_ state: LinkState) { sink.yield(state) }
    func took(_ text: String) {
        strings.withLock { $0.append(text) }
        delivered.yield()
    }
    var texts: [String] { strings.withLock { $0 } }

    func wait(for fits: @Sendable (LinkState) -> Bool) async throws -> LinkState {
        for await state in stream where fits(state) { return state }
        throw CancellationError()
    }

    func waitUntilTaken(_ count: Int) async {
        if texts.count >= count { return }
        for await _ in deliveries where texts.count >= count { return }
    }
}

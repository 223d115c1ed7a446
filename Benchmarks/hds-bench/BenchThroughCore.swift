import CoreLink
import Cryptography
import Diagnostics
import Foundation
import Glibc
import HTTPClient
import HTTPServer
import LinkProtocol
import Logging
import ServiceLifecycle
import Synchronization
import TLSChannel
import WebSocketChannel
import WireText

/// Nodes that answer each string at once, on real links to the real hds-core: what the link and the core cost, and what
/// clients notice of a node or a core that is gone. Over TLS on loopback; nodes and clients are in this process.
final class BenchThroughCore {
    private struct Organisation {
        let id: String
        let issuer: String
        let destination: String
    }

    private let program: String
    private let pki: URL
    private let folder: URL
    private let seconds: Double
    private let links: Int
    private let tokenKey: PrivateKey
    private let identity: TLSServerIdentity
    private let trust: TLSTrust
    /// Serves the key set of all organisations.
    private let issuer: BenchServer
    private let organisations: [Organisation]
    private let port: Int
    private var core: BenchProcess?
    private var starts = 0

    /// The most that the core takes of one organisation.
    private static let linksOfOne = 16

    /// - Parameters:
    ///   - program: the hds-core.
    ///   - links: how many connect again at once.
    static func measure(
        program: String, pki: URL, folder: URL, seconds: Double, links: Int
    ) async throws -> [Measurement] {
        raiseOpenFiles()
        let bench = try await BenchThroughCore(program, pki: pki, folder: folder, seconds: seconds, links: links)
        defer { bench.core?.stop() }
        var lines = try await bench.roundTrips()
        for nodes in [1, 2, 4] { lines.append(try await bench.requests(nodes: nodes)) }
        lines += try await bench.failovers()
        lines.append(try await bench.storm())
        await bench.issuer.stop()
        return lines
    }

    private init(_ program: String, pki: URL, folder: URL, seconds: Double, links: Int) async throws {
        (self.program, self.pki, self.folder) = (program, pki, folder)
        (self.seconds, self.links) = (seconds, links)
        func text(_ name: String) throws -> String {
            try String(contentsOf: pki.appending(path: name), encoding: .utf8)
        }
        let key = try PrivateKey.generateP256()
        tokenKey = key
        identity = TLSServerIdentity(
            certificateChain: try Certificate.all(inPEM: text("core/core.pem")),
            privateKey: try PrivateKey(pem: text("core/core.key")))
        trust = TLSTrust(roots: try Certificate.all(inPEM: text("core/root.pem")), requirePathLengthZero: true)
        issuer = try await BenchServer(BenchCore(tokenKey: key).server(identity: identity, port: 0))
        organisations = (0..<max(1, (links + Self.linksOfOne - 1) / Self.linksOfOne)).map { number in
            Organisation(
                id: "bench-\(number)", issuer: BenchTokens.issuer + "/\(number)",
                destination: "kms://kms-\(number).example.com")
        }
        // Free a moment ago: the core has to be found there again.
        let placeholder = try await BenchServer(BenchCore(tokenKey: key).server(identity: identity, port: 0))
        await placeholder.stop()
        port = placeholder.port
        try await startCore()
    }

    private func startCore() async throws {
        starts += 1
        let own = folder.appending(path: "core-\(starts)")
        try FileManager.default.createDirectory(at: own, withIntermediateDirectories: true)
        let jwks = "https://localhost:\(issuer.port)/jwks.json"
        let root = pki.appending(path: "core/root.pem").path
        let customers = organisations.enumerated().map { number, organisation in
            """
              - id: \(organisation.id)
                domains: [bench-\(number).example.com]
                authorization-server: https://localhost:\(issuer.port)
                issuer: \(organisation.issuer)
                jwks: \(jwks)
                ca: \(root)
                kms-cluster: \(organisation.destination)

            """
        }
        let file = own.appending(path: "hds-core.yaml")
        try """
        listen: 127.0.0.1:\(port)
        public-url: https://localhost:\(port)
        tls:
          certificate: \(pki.appending(path: "core/core.pem").path)
          private-key: \(pki.appending(path: "core/core.key").path)
        store:
          database: \(folder.appending(path: "core.sqlite").path)
          files: \(folder.appending(path: "core-files").path)
        organisations:
        \(customers.joined())
        runtime:
          health: {address: "127.0.0.1:0"}
          log: {level: warning, format: text}
          allow-root: true

        """.write(to: file, atomically: false, encoding: .utf8)
        let process = try BenchProcess(program, configuration: file, folder: own)
        core = process
        _ = try await process.start()
    }

    // MARK: - Parts

    private func node(_ name: String, organisation number: Int = 0, port: Int? = nil) -> EchoNode {
        let organisation = organisations[number]
        let key = tokenKey
        return EchoNode(
            CoreLinkConfiguration(
                url: "wss://localhost:\(port ?? self.port)/link/v1", trust: trust, node: name, service: "kms",
                organisation: organisation.id, version: "bench", destination: organisation.destination,
                details: { #"{"kmsCluster":"\#(organisation.destination)","rsaPublicKey":"{}"}"# },
                token: {
                    try BenchTokens.token(
                        "hds-kms", key: key, audience: "cloud", scope: "link:kms", issuer: organisation.issuer,
                        organisation: organisation.id)
                }))
    }

    private func devices(_ count: Int) async throws -> [BenchDevice] {
        var devices: [BenchDevice] = []
        for number in 0..<count {
            let organisation = organisations[0]
            let token = try BenchTokens.token(
                UUIDText.random(), key: tokenKey, audience: "cloud", issuer: organisation.issuer,
                organisation: organisation.id, email: "user-\(number)@bench-0.example.com")
            devices.append(
                try await BenchDevice(
                    core: "https://localhost:\(port)", trust: trust, token: token,
                    destination: organisation.destination))
        }
        return devices
    }

    // MARK: - Lines

    /// One string at a time over a link that does nothing else, without the core's own work.
    private func roundTrips() async throws -> [Measurement] {
        let thin = BenchCore(tokenKey: tokenKey)
        let server = try await BenchServer(thin.server(identity: identity, port: 0))
        let node = node("alone", port: server.port)
        await thin.waitForLink()
        let text = [UInt8](repeating: UInt8(ascii: "x"), count: 1500)
        for _ in 0..<100 { _ = try await thin.ask(text, source: "bench") }
        var samples: [Double] = []
        let end = ContinuousClock.now + .seconds(seconds)
        while ContinuousClock.now < end {
            let start = ContinuousClock.now
            _ = try await thin.ask(text, source: "bench")
            samples.append(start.duration(to: .now).inSeconds * 1_000_000)
        }
        await node.stop()
        await server.stop()
        return [
            Measurement("link round trip, 1,500 octets, p50", percentile(samples, 0.5), "us"),
            Measurement("link round trip, 1,500 octets, p99", percentile(samples, 0.99), "us"),
        ]
    }

    /// From a client's POST to the answer on its event socket, 32 clients one request at a time.
    private func requests(nodes count: Int) async throws -> Measurement {
        let nodes = (0..<count).map { node("node-\($0)") }
        for node in nodes { try await node.waitUntilOpen() }
        let devices = try await devices(32)
        let asked = Counter()
        let start = ContinuousClock.now
        let end = start + .seconds(seconds)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for device in devices {
                group.addTask {
                    while ContinuousClock.now < end {
                        _ = try await device.ask()
                        _ = asked.take()
                    }
                }
            }
            try await group.waitForAll()
        }
        let rate = Double(asked.take()) / start.duration(to: .now).inSeconds
        for device in devices { await device.close() }
        for node in nodes { await node.stop() }
        return Measurement("requests through the core, \(count) node\(count == 1 ? "" : "s")", rate, "1/s")
    }

    /// One of two nodes ends with strings unanswered, again and again: what the clients of these strings wait.
    private func failovers() async throws -> [Measurement] {
        let devices = try await devices(32)
        let stays = node("stays")
        try await stays.waitUntilOpen()
        var waits: [Double] = []
        let end = ContinuousClock.now + .seconds(max(seconds, 2) * 3)
        while ContinuousClock.now < end || waits.count < 100 {
            let goes = node("goes")
            try await goes.waitUntilOpen()
            // Both hold what they get; then one is gone, and the other goes on.
            for node in [goes, stays] { node.hold() }
            waits += try await withThrowingTaskGroup(of: Double.self) { group in
                for device in devices { group.addTask { try await device.ask() } }
                while goes.held + stays.held < devices.count { try await Task.sleep(for: .milliseconds(1)) }
                let struck = goes.held
                await goes.stop()
                let gone = ContinuousClock.now
                stays.release()
                var waits: [Double] = []
                for try await _ in group { waits.append(gone.duration(to: .now).inSeconds) }
                return waits.sorted().suffix(struck)
            }
        }
        for device in devices { await device.close() }
        await stays.stop()
        return [
            Measurement("failover of a node that ends, p50", percentile(waits, 0.5) * 1000, "ms"),
            Measurement(
                "failover of a node that ends, p99", percentile(waits, 0.99) * 1000, "ms", limit: 2000, "most wanted"),
        ]
    }

    /// The core is gone for a second; how long from its return until every link is open again.
    private func storm() async throws -> Measurement {
        let nodes = (0..<links).map { node("storm-\($0)", organisation: $0 / Self.linksOfOne) }
        for node in nodes { try await node.waitUntilOpen() }
        core?.stop()
        try await Task.sleep(for: .seconds(1))
        let opened = nodes.map(\.openings)
        try await startCore()
        let start = ContinuousClock.now
        for (node, before) in zip(nodes, opened) { try await node.waitUntilOpen(after: before) }
        let time = start.duration(to: .now).inSeconds
        await withTaskGroup(of: Void.self) { group in
            for node in nodes { group.addTask { await node.stop() } }
        }
        return Measurement(
            "\(links) links back after a restart of the core", time, "s", limit: 10, "most wanted")
    }

    private static func raiseOpenFiles() {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}

/// A web server that runs until it is stopped.
struct BenchServer {
    let port: Int
    private let group: ServiceGroup
    private let running: Task<Void, any Error>

    init(_ server: WebServer) async throws {
        var logger = Logger(label: "bench")
        logger.logLevel = .critical
        let group = ServiceGroup(services: [server], logger: logger)
        self.group = group
        running = Task { try await group.run() }
        port = try await server.boundPort
    }

    func stop() async {
        await group.triggerGracefulShutdown()
        try? await running.value
    }
}

/// A service on a link that answers each string with itself.
final class EchoNode: Sendable {
    private struct State {
        var link: CoreLink?
        var openings = 0
        /// Why the last attempt ended.
        var failure = ""
        var isHolding = false
        var held: [LinkDelivery] = []
    }

    private final class Shared: Sendable { let state = Mutex(State()) }

    private let shared: Shared
    private let running: Task<Void, any Error>

    init(_ configuration: CoreLinkConfiguration) {
        let shared = Shared()
        let link = CoreLink(
            configuration: configuration,
            handler: { delivery in
                let link: CoreLink? = shared.state.withLock { state in
                    guard state.isHolding else { return state.link }
                    state.held.append(delivery)
                    return nil
                }
                link?.answer(delivery, text: delivery.text)
            },
            state: { change in
                shared.state.withLock { state in
                    if change.phase == .open { state.openings += 1 }
                    if let error = change.lastError { state.failure = error.description }
                }
            })
        shared.state.withLock { $0.link = link }
        self.shared = shared
        running = Task { try await link.run() }
    }

    var openings: Int { shared.state.withLock { $0.openings } }
    var held: Int { shared.state.withLock { $0.held.count } }

    func waitUntilOpen(after openings: Int = 0) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while self.openings <= openings {
            guard ContinuousClock.now < deadline else {
                throw BenchFailure("a link did not open: \(shared.state.withLock { $0.failure })")
            }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    func hold() { shared.state.withLock { $0.isHolding = true } }

    /// Answers what it holds, and from now on at once.
    func release() {
        let (link, held) = shared.state.withLock { state in
            defer { (state.isHolding, state.held) = (false, []) }
            return (state.link, state.held)
        }
        for delivery in held { link?.answer(delivery, text: delivery.text) }
    }

    /// Ends without an answer to what it holds.
    func stop() async {
        running.cancel()
        _ = try? await running.value
        shared.state.withLock { $0.link = nil }
    }
}

/// A client with its event socket, which asks one thing after the other.
final class BenchDevice: Sendable {
    private let web: WebClient
    private let socket: WebSocketConnection
    private let headers: [(String, String)]
    private let url: String
    private let body: [UInt8]

    init(core: String, trust: TLSTrust, token: String, destination: String) async throws {
        web = WebClient(trust: trust)
        let bearer = ("Authorization", "Bearer \(token)")
        let answer = try await web.send(
            WebRequest(
                method: "POST", url: core + "/devices", headers: [bearer],
                body: Array(#"{"name":"bench","deviceType":"DESKTOP"}"#.utf8)))
        let root = try JSONDocument(answer.body).root
        guard answer.status == 201, let device = root["url"]?.string, let events = root["webSocketUrl"]?.string else {
            throw BenchFailure("no device: status \(answer.status)")
        }
        headers = [bearer, ("cisco-device-url", device)]
        url = core + "/encryption/api/v1/kms/messages"
        let text = String(repeating: "x", count: 1500)
        body = Array(#"{"destination":"\#(destination)","kmsMessages":["\#(text)"]}"#.utf8)
        socket = try await web.webSocket(events + "?outboundWireFormat=text&bufferStates=true&aliasHttpStatus=true")
        try await socket.send(
            text: #"{"id":"a1","type":"authorization","data":{"token":"Bearer \#(token)"},"trackingId":"t1"}"#)
        _ = try await next()
    }

    private func next() async throws -> JSONNode {
        guard case .text(let text)? = try await socket.incoming.makeAsyncIterator().next() else {
            throw BenchFailure("the event socket ended")
        }
        return try JSONDocument(text: text).root
    }

    /// One string and its answer; seconds.
    func ask() async throws -> Double {
        let start = ContinuousClock.now
        let taken = try await web.send(WebRequest(method: "POST", url: url, headers: headers, body: body))
        guard (200...299).contains(taken.status) else { throw BenchFailure("a string was refused: \(taken.status)") }
        let event = try await next()
        try await socket.send(text: #"{"messageId":"\#(event["id"]?.string ?? "")","type":"ack"}"#)
        return start.duration(to: .now).inSeconds
    }

    func close() async {
        await socket.close()
        await web.close()
    }
}

import Diagnostics
import NIOCore
import NIOPosix
import Synchronization
import TLSChannel
import TestServers
import Testing

@testable import HTTPClient

@Suite("Connections through a proxy")
struct ProxyTests {
    /// What a client told of its ways.
    final class Told: Sendable {
        private let state = Mutex<[(target: String, failure: DiagnosedError?)]>([])
        var tunnels: [(target: String, failure: DiagnosedError?)] { state.withLock { $0 } }
        func take(_ report: WebRoute.Report) {
            if case .tunnel(let target, let failure) = report { state.withLock { $0.append((target, failure)) } }
        }
    }

    private func client(
        _ port: Int, host: String = "127.0.0.1", credentials: WebProxy.Credentials? = Self.known,
        trust: TLSTrust? = nil, told: Told = Told(), basic: WebProxy.BasicUse = .whenAsked
    ) throws -> WebClient {
        let proxy = try WebProxy(host: host, port: port, credentials: credentials, basic: basic, trust: trust)
        return WebClient(
            trust: try TestPKI.shared.get().trust(), route: WebRoute(proxy: proxy) { told.take($0) })
    }

    static let known = WebProxy.Credentials(user: "kms", password: { Redacted("sesame") })

    private static let challenge =
        "Proxy-Authenticate: Digest realm=\"a\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256\r\n"

    @Test("a challenge is answered on the same connection when the proxy keeps it, whatever its body")
    func kept() async throws {
        try await WebServerFixture.run { fixture in
            for body in [
                "Content-Length: 5\r\n\r\nhello", "Content-Length: 0\r\n\r\n",
                "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            ] {
                let proxy = try await ScriptedProxy(to: fixture.port) { request in
                    request.field("proxy-authorization") != nil
                        ? .tunnel() : .text("HTTP/1.1 407 Who are you\r\n\(Self.challenge)\(body)")
                }
                let told = Told()
                let client = try client(proxy.port, told: told)
                #expect(try await client.send(WebRequest(url: fixture.url("/hello"))).status == 200)
                #expect(proxy.connections == 1 && proxy.requests.count == 2, "\(body)")
                #expect(proxy.requests[1].field("proxy-authorization")?.contains("response=") == true)
                #expect(told.tunnels.map(\.target) == ["localhost:\(fixture.port)"] && told.tunnels[0].failure == nil)
                await client.close()
                await proxy.close()
            }
        }
    }

    @Test("a challenge is answered on a new connection when the proxy closes, announced or not")
    func closed() async throws {
        try await WebServerFixture.run { fixture in
            for head in ["Connection: close\r\n\r\nbody", "Content-Length: 900\r\n\r\nless", "\r\nuntil the end"] {
                let proxy = try await ScriptedProxy(to: fixture.port) { request in
                    request.field("proxy-authorization") != nil
                        ? .tunnel() : .last("HTTP/1.1 407 Who are you\r\n\(Self.challenge)\(head)")
                }
                let client = try client(proxy.port)
                #expect(try await client.send(WebRequest(url: fixture.url("/hello"))).status == 200)
                #expect(proxy.connections == 2 && proxy.requests.map(\.connection) == [0, 1], "\(head)")
                await client.close()
                await proxy.close()
            }
        }
    }

    @Test("a WebSocket opens through the proxy, and interim answers mean nothing")
    func webSocket() async throws {
        let listener = try await Listener.tls(.server(identity: TestPKI.shared.get().identity("server", "issuing"))) {
            [EchoHandler()]
        }
        let proxy = try await ScriptedProxy(to: listener.port) { request in
            request.number == 0 ? .text("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 Not there\r\n\r\n") : .tunnel()
        }
        let told = Told()
        let client = try client(proxy.port, told: told)
        let error = await #expect(throws: DiagnosedError.self) {
            try await client.webSocket("wss://localhost:\(listener.port)/")
        }
        #expect(error?.code == .proxyRefused && error?.found == "status 403 Not there")
        #expect(told.tunnels.count == 1 && told.tunnels[0].failure?.code == .proxyRefused)
        await client.close()
        await proxy.close()
        await listener.close()
    }

    @Test("octets that come with the 200 are the target's")
    func early() async throws {
        // The target speaks first, and in the same segment: only then is anything early at all.
        let server = try await Listener { channel in
            try channel.pipeline.syncOperations.addHandler(CollectingHandler(Collector()))
        }
        let proxy = try await ScriptedProxy(to: server.port) { _ in .tunnel(early: Array("not TLS at all\r\n".utf8)) }
        let client = try client(proxy.port)
        let error = await #expect(throws: DiagnosedError.self) {
            try await client.send(WebRequest(url: "https://localhost:\(server.port)/"))
        }
        // TLS has seen them: without them the handshake would have waited for its deadline.
        #expect(error?.code == .tlsHandshakeFailed)
        await client.close()
        await proxy.close()
        await server.close()
    }

    @Test("a proxy that is silent, talks nonsense, answers endlessly or ends is named in the error, within the time")
    func faults() async throws {
        let cases: [(ScriptedProxy.Answer, DiagnosedError.Code)] = [
            (.silence, .proxyTimeout), (.text("SSH-2.0-OpenSSH\r\n"), .proxyAnswerInvalid),
            (.text("HTTP/1.1 200 " + String(repeating: "x", count: 20_000)), .proxyAnswerInvalid),
            (.last(""), .proxyUnreachable), (.last("HTTP/1.1 2"), .proxyUnreachable),
            (.text("HTTP/1.1 502 Bad Gateway\r\n\r\n"), .proxyRefused),
        ]
        for (answer, code) in cases {
            let proxy = try await ScriptedProxy(to: 1) { _ in answer }
            let told = Told()
            let way = try WebProxy(host: "127.0.0.1", port: proxy.port, credentials: Self.known)
            var dialer = Dialer(
                group: MultiThreadedEventLoopGroup.singleton, tls: nil, route: WebRoute(proxy: way) { told.take($0) })
            // Only silence may be ended by the time.
            dialer.tunnelTimeout = code == .proxyTimeout ? .milliseconds(200) : .minutes(5)
            let origin = try WebURL("http://localhost:9/", schemes: ("http", "https")).origin
            let error = await dialer.failure(origin)
            #expect(error?.code == code, "\(answer)")
            #expect(error?.description.contains("127.0.0.1:\(proxy.port)") == true && error?.hint != nil)
            #expect(told.tunnels.map(\.failure?.code) == [code] && told.tunnels[0].target == "localhost:9")
            await proxy.close()
        }
        let gone = try WebProxy(host: "127.0.0.1", port: try LoopbackPort.take())
        let client = WebClient(trust: try TestPKI.shared.get().trust(), route: WebRoute(proxy: gone))
        let error = await #expect(throws: DiagnosedError.self) {
            try await client.send(WebRequest(url: "https://localhost:9/"))
        }
        #expect(error?.code == .proxyUnreachable && error?.description.contains(gone.name) == true)
        await client.close()
    }

    @Test("a proxy with an IPv6 address, to a target with one")
    func v6() async throws {
        let pki = try TestPKI.shared.get()
        let listener = try await Listener.tls(.server(identity: pki.identity("server", "issuing"))) { [EchoHandler()] }
        let proxy = try await ScriptedProxy(to: listener.port, host: "::1") { _ in .tunnel() }
        let client = try client(proxy.port, host: "::1")
        // The certificate is for another address, so TLS got as far as that.
        let error = await #expect(throws: DiagnosedError.self) {
            try await client.send(WebRequest(url: "https://[::1]:4443/"))
        }
        #expect(error?.code == .tlsNameMismatch)
        #expect(proxy.requests.first?.head.hasPrefix("CONNECT [::1]:4443 HTTP/1.1\r\nHost: [::1]:4443") == true)
        await client.close()
        await proxy.close()
        await listener.close()
    }

    @Test("a proxy behind TLS is judged by its own authorities, and the target by its own")
    func secureProxy() async throws {
        let pki = try TestPKI.shared.get()
        let identity = try TLSConfiguration.server(identity: pki.identity("stranger-server"))
        try await WebServerFixture.run { fixture in
            let proxy = try await ScriptedProxy(
                to: fixture.port,
                below: { try $0.pipeline.syncOperations.addHandler(TLSChannelHandler(identity)) }
            ) { _ in .tunnel() }
            let good = try client(proxy.port, host: "localhost", trust: pki.trust("stranger"))
            #expect(try await good.send(WebRequest(url: fixture.url("/hello"))).status == 200)
            await good.close()
            let bad = try client(proxy.port, host: "localhost", trust: pki.trust())
            let error = await #expect(throws: DiagnosedError.self) {
                try await bad.send(WebRequest(url: fixture.url("/hello")))
            }
            #expect(error?.code == .proxyUnreachable && error?.found?.contains("tls-untrusted") == true)
            await bad.close()
            await proxy.close()
        }
    }
}

@Suite("Proxies of others", .enabled(if: TestProxy.isInstalled))
struct RealProxyTests {
    private func client(_ proxy: TestProxy, _ user: String?, _ password: String, _ told: ProxyTests.Told) throws
        -> WebClient
    {
        let credentials = user.map { WebProxy.Credentials(user: $0, password: { Redacted(password) }) }
        let way = try WebProxy(host: "127.0.0.1", port: proxy.port, credentials: credentials)
        return WebClient(
            trust: try TestPKI.shared.get().trust(), route: WebRoute(proxy: way) { told.take($0) })
    }

    @Test(
        "requests pass, one tunnel after the other, and wrong passwords are told",
        arguments: [
            (TestProxy.Kind.tinyproxy, String?.none, ""), (.tinyproxyBasic, "kms", "pass-word"),
            (.squidBasic, "kms", "pass:word"), (.squidDigest, "EXAMPLE\\kms", "pass:word"),
        ])
    func passes(kind: TestProxy.Kind, user: String?, password: String) async throws {
        let proxy = try await TestProxy.start(kind)
        try await WebServerFixture.run { fixture in
            let told = ProxyTests.Told()
            let credentials = user.map { WebProxy.Credentials(user: $0, password: { Redacted(password) }) }
            let way = try WebProxy(host: "127.0.0.1", port: proxy.port, credentials: credentials)
            // A squid's nonce is good for three: the fifth tunnel has met a stale one.
            for _ in 0..<5 {
                let client = WebClient(
                    trust: try TestPKI.shared.get().trust(), route: WebRoute(proxy: way) { told.take($0) })
                #expect(try await client.send(WebRequest(url: fixture.url("/hello"))).status == 200)
                await client.close()
            }
            #expect(told.tunnels.count == 5 && told.tunnels.allSatisfy { $0.failure == nil })
            if let user {
                let other = ProxyTests.Told()
                let wrong = try self.client(proxy, user, "another", other)
                let error = await #expect(throws: DiagnosedError.self) {
                    try await wrong.send(WebRequest(url: fixture.url("/hello")))
                }
                #expect(error?.code == .proxyAuthentication && error?.description.contains("another") == false)
                await wrong.close()
                let unknown = try self.client(proxy, nil, "", other)
                let refused = await #expect(throws: DiagnosedError.self) {
                    try await unknown.send(WebRequest(url: fixture.url("/hello")))
                }
                #expect(refused?.code == .proxyAuthentication)
                await unknown.close()
            }
        }
        try await onOwnThread { proxy.end() }
    }

    @Test("a name that only the proxy can look up is enough")
    func remoteName() async throws {
        let proxy = try await TestProxy.start(.squidBasic)
        let pki = try TestPKI.shared.get()
        let listener = try await Listener.tls(.server(identity: pki.identity("other", "issuing"))) { [EchoHandler()] }
        let told = ProxyTests.Told()
        let client = try client(proxy, "kms", "pass:word", told)
        // An echo is no HTTP answer; that it came proves name, tunnel and certificate.
        let error = await #expect(throws: DiagnosedError.self) {
            try await client.send(WebRequest(url: "https://other.example:\(listener.port)/"))
        }
        #expect(
            error?.code == .httpResponseInvalid || error?.code == .httpConnectionLost, "\(String(describing: error))")
        #expect(told.tunnels.map(\.target) == ["other.example:\(listener.port)"] && told.tunnels[0].failure == nil)
        let direct = WebClient(trust: try pki.trust())
        let away = await #expect(throws: DiagnosedError.self) {
            try await direct.send(WebRequest(url: "https://other.example:\(listener.port)/"))
        }
        #expect(away?.code == .httpConnectFailed, "the control: nobody here knows the name")
        await direct.close()
        await client.close()
        await listener.close()
        try await onOwnThread { proxy.end() }
    }
}

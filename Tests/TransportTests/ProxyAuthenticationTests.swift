import Diagnostics
import NIOCore
import Synchronization
import TLSChannel
import Testing

@testable import HTTPClient

@Suite("What a proxy asks and how it is answered")
struct ProxyAuthenticationTests {
    private func challenge(_ text: String) throws -> ProxyChallenge { try #require(ProxyChallenge.all(in: text).first) }

    @Test("challenges are read from one field or several, with quoted text and with what only looks like a parameter")
    func challenges() throws {
        let all = ProxyChallenge.all(
            in: #"Negotiate, NTLM TlRMTVNTUAAC==, Digest realm="a \"b\", c\\d", nonce=abc , qop="auth,auth-int", "#
                + #"stale=TRUE, realm=second, Basic realm="x""#)
        #expect(all.map(\.scheme) == ["negotiate", "ntlm", "digest", "basic"])
        #expect(all[2]["realm"] == #"a "b", c\d"# && all[2]["qop"] == "auth,auth-int" && all[2]["stale"] == "TRUE")
        #expect(all[3].parameters == ["realm": "x"])
        #expect(ProxyChallenge.all(in: "").isEmpty && ProxyChallenge.all(in: "=x").isEmpty)
        #expect(ProxyChallenge.all(in: #"Digest realm="never ends"#) == [ProxyChallenge(scheme: "digest")])
        #expect(ProxyChallenge.parameters(of: #"nextnonce="n\"2", qop=auth"#)["nextnonce"] == #"n"2"#)
    }

    @Test(
        "the examples of RFC 7616 section 3.9.1",
        arguments: [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ])
    func vectors(algorithm: String, response: String) throws {
        let session = try #require(
            DigestSession(
                challenge(
                    #"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=\#(algorithm), "#
                        + #"nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", "#
                        + #"opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#)))
        let value = try #require(
            session.authorization(
                user: "Mufasa", password: Redacted("Circle of Life"), method: "GET", target: "/dir/index.html",
                cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"))
        #expect(value.contains("response=\"\(response)\"") && value.contains("nc=00000001"))
        #expect(value.contains("algorithm=\(algorithm)") && value.contains("opaque=\"FQhe/"))
    }

    @Test("a domain's backslash is quoted, other scripts are encoded, and a proxy may ask for the name's hash")
    func names() throws {
        let plain = #"Digest realm="r\"1", qop="auth", nonce="n""#
        func value(_ user: String, _ text: String) throws -> String {
            try #require(
                DigestSession(challenge(text))?.authorization(
                    user: user, password: Redacted("p"), target: "h:443", cnonce: "c"))
        }
        #expect(try value(#"DOM\kms"#, plain).hasPrefix(#"Digest username="DOM\\kms", realm="r\"1", nonce="n""#))
        #expect(try value("Jäger", plain).contains("username*=UTF-8''J%C3%A4ger,"))
        let hashed = try value("kms", plain + ", userhash=true, algorithm=SHA-256")
        #expect(hashed.contains("userhash=true") && !hashed.contains("\"kms\""))
    }

    @Test("without qop auth, with an unknown algorithm or without a nonce there is nothing to answer")
    func unanswerable() throws {
        for text in [
            #"Digest realm="r", nonce="n""#, #"Digest realm="r", nonce="n", qop="auth-int""#,
            #"Digest realm="r", nonce="n", qop="auth", algorithm=SHA-512-256"#, #"Digest realm="r", qop="auth""#,
            #"Basic realm="r""#,
        ] { #expect(try DigestSession(challenge(text)) == nil, "\(text)") }
    }

    // MARK: - The conversation

    private func proxy(_ basic: WebProxy.BasicUse = .whenAsked, known: Bool = true) throws -> WebProxy {
        try WebProxy(
            host: "proxy.example", port: 3128,
            credentials: known ? .init(user: "kms", password: { Redacted("sesame") }) : nil, basic: basic)
    }

    private func answer(_ text: String) throws -> ConnectAnswer {
        var buffer = ByteBuffer(string: text + "\r\n\r\n")
        return try #require(try ConnectAnswer.take(from: &buffer))
    }

    private func error(_ step: ProxyNegotiation.Step) -> DiagnosedError? {
        if case .failed(let error) = step { error } else { nil }
    }

    private func isAgain(_ step: ProxyNegotiation.Step) -> Bool { if case .again = step { true } else { false } }

    private static let both =
        "HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=a\r\n"
        + "Proxy-Authenticate: Digest realm=a, nonce=md, qop=auth\r\n"
        + "Proxy-Authenticate: Digest realm=a, nonce=sha, qop=auth, algorithm=SHA-256"

    @Test("the strongest scheme is taken, and the password leaves only when it is asked for")
    func strongest() throws {
        var talk = ProxyNegotiation(proxy: try proxy(), host: "core.example", port: 443)
        #expect(!(try talk.request().contains("Authorization")))
        #expect(isAgain(talk.answered(try answer(Self.both))))
        let second = try talk.request()
        #expect(second.contains("nonce=\"sha\"") && second.contains("algorithm=SHA-256") && !second.contains("sesame"))
        var basic = ProxyNegotiation(proxy: try proxy(), host: "core.example", port: 443)
        _ = try basic.request()
        #expect(isAgain(basic.answered(try answer("HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=a"))))
        #expect(try basic.request().contains("Proxy-Authorization: Basic a21zOnNlc2FtZQ==\r\n"))
        var unasked = ProxyNegotiation(proxy: try proxy(.always), host: "core.example", port: 443)
        #expect(try unasked.request().contains("Proxy-Authorization: Basic a21zOnNlc2FtZQ==\r\n"))
        var never = ProxyNegotiation(proxy: try proxy(.never), host: "core.example", port: 443)
        _ = try never.request()
        let refusal = error(never.answered(try answer("HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=a")))
        #expect(refusal?.code == .proxyAuthentication && refusal?.expected?.contains("Basic is switched off") == true)
    }

    @Test("a nonce counts on from tunnel to tunnel, a stale one is replaced, and the proxy may name the next")
    func nonces() throws {
        let proxy = try proxy()
        let first = "HTTP/1.1 407 x\r\nProxy-Authenticate: Digest realm=a, nonce=one, qop=auth"
        var talk = ProxyNegotiation(proxy: proxy, host: "a.example", port: 443)
        _ = try talk.request()
        _ = talk.answered(try answer(first))
        #expect(try talk.request().contains("nonce=\"one\", uri=\"a.example:443\""))
        _ = talk.answered(try answer("HTTP/1.1 200 OK"))

        var next = ProxyNegotiation(proxy: proxy, host: "a.example", port: 443)
        #expect(try next.request().contains("nc=00000002"))
        #expect(isAgain(next.answered(try answer(first.replacing("one", with: "two") + ", stale=true"))))
        let fresh = try next.request()
        #expect(fresh.contains("nonce=\"two\"") && fresh.contains("nc=00000001"))
        #expect(isAgain(next.answered(try answer(first.replacing("one", with: "three") + ", stale=true"))))
        #expect(try next.request().contains("nonce=\"three\""))
        _ = next.answered(try answer("HTTP/1.1 200 OK\r\nProxy-Authentication-Info: nextnonce=\"four\""))

        var last = ProxyNegotiation(proxy: proxy, host: "a.example", port: 443)
        let request = try last.request()
        #expect(request.contains("nonce=\"four\"") && request.contains("nc=00000001"))
        // The same request on another connection is counted anew.
        #expect(try last.request().contains("nc=00000002"))
    }

    @Test("wrong credentials are tried once, a proxy that is always stale not for ever, and nothing tells the password")
    func refusals() throws {
        var talk = ProxyNegotiation(proxy: try proxy(), host: "core.example", port: 443)
        _ = try talk.request()
        _ = talk.answered(try answer(Self.both))
        _ = try talk.request()
        let refused = try #require(error(talk.answered(try answer(Self.both))))
        #expect(refused.code == .proxyAuthentication && refused.fault == .configuration)
        #expect(refused.description.contains("proxy.example:3128") && refused.description.contains("core.example:443"))
        #expect(!refused.description.contains("sesame") && !refused.description.contains("a21z"))

        let stale = Self.both + ", stale=true"
        var endless = ProxyNegotiation(proxy: try proxy(), host: "core.example", port: 443)
        var requests = 0
        while requests < 10 {
            requests += 1
            _ = try endless.request()
            if !isAgain(endless.answered(try answer(stale))) { break }
        }
        #expect(requests == 3)

        var unknown = ProxyNegotiation(proxy: try proxy(known: false), host: "core.example", port: 443)
        _ = try unknown.request()
        #expect(error(unknown.answered(try answer(Self.both)))?.hint?.contains("set proxy.user") == true)
        let forbidden = try #require(error(unknown.answered(try answer("HTTP/1.1 403 No \u{1B}[31mway\u{7}"))))
        #expect(forbidden.code == .proxyRefused && forbidden.found == "status 403 No [31mway")
    }

    @Test("targets are written as CONNECT wants them, and exceptions go without the proxy")
    func targets() throws {
        var talk = ProxyNegotiation(proxy: try proxy(), host: "2001:db8::1", port: 8443)
        #expect(try talk.request().hasPrefix("CONNECT [2001:db8::1]:8443 HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\n"))
        let some = try WebProxy(host: "p", port: 1, exceptions: ["auth.example", ".Local.example", "10.0.0.1"])
        for host in ["auth.example", "local.example", "a.local.example", "10.0.0.1"] { #expect(!some.isFor(host)) }
        for host in ["x.auth.example", "notlocal.example", "10.0.0.11"] { #expect(some.isFor(host)) }
    }

    @Test("answers are bounded and have to be HTTP")
    func answers() throws {
        func take(_ text: String) throws -> ConnectAnswer? {
            var buffer = ByteBuffer(string: text)
            return try ConnectAnswer.take(from: &buffer)
        }
        for begin in ["HTT", "HTTP/1.1 200 OK\r\nA: b\r\n"] { #expect(try take(begin) == nil) }
        for text in [
            "SSH-2.0-x", "HTTP/2 200\r\n\r\n", "HTTP/1.1 2000 x\r\n\r\n", "HTTP/1.1 99 x\r\n\r\n",
            "HTTP/1.1 200 x\r\nno colon\r\n\r\n", "HTTP/1.1 200 x\r\nA: " + String(repeating: "b", count: 17_000),
        ] { #expect(throws: ConnectAnswer.Failure.self, "\(text.prefix(20))") { try take(text) } }
        let old = try #require(try take("HTTP/1.0 407 x\r\nProxy-Connection: Keep-Alive\r\nContent-Length: 5\r\n\r\n"))
        #expect(old.keepsConnection && old.body == .length(5))
        let closing = try #require(try take("HTTP/1.1 407 x\nConnection: foo, Close\nContent-Length: 99999999\n\n"))
        #expect(!closing.keepsConnection && closing.body == .untilEnd)
        let two = try #require(try take("HTTP/1.1 407 x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"))
        #expect(two.body == .untilEnd && two.keepsConnection)
    }

    @Test("a chunked body ends where it says, octet by octet and at once")
    func chunks() throws {
        let body = "5;ext=1\r\nhello\r\n0a\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nREST"
        var whole = ByteBuffer(string: body)
        var skipper = ChunkedBodySkipper()
        #expect(try skipper.skip(&whole))
        #expect(String(buffer: whole) == "REST")
        var slow = ChunkedBodySkipper()
        var isOver = false
        var count = 0
        for octet in body.utf8 where !isOver {
            var one = ByteBuffer(bytes: [octet])
            isOver = try slow.skip(&one)
            count += 1
        }
        #expect(isOver && count == body.utf8.count - 4)
        for text in ["\r\n", "5\r\nhelloX", "fffffffff\r\n"] {
            var bad = ByteBuffer(string: text)
            var skipper = ChunkedBodySkipper()
            #expect(throws: ConnectAnswer.Failure.self) { try skipper.skip(&bad) }
        }
    }
}

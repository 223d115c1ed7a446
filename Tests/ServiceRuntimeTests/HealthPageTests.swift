import Cryptography
import Diagnostics
import Testing
import WireText

@testable import ServiceRuntime

/// What the health address shows to people.
extension HealthEndpointTests {
    private static let hostile = "</td><script>alert(1)</script><img src=x onerror='a()'>&\"\u{202E}\u{1B}[2J"

    @Test("the page is at /, and at /healthz for who asks for HTML; everything else gets JSON")
    func negotiation() async throws {
        health.report(store, .fail("away", fix: "start it"))
        try await withEndpoint { port in
            let page = try await ask(port, path: "/")
            #expect(page.status == 200, "a page is no probe")
            #expect(page.headers["content-type"] == "text/html; charset=utf-8")
            #expect(page.body.hasPrefix("<!doctype html>") && page.body.hasSuffix("</html>\n"))
            let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
            let health = try await ask(port, path: "/healthz", accept: browser)
            #expect(health.status == 503 && health.headers["content-type"] == "text/html; charset=utf-8")
            #expect(health.headers["vary"] == "Accept")
            for other in ["*/*", "application/json", "text/html;q=0", "application/json, text/html;q=0.5", ""] {
                let reply = try await ask(port, path: "/healthz", accept: other)
                #expect(reply.headers["content-type"] == "application/json", "\(other)")
            }
            let ready = try await ask(port, path: "/readyz", accept: browser)
            #expect(ready.headers["content-type"]?.hasPrefix("text/plain") == true)
            let head = try await ask(port, path: "/", method: "HEAD")
            #expect(head.status == 200 && head.body.isEmpty)
        }
    }

    @Test("it tells every check, alarm and warning with its fix, in words")
    func contents() async throws {
        health.report(store, .fail("the disk is \"full\"", fix: "free space"))
        health.report(HealthCheck("link", "the link to the core"), .ok("established"))
        health.warn(StandingWarning("w", "the core can impersonate users", fix: "take another issuer"))
        health.alarms.raise(.diskLow, about: "/var/lib", "1 % left")
        try await withEndpoint { port in
            let body = try await ask(port, path: "/").body
            for text in [
                "<title>hds-test: Starting</title>", "the disk is &quot;full&quot;", "free space", "Link to the core",
                "established", "The core can impersonate users", "take another issuer", "HDS-DISK-LOW", "1 % left",
                "About /var/lib", HTML.escaped(Alarm.diskLow.fix), "role=\"status\"", "failing",
                "needed to be ready", "<th scope=\"col\">", "lang=\"en\"",
            ] {
                #expect(body.contains(text), "\(text)")
            }
            // What fails stands above what does not.
            let failing = try #require(body.range(of: "the disk is"))
            let fine = try #require(body.range(of: "established"))
            #expect(failing.lowerBound < fine.lowerBound)
        }
    }

    @Test("a hostile text stays text, wherever it stands")
    func hostile() async throws {
        let text = Loggable(reviewed: Self.hostile)
        health.report(HealthCheck(Self.hostile, Self.hostile), .fail(text, fix: text))
        health.warn(StandingWarning("w", text, fix: text))
        health.alarms.raise(.diskLow, about: text, text)
        try await withEndpoint { port in
            let body = try await ask(port, path: "/").body
            #expect(body.contains("&lt;script&gt;alert(1)"))
            #expect(!body.contains("<script>alert") && !body.contains("<img"))
            #expect(body.components("<script>") == 1 && body.components("</script>") == 1)
            #expect(!body.unicodeScalars.contains { $0 == "\u{202E}" || $0 == "\u{1B}" })
        }
    }

    @Test("nothing is fetched, and no script runs but the page's own")
    func policy() async throws {
        try await withEndpoint { port in
            let reply = try await ask(port, path: "/")
            let policy = try #require(reply.headers["content-security-policy"])
            #expect(policy.hasPrefix("default-src 'none'; ") && policy.contains("frame-ancestors 'none'"))
            #expect(!policy.contains("unsafe") && !policy.contains("*") && !policy.contains("http"))
            for (tag, directive) in [("style", "style-src"), ("script", "script-src")] {
                let from = try #require(reply.body.range(of: "<\(tag)>")).upperBound
                let to = try #require(reply.body.range(of: "</\(tag)>")).lowerBound
                let digest = Base64.encode(SHA256.hash(Array(reply.body[from..<to].utf8)))
                #expect(policy.contains("\(directive) 'sha256-\(digest)'"))
            }
            #expect(reply.headers["x-content-type-options"] == "nosniff")
            #expect(reply.headers["referrer-policy"] == "no-referrer")
            // Attributes of style and of events would be refused by the policy, addresses of others too.
            for word in [" style=", " onclick=", " onload=", "src=\"", "@import", "url("] {
                #expect(!reply.body.contains(word), "\(word)")
            }
            let links = reply.body.matches(of: /href="([^"]*)"/).map { String($0.output.1) }
            #expect(links.allSatisfy { $0.hasPrefix("/") || $0.hasPrefix("#") || $0.hasPrefix("data:") }, "\(links)")
        }
    }

    @Test("the pictures of the last hour have their figures in words")
    func pictures() async throws {
        let requests = metrics.counter(.kmsRequests, ["create", "KEY", "201"])
        let times = metrics.histogram(.kmsRequestTime, ["create", "KEY"])
        let start = Timestamp.now().adding(seconds: -150)
        history.sample(metrics.collect(), now: start)
        for step in 1...10 {
            requests.increment(by: UInt64(15 * step))
            for _ in 0..<100 { times.observe(.milliseconds(2)) }
            history.sample(metrics.collect(), now: start.adding(seconds: Int64(15 * step)))
        }
        try await withEndpoint { port in
            let body = try await ask(port, path: "/").body
            #expect(body.contains("aria-label=\"Requests a second in the last hour: now 10 /s, at most 10 /s\""))
            #expect(body.contains("95 of 100 answered within in the last hour: now 2.4 ms"), "\(body.suffix(9000))")
            #expect(body.contains("<polyline class=\"line\""))
        }
    }

    @Test("the history keeps an hour, rates between samples, and the time of 95 of 100")
    func ring() throws {
        let start = Timestamp(seconds: 1_790_000_000)
        let requests = metrics.counter(.kmsRequests, ["create", "KEY", "201"])
        let times = metrics.histogram(.kmsRequestTime, ["create", "KEY"])
        history.sample(metrics.collect(), now: start)
        #expect(history.samples.isEmpty && history.title == "Requests")
        for number in 1...300 {
            requests.increment(by: 30)
            history.sample(metrics.collect(), now: start.adding(seconds: Int64(15 * number)))
        }
        let samples = history.samples
        #expect(samples.count == LoadHistory.kept && samples.allSatisfy { $0.rate == 2 && $0.answerTime == nil })
        #expect(samples.first?.time == start.adding(seconds: 15 * 61))
        #expect(samples.last?.time == start.adding(seconds: 15 * 300))
        for _ in 0..<90 { times.observe(.microseconds(40)) }
        for _ in 0..<10 { times.observe(.milliseconds(200)) }
        history.sample(metrics.collect(), now: start.adding(seconds: 15 * 301))
        let time = try #require(history.samples.last?.answerTime)
        // Half of those between 100 and 250 ms.
        #expect(time > 0.1 && time < 0.25)
        // A clock that was put back gives no sample.
        history.sample(metrics.collect(), now: start)
        #expect(history.samples.last?.time == start.adding(seconds: 15 * 301))
    }
}

extension String {
    fileprivate func range(of text: String) -> Range<String.Index>? { firstRange(of: text) }
    fileprivate func components(_ text: String) -> Int { ranges(of: text).count }
}

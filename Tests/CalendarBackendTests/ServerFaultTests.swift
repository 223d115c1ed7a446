import CalDAVClient
import CalendarBackend
import CalendarTransport
import Diagnostics
import HTTPClient
import TestServers
import Testing
import WireText

/// Answers of bad servers and bad networks, on real sockets, all played.
@Suite("Faults of calendar servers")
struct ServerFaultTests {
    private static let calendar = CalendarReference(user: BackendGround.alice, href: CalendarHref("/c/"))
    private static let violation = CalendarError.violation("")
    private static let away = CalendarError.serverAway("")

    private func played(
        clock: any Clock<Duration> = ContinuousClock(), timeout: Duration = .seconds(120), answerLimit: Int = 32 << 20,
        concurrent: Int = 8, _ script: @escaping CalendarProxy.Script,
        _ body: (CalDAVClient, CalendarProxy) async throws -> Void
    ) async throws {
        let proxy = try await CalendarProxy(script)
        let client = try CalDAVGround.client(proxy.url, clock: clock) { settings in
            settings.timeout = timeout
            settings.answerLimit = answerLimit
            settings.limits = HostGate.Limits(concurrent: concurrent, perSecond: 1_000_000)
        }
        do {
            try await body(client, proxy)
        } catch {
            await client.close()
            await proxy.close()
            throw error
        }
        await client.close()
        await proxy.close()
    }

    private static func multistatus(_ content: String) -> WebResponse {
        CalendarProxy.xml(
            207,
            "<D:multistatus xmlns:D=\"DAV:\" xmlns:C=\"urn:ietf:params:xml:ns:caldav\">\(content)</D:multistatus>")
    }

    private static func member(_ href: String, etag: String? = "\"1\"", data: String = "") -> String {
        let tag = etag.map { "<D:getetag>\($0)</D:getetag>" } ?? ""
        return "<D:response><D:href>\(href)</D:href><D:propstat><D:prop>\(tag)\(data)</D:prop>"
            + "<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
    }

    private static let event = String(decoding: TestEvent(uid: "u").octets, as: UTF8.self)
    private static let data = "<C:calendar-data>\(event)</C:calendar-data>"
    private static func object(_ headers: [(String, String)] = [("ETag", "\"1\"")]) -> WebResponse {
        WebResponse(status: 200, headers: [("Content-Type", "text/calendar")] + headers, body: Array(event.utf8))
    }

    // MARK: - Outbox

    private static func response(_ recipient: String, _ status: String, _ periods: String? = nil) -> String {
        let data = periods.map {
            "<C:calendar-data>BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nMETHOD:REPLY\r\nBEGIN:VFREEBUSY\r\nUID:u\r\n"
                + "DTSTAMP:20270101T000000Z\r\nFREEBUSY:\($0)\r\nEND:VFREEBUSY\r\nEND:VCALENDAR\r\n</C:calendar-data>"
        }
        return "<C:response><C:recipient><D:href>\(recipient)</D:href></C:recipient>"
            + "<C:request-status>\(status)</C:request-status>\(data ?? "")</C:response>"
    }

    private func asked(
        _ addresses: [String], _ answer: @escaping @Sendable () -> WebResponse
    ) async throws -> (told: [String: [BusyPeriod]], request: String) {
        let account = CalendarAccount(
            user: BackendGround.alice, principal: CalendarHref("/p/"), calendars: [], outbox: CalendarHref("/outbox/"),
            addresses: ["/p/", "mailto:alice@example.com"])
        var told: [String: [BusyPeriod]] = [:]
        var request = ""
        try await played { _ in
            .answer(answer())
        } _: { client, proxy async throws in
            told = try await client.freeBusy(
                of: addresses, asking: account, during: try interval("20270105T000000Z", "20270106T000000Z"))
            request = proxy.requests.last.map { String(decoding: $0.body, as: UTF8.self) } ?? ""
        }
        return (told, request)
    }

    @Test("Of an outbox's answer counts what was asked for and what it has data of")
    func outbox() async throws {
        let period = "20270105T100000Z/PT1H"
        let answers =
            Self.response("mailto:Bob@example.com", "2.0;Success", period)
            + Self.response("mailto:carol@example.com", "3.8;No authority", period)
            + Self.response("mailto:dan@example.com", "2.0;Success")
            + Self.response("mailto:eve@example.com", "2.0;Success", period)
        let (told, request) = try await asked(["bob@example.com", "carol@example.com", "dan@example.com"]) {
            CalendarProxy.xml(
                200,
                "<C:schedule-response xmlns:D=\"DAV:\" xmlns:C=\"urn:ietf:params:xml:ns:caldav\">\(answers)</C:schedule-response>"
            )
        }
        #expect(told == ["bob@example.com": [BusyPeriod(try interval("20270105T100000Z", "20270105T110000Z"), .busy)]])
        #expect(request.contains("METHOD:REQUEST\r\n") && request.contains("ORGANIZER:mailto:alice@example.com\r\n"))
        #expect(request.contains("ATTENDEE:mailto:bob@example.com\r\n") && !request.contains("eve"))
    }

    @Test(
        "An outbox that is none, and an answer that is none, are errors that say so", arguments: [405, 501, 200, 500])
    func badOutbox(_ status: Int) async throws {
        let error = await #expect(throws: CalendarError.self) {
            _ = try await asked(["bob@example.com"]) { CalendarProxy.xml(status, "<html/>") }
        }
        switch status {
        case 200: #expect(error?.reason == Self.violation.reason)
        case 500: #expect(error?.reason == Self.away.reason)
        default: #expect(error?.reason == CalendarError.unsupported("").reason)
        }
    }

    // MARK: - Sync

    @Test("No change and a new token, as some answer to a token that they do not know, asks for a full resync")
    func silentLoss() async throws {
        try await played { _ in
            .answer(Self.multistatus("<D:sync-token>s/9</D:sync-token>"))
        } _: { client, _ async throws in
            let outcome = try await client.changes(in: Self.calendar, since: SyncToken("s/5"))
            #expect(outcome == .fullResyncNeeded(.tokenWithoutChanges))
        }
    }

    @Test(
        "Any of the statuses in use for a token that is not taken asks for a full resync",
        arguments: [403, 409, 410, 412, 507])
    func refusedToken(_ status: Int) async throws {
        let body = "<error xmlns=\"DAV:\"><valid-sync-token/></error>"
        try await played { _ in
            .answer(CalendarProxy.xml(status, body))
        } _: { client, _ async throws in
            let outcome = try await client.changes(in: Self.calendar, since: SyncToken("s/5"))
            #expect(outcome == .fullResyncNeeded(.tokenRefused))
        }
    }

    @Test("Without that word the same statuses are what they say")
    func otherRefusals() async throws {
        try await played { request in
            .answer(WebResponse(status: Int(request.path.split(separator: "/")[0]) ?? 0))
        } _: {
            client, _ async throws in
            for (status, error) in [
                (403, CalendarError.forbidden("")), (409, Self.violation), (412, Self.violation), (500, Self.away),
                (404, CalendarError.notFound("")), (400, Self.violation),
            ] {
                let calendar = CalendarReference(user: BackendGround.alice, href: CalendarHref("/\(status)/"))
                await #expect(throws: error) { try await client.changes(in: calendar, since: SyncToken("s/5")) }
            }
        }
    }

    @Test("A server that knows no sync gives all of it each time")
    func noSync() async throws {
        try await played { request in
            request.method == "REPORT"
                ? .answer(CalendarProxy.xml(403, "<error xmlns=\"DAV:\"><supported-report/></error>"))
                : .answer(Self.multistatus(Self.member("/c/") + Self.member("/c/a.ics")))
        } _: { client, _ async throws in
            let all = try await client.changes(in: Self.calendar, since: nil)
            let member = CalendarMember(href: CalendarHref("/c/a.ics"), etag: ETag("\"1\""))
            #expect(all == .changes(CalendarChanges(changed: [member], token: nil)))
            let next = try await client.changes(in: Self.calendar, since: SyncToken("x"))
            #expect(next == .fullResyncNeeded(.notSupported))
        }
    }

    @Test("Pages are read to the end, and a circle of them is noticed")
    func pages() async throws {
        let script: CalendarProxy.Script = { request in
            let page = (0..<3).last { request.text.contains("<D:sync-token>p/\($0)<") }.map { $0 + 1 } ?? 0
            let more =
                page < 2 ? "<D:response><D:href>/c/</D:href><D:status>HTTP/1.1 507 x</D:status></D:response>" : ""
            return .answer(
                Self.multistatus(
                    Self.member("/c/\(page).ics") + more + "<D:sync-token>p/\(page)</D:sync-token>"))
        }
        try await played(script) { client, proxy in
            let outcome = try await client.changes(in: Self.calendar, since: nil)
            guard case .changes(let changes) = outcome else {
                Issue.record("\(outcome)")
                return
            }
            #expect(changes.changed.map(\.href.text) == ["/c/0.ics", "/c/1.ics", "/c/2.ics"])
            #expect(changes.token == SyncToken("p/2") && proxy.requests.count == 3)
            #expect(proxy.requests.allSatisfy { $0.header("Depth") == "0" && !$0.text.contains("nresults") })
            proxy.play { _ in
                .answer(
                    Self.multistatus(
                        "<D:response><D:href>/c</D:href><D:status>HTTP/1.1 507 x</D:status></D:response>"
                            + "<D:sync-token>p/7</D:sync-token>"))
            }
            let circle = try await client.changes(in: Self.calendar, since: SyncToken("p/1"))
            #expect(circle == .fullResyncNeeded(.answerCut))
        }
    }

    @Test("A limit at which Xandikos cuts without a word is noticed", .enabled(if: TestCalendarServer.isInstalled))
    func silentLimit() async throws {
        let server = try await CalDAVGround.xandikos.value
        let client = try CalDAVGround.client(server.url) { $0.pageLimit = 2 }
        _ = try await client.discover(BackendGround.alice)
        let calendar = try await CalDAVGround.calendar(of: BackendGround.alice, on: server, client)
        let ground = BackendGround(backend: client, calendar: calendar)
        for name in ["a.ics", "b.ics", "c.ics"] { try await ground.add(name, TestEvent()) }
        #expect(try await client.changes(in: calendar, since: nil) == .fullResyncNeeded(.answerCut))
        await client.close()
    }

    @Test("A calendar of 20,000 objects is told in one answer")
    func large() async throws {
        let members = (0..<20_000).map { Self.member("/c/object-\($0)-of-a-large-calendar.ics", etag: "\"\($0)\"") }
        let answer = Self.multistatus(members.joined() + "<D:sync-token>s/1</D:sync-token>")
        try await played { _ in
            .answer(answer)
        } _: { client, _ async throws in
            guard case .changes(let changes) = try await client.changes(in: Self.calendar, since: nil) else {
                Issue.record("no changes")
                return
            }
            #expect(changes.changed.count == 20_000)
            #expect(Set(try await client.members(of: Self.calendar)) == Set(changes.changed))
        }
    }

    @Test("Repeated parts of an answer count once, parts nobody asked for do not count")
    func repeated() async throws {
        try await played { request in
            let member = Self.member("/c/a.ics", data: request.text.contains("multiget") ? Self.data : "")
            let other = Self.member("/c/other.ics", data: Self.data)
            let gone = "<D:response><D:href>/c/b.ics</D:href><D:status>HTTP/1.1 404 x</D:status></D:response>"
            let token = "<D:sync-token>s/6</D:sync-token>"
            let isSync = request.text.contains("sync-collection")
            return .answer(
                Self.multistatus(
                    member + gone + member + gone + (isSync ? token : request.method == "REPORT" ? other : "")))
        } _: { client, _ async throws in
            let hrefs = [CalendarHref("/c/a.ics"), CalendarHref("/c/b.ics")]
            let sync = try await client.changes(in: Self.calendar, since: SyncToken("s/5"))
            let member = CalendarMember(href: hrefs[0], etag: ETag("\"1\""))
            #expect(sync == .changes(CalendarChanges(changed: [member], removed: [hrefs[1]], token: SyncToken("s/6"))))
            #expect(try await client.members(of: Self.calendar) == [member])
            let objects = try await client.objects(hrefs, in: Self.calendar)
            #expect(objects.found.map(\.href) == [hrefs[0]] && objects.missing == [hrefs[1]])
        }
    }

    // MARK: - Versions

    @Test("Without ETags objects are read, and there is nothing to write with")
    func noETags() async throws {
        try await played { request in
            request.method == "GET"
                ? .answer(Self.object([]))
                : .answer(Self.multistatus(Self.member("/c/a.ics", etag: nil) + "<D:sync-token>s/6</D:sync-token>"))
        } _: { client, _ async throws in
            let href = CalendarHref("/c/a.ics")
            let sync = try await client.changes(in: Self.calendar, since: SyncToken("s/5"))
            let member = CalendarMember(href: href, etag: nil)
            #expect(sync == .changes(CalendarChanges(changed: [member], token: SyncToken("s/6"))))
            #expect(try await client.members(of: Self.calendar) == [member])
            #expect(try await client.object(href, in: Self.calendar)?.etag == nil)
        }
    }

    @Test("A Schedule-Tag may change or be absent: writes go by the ETag of a read alone")
    func scheduleTags() async throws {
        try await played { request in
            switch request.method {
            case "GET":
                .answer(
                    Self.object(
                        [("ETag", "\"1\"")]
                            + (request.number == 2 ? [] : [("Schedule-Tag", "\"tag-\(request.number)\"")])))
            default: .answer(WebResponse(status: 204, headers: [("ETag", "\"9\""), ("Schedule-Tag", "\"x\"")]))
            }
        } _: { client, proxy async throws in
            let href = CalendarHref("/c/a.ics")
            var tags: [String?] = []
            for _ in 0..<3 { tags.append(try await client.object(href, in: Self.calendar)?.scheduleTag) }
            #expect(tags == ["\"tag-0\"", "\"tag-1\"", nil])
            let outcome = try await client.put(
                TestEvent().octets, at: href, in: Self.calendar, .match(ETag("\"1\"")))
            #expect(outcome == .written)
            let put = try #require(proxy.requests.last)
            #expect(put.header("If-Match") == "\"1\"" && put.header("If-Schedule-Tag-Match") == nil)
            #expect(put.header("Content-Type") == "text/calendar; charset=utf-8")
        }
    }

    @Test(
        "A PUT whose answer is lost is told as such, and reading shows what happened",
        .enabled(if: TestCalendarServer.isInstalled))
    func lostAnswer() async throws {
        let port = try await TestCalendarServer.radicale.value.port
        let proxy = try await CalendarProxy(to: port)
        let client = try CalDAVGround.client(proxy.url)
        let calendar = try await CalDAVGround.calendar(of: BackendGround.alice, on: CalDAVGround.radicale(), client)
        let ground = BackendGround(backend: client, calendar: calendar)
        // On a connection of its own, so that the HTTP client does not ask again by itself.
        let other = try CalDAVGround.client(proxy.url)
        proxy.play { $0.method == "PUT" ? .loseAnswer : .pass }
        await #expect(throws: Self.away) {
            try await other.put(TestEvent().octets, at: ground.href("a.ics"), in: calendar, .create)
        }
        proxy.play { _ in .pass }
        #expect(try await ground.read(ground.href("a.ics")).etag != nil)
        #expect(proxy.requests.allSatisfy { $0.method != "OPTIONS" }, "servers differ about absent collections")
        await other.close()
        await client.close()
        await proxy.close()
    }

    @Test("A name that a multiget does not answer is asked for by itself, and only that says that it is gone")
    func unanswered() async throws {
        try await played { request in
            switch (request.method, request.path) {
            case ("REPORT", _): .answer(Self.multistatus(Self.member("/c/a.ics", data: Self.data)))
            case ("GET", "/c/b.ics"): .answer(Self.object())
            case ("GET", "/c/away.ics"): .answer(WebResponse(status: 500))
            default: .answer(WebResponse(status: 404))
            }
        } _: { client, _ async throws in
            let hrefs = ["a", "b", "c"].map { CalendarHref("/c/\($0).ics") }
            let objects = try await client.objects(hrefs, in: Self.calendar)
            #expect(objects.found.map(\.href) == [hrefs[0], hrefs[1]] && objects.missing == [hrefs[2]])
            await #expect(throws: Self.away) {
                try await client.objects([hrefs[0], CalendarHref("/c/away.ics")], in: Self.calendar)
            }
        }
    }

    // MARK: - Answers

    @Test("An answer that comes octet by octet is read, one that never comes is told")
    func slow() async throws {
        try await played { _ in
            .drip(Self.multistatus(Self.member("/c/a.ics")))
        } _: { client, _ async throws in
            #expect(try await client.members(of: Self.calendar).count == 1)
        }
        try await played(timeout: .milliseconds(100)) { _ in
            .hang
        } _: { client, _ async throws in
            await #expect(throws: Self.away) { try await client.members(of: Self.calendar) }
        }
    }

    @Test("Who gives up is told so, and the place in the line is free again")
    func cancelled() async throws {
        try await played(concurrent: 1) {
            $0.number == 0 ? .hang : .answer(Self.object())
        } _: {
            client, proxy async throws in
            let href = CalendarHref("/c/a.ics")
            let task = Task { try await client.object(href, in: Self.calendar) }
            while proxy.requests.isEmpty { await Task.yield() }
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            let object = try await client.object(href, in: Self.calendar)
            #expect(object != nil)
        }
    }

    @Test("A listing that is cut is an error, and a member whose version fails is a member")
    func listing() async throws {
        let broken = "<D:response><D:href>/c/b.ics</D:href><D:status>HTTP/1.1 500 x</D:status></D:response>"
        let cut = "<D:response><D:href>/c/</D:href><D:status>HTTP/1.1 507 x</D:status></D:response>"
        try await played { request in
            .answer(Self.multistatus(Self.member("/c/a.ics") + broken + (request.number == 0 ? "" : cut)))
        } _: { client, _ async throws in
            let members = try await client.members(of: Self.calendar)
            #expect(members.map(\.etag) == [ETag("\"1\""), nil])
            await #expect(throws: Self.violation) { try await client.members(of: Self.calendar) }
            let time = try interval("20270101T000000Z", "20270201T000000Z")
            await #expect(throws: Self.violation) {
                try await client.objects(in: Self.calendar, during: time, expanded: true)
            }
        }
    }

    static let cuts = [
        "HTTP/1.1 207 x\r\nContent-Type: text/xml\r\nContent-Length: 5000\r\n\r\n<D:multistatus xmlns:D=\"DAV:\">",
        "HTTP/1.1 207 x\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<D:mu\r\n",
        "HTTP/1.1 207 x\r\nContent-Type: te", "", "no HTTP at all\r\n\r\n",
        // Without a length, a cut looks like the end.
        "HTTP/1.0 207 x\r\nContent-Type: text/xml\r\n\r\n<D:multistatus xmlns:D=\"DAV:\"><D:response>",
    ]

    @Test("A cut answer is an error, never a short one", arguments: cuts.indices)
    func cut(_ index: Int) async throws {
        try await played { _ in
            .raw(Self.cuts[index])
        } _: { client, _ async throws in
            do {
                let members = try await client.members(of: Self.calendar)
                Issue.record("\(members.count) members")
            } catch let error as CalendarError {
                #expect([.serverAway, .protocolViolation].contains(error.reason))
            }
        }
    }

    @Test("An object that is cut where no length tells is an error")
    func cutObject() async throws {
        let half = "HTTP/1.0 200 OK\r\nContent-Type: text/calendar\r\nETag: \"1\"\r\n\r\n" + Self.event.prefix(120)
        try await played { _ in
            .raw(half)
        } _: { client, _ async throws in
            await #expect(throws: Self.violation) {
                try await client.object(CalendarHref("/c/a.ics"), in: Self.calendar)
            }
        }
    }

    @Test("An answer that comes twice does not answer the next question")
    func twice() async throws {
        let answer: @Sendable (String) -> String = { name in
            let body = "<D:multistatus xmlns:D=\"DAV:\">\(Self.member("/c/\(name).ics"))</D:multistatus>"
            return "HTTP/1.1 207 x\r\nContent-Type: text/xml\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
        }
        try await played { request in
            let name = request.number == 0 ? "first" : "second"
            return .raw(answer(name) + answer(name))
        } _: { client, _ async throws in
            #expect(try await client.members(of: Self.calendar).map(\.href.text) == ["/c/first.ics"])
            #expect(try await client.members(of: Self.calendar).map(\.href.text) == ["/c/second.ics"])
        }
    }

    @Test("An answer of 100 MB is refused before it is in memory")
    func flood() async throws {
        try await played { request in
            request.method == "GET" ? .answer(Self.object()) : .flood(100 << 20)
        } _: { client, _ async throws in
            await #expect(throws: Self.violation) { try await client.members(of: Self.calendar) }
            await #expect(throws: Self.violation) { try await client.changes(in: Self.calendar, since: nil) }
            // What is too long for one answer is asked for in parts, and at last one by one.
            let hrefs = (0..<5).map { CalendarHref("/c/\($0).ics") }
            #expect(try await client.objects(hrefs, in: Self.calendar).found.count == 5)
        }
    }

    @Test("A multiget whose answer is too long is asked for in halves")
    func halves() async throws {
        try await played(answerLimit: 8000) { request in
            let names = (0..<16).filter { request.text.contains("/c/\($0).ics") }
            let pad = "<!--\(String(repeating: "x", count: 1500))-->"
            return .answer(
                Self.multistatus(names.map { pad + Self.member("/c/\($0).ics", data: Self.data) }.joined()))
        } _: { client, proxy async throws in
            let hrefs = (0..<16).map { CalendarHref("/c/\($0).ics") }
            let objects = try await client.objects(hrefs, in: Self.calendar)
            #expect(objects.found.map(\.href) == hrefs)
            #expect(proxy.requests.allSatisfy { $0.method == "REPORT" } && proxy.requests.count == 7)
        }
    }

    @Test("A bomb, an entity from elsewhere and a page of a proxy are errors", arguments: [0, 1, 2, 3])
    func hostile(_ index: Int) async throws {
        let spy = try await CalendarProxy { _ in .answer(WebResponse(status: 200)) }
        let bomb = "<!DOCTYPE l [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\">]>"
        let answers = [
            CalendarProxy.xml(207, bomb + "<D:multistatus xmlns:D=\"DAV:\">&b;</D:multistatus>"),
            CalendarProxy.xml(
                207,
                "<!DOCTYPE l SYSTEM \"\(spy.url)/dtd\" [<!ENTITY e SYSTEM \"\(spy.url)/e\">]><D:multistatus xmlns:D=\"DAV:\">&e;</D:multistatus>"
            ),
            CalendarProxy.xml(207, "<D:multistatus xmlns:D=\"DAV:\"/>", type: "text/html"),
            CalendarProxy.xml(200, "<html>sign in</html>", type: "text/html"),
        ]
        try await played { _ in
            .answer(answers[index])
        } _: { client, _ async throws in
            await #expect(throws: Self.violation) { try await client.members(of: Self.calendar) }
            await #expect(throws: Self.violation) { try await client.changes(in: Self.calendar, since: nil) }
            await #expect(throws: (any Error).self) {
                try await client.object(CalendarHref("/c/a.ics"), in: Self.calendar)
            }
        }
        #expect(spy.requests.isEmpty)
        await spy.close()
    }

    @Test(
        "Names that lead to other servers or upwards are errors",
        arguments: [
            "http://evil.example/c/a.ics", "//evil.example/a.ics", "/c/../d/a.ics", "/c/%2e%2e/a.ics", "/c/a\u{7F}",
        ])
    func foreign(_ href: String) async throws {
        try await played { _ in
            .answer(Self.multistatus(Self.member(href, data: Self.data) + "<D:sync-token>s/2</D:sync-token>"))
        } _: { client, _ async throws in
            await #expect(throws: Self.violation) { try await client.members(of: Self.calendar) }
            await #expect(throws: Self.violation) { try await client.changes(in: Self.calendar, since: nil) }
        }
    }

    @Test("A reference to a server that was never allowed is not asked")
    func foreignReference() async throws {
        let other = try await CalendarProxy { _ in .answer(Self.object()) }
        try await played { _ in
            .answer(Self.object())
        } _: { client, proxy async throws in
            await #expect(throws: CalendarError.redirectPending(to: other.url)) {
                try await client.object(CalendarHref(other.url + "/c/a.ics"), in: Self.calendar)
            }
            #expect(proxy.requests.isEmpty && other.requests.isEmpty)
        }
        await other.close()
    }

    // MARK: - Pace

    @Test("After 429 nothing is asked until the time that the server told, then it goes on")
    func rateLimited() async throws {
        let clock = SkippingClock()
        try await played(clock: clock) { _ in
            .answer(WebResponse(status: 429, headers: [("Retry-After", "60")]))
        } _: { client, proxy async throws in
            await #expect(throws: CalendarError.rateLimited(.seconds(60), "")) {
                try await client.members(of: Self.calendar)
            }
            clock.advance(by: .seconds(20))
            await #expect(throws: CalendarError.rateLimited(.seconds(40), "")) {
                try await client.members(of: Self.calendar)
            }
            #expect(proxy.requests.count == 1)
            proxy.play { _ in .answer(Self.multistatus(Self.member("/c/a.ics"))) }
            clock.advance(by: .seconds(35))
            #expect(try await client.members(of: Self.calendar).count == 1)
            #expect(clock.sleeps.contains(.seconds(5)), "a short rest is waited for")
        }
    }

    @Test("503 with a date is a pause too, 503 without one is a server that is away")
    func unavailable() async throws {
        let date = ("Date", "Sun, 06 Nov 1994 08:49:37 GMT")
        try await played(clock: SkippingClock()) { request in
            let retry = request.number == 0 ? [("Retry-After", "Sun, 06 Nov 1994 08:51:37 GMT")] : []
            return .answer(WebResponse(status: 503, headers: [date] + retry))
        } _: { client, _ async throws in
            await #expect(throws: CalendarError.rateLimited(.seconds(120), "")) {
                try await client.members(of: Self.calendar)
            }
        }
        try await played(clock: SkippingClock()) { _ in
            .answer(WebResponse(status: 503))
        } _: { client, _ async throws in
            await #expect(throws: Self.away) { try await client.members(of: Self.calendar) }
        }
    }

    @Test("No more requests at once than the limit, and all are answered")
    func concurrent() async throws {
        let gauge = Gauge()
        try await played(concurrent: 3) { _ in
            .after({ await gauge.pass() }, .answer(Self.object()))
        } _: { client, _ async throws in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<24 {
                    group.addTask {
                        _ = try await client.object(CalendarHref("/c/\(number).ics"), in: Self.calendar)
                    }
                }
                try await group.waitForAll()
            }
        }
        #expect(await gauge.most <= 3)
        #expect(await gauge.total == 24)
    }

    private actor Gauge {
        private var now = 0
        private(set) var most = 0
        private(set) var total = 0
        func pass() async {
            now += 1
            total += 1
            most = max(most, now)
            for _ in 0..<20 { await Task.yield() }
            now -= 1
        }
    }

    // MARK: - Writes

    @Test("What a server says about a write is told as what it is")
    func writes() async throws {
        let condition = { (name: String) in
            "<D:error xmlns:D=\"DAV:\" xmlns:C=\"urn:ietf:params:xml:ns:caldav\"><C:\(name)><D:href>/c/b.ics</D:href></C:\(name)></D:error>"
        }
        let answers: [(WebResponse, Result<WriteOutcome, CalendarError>)] = [
            (WebResponse(status: 201), .success(.written)), (WebResponse(status: 204), .success(.written)),
            (WebResponse(status: 412), .success(.conflict)),
            (CalendarProxy.xml(409, condition("no-uid-conflict")), .success(.uidInUse(CalendarHref("/c/b.ics")))),
            (CalendarProxy.xml(412, condition("no-uid-conflict")), .success(.uidInUse(CalendarHref("/c/b.ics")))),
            (CalendarProxy.xml(412, condition("valid-calendar-data")), .failure(.objectRefused(""))),
            (CalendarProxy.xml(403, condition("max-attendees-per-instance")), .failure(.objectRefused(""))),
            (WebResponse(status: 403), .failure(.forbidden(""))), (WebResponse(status: 409), .failure(.notFound(""))),
            (WebResponse(status: 413), .failure(.objectRefused(""))),
            (WebResponse(status: 507), .failure(.quotaExceeded)),
            (WebResponse(status: 301, headers: [("Location", "/d/")]), .failure(Self.violation)),
            (WebResponse(status: 502), .failure(Self.away)), (WebResponse(status: 200), .success(.written)),
        ]
        try await played {
            answers.indices.contains($0.number) ? .answer(answers[$0.number].0) : .hang
        } _: { client, _ async throws in
            for (response, expected) in answers {
                let result: Result<WriteOutcome, CalendarError>
                do {
                    result = .success(
                        try await client.put(
                            TestEvent().octets, at: CalendarHref("/c/a.ics"), in: Self.calendar, .match(ETag("\"1\""))))
                } catch let error as CalendarError {
                    result = .failure(error)
                }
                #expect(result == expected, "status \(response.status)")
            }
        }
    }

    @Test("A lock of another write is waited out, and a lock that stays is told")
    func locked() async throws {
        let clock = SkippingClock()
        try await played(clock: clock) { request in
            .answer(WebResponse(status: request.number < 3 ? 423 : 204))
        } _: { client, proxy async throws in
            let href = CalendarHref("/c/a.ics")
            #expect(try await client.delete(href, in: Self.calendar, ifMatch: ETag("\"1\"")) == .deleted)
            #expect(clock.sleeps.filter { $0 >= .milliseconds(50) } == [50, 100, 200].map { .milliseconds($0) })
            proxy.play { _ in .answer(WebResponse(status: 423)) }
            await #expect(throws: Self.away) {
                try await client.put(TestEvent().octets, at: href, in: Self.calendar, .match(ETag("\"1\"")))
            }
        }
    }

    @Test("Every error says whose fault it is and what to do, and names nobody")
    func words() {
        let errors: [CalendarError] = [
            .credentialsRefused("status 401"), .forbidden("status 403"), .notFound("the calendar"),
            .rateLimited(.seconds(1), "status 429"), .quotaExceeded, .serverAway("status 500"), .violation("x"),
            .objectRefused("status 400"), .redirectPending(to: "https://other"), .unsupported("free-busy"),
            .configuration("x", expected: "y"), .weakETag,
        ]
        for error in errors {
            #expect(error.diagnosis.hint?.isEmpty == false)
            #expect(error.description.contains("[calendar-"))
        }
        #expect(Set(errors.map(\.diagnosis.fault)) == [.configuration, .peer])
        #expect("\(CalendarHref("/alice/secret-meeting.ics"))" == "[href of 25 octets]")
    }
}

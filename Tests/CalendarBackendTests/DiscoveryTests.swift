import CalDAVClient
import CalendarBackend
import Diagnostics
import HTTPClient
import TLSChannel
import TestServers
import Testing
import WireText

/// Finding calendars, redirections, credentials (RFC 6764), against played servers.
@Suite("Discovery of calendars")
struct DiscoveryTests {
    /// A small server of one user whose parts lead where the test says.
    private static func play(
        principal: String = "/p/alice/", home: String = "/c/alice/", inbox: String? = nil
    ) -> CalendarProxy.Script {
        { request in
            func answer(_ href: String, _ properties: String) -> CalendarProxy.Action {
                .answer(
                    CalendarProxy.xml(
                        207,
                        """
                        <D:multistatus xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:response>\
                        <D:href>\(href)</D:href><D:propstat><D:prop>\(properties)</D:prop>\
                        <D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>
                        """))
            }
            switch request.path {
            case "/.well-known/caldav":
                return .answer(WebResponse(status: 301, headers: [("Location", "/dav/")]))
            case "/dav/":
                return answer(
                    "/dav/",
                    "<D:current-user-principal><D:href>\(principal)</D:href></D:current-user-principal>")
            case "/p/alice/":
                let box = inbox.map { "<C:schedule-inbox-URL><D:href>\($0)</D:href></C:schedule-inbox-URL>" } ?? ""
                return answer(
                    "/p/alice/",
                    """
                    <C:calendar-home-set><D:href>\(home)</D:href></C:calendar-home-set>\(box)<C:calendar-user-address-set>\
                    <D:href>mailto:alice@example.com</D:href></C:calendar-user-address-set>
                    """)
            case "/c/alice/":
                return answer(
                    "/c/alice/work/",
                    """
                    <D:resourcetype><D:collection/><C:calendar/></D:resourcetype><D:displayname>W&amp;W</D:displayname>\
                    <D:owner><D:href>/p/carol/</D:href></D:owner><D:current-user-privilege-set><D:privilege><D:read/>\
                    </D:privilege><D:privilege><D:write-content/></D:privilege></D:current-user-privilege-set>\
                    <C:supported-calendar-component-set><C:comp name="VEVENT"/><C:comp name="VTODO"/>\
                    </C:supported-calendar-component-set>
                    """)
            case "/c/alice/in/":
                return answer(
                    "/c/alice/in/",
                    """
                    <C:calendar-availability>BEGIN:VCALENDAR
                    BEGIN:VAVAILABILITY
                    END:VAVAILABILITY
                    END:VCALENDAR
                    </C:calendar-availability>
                    """)
            default: return .answer(WebResponse(status: 404))
            }
        }
    }

    @Test("A well-known path leads over principal and home to the calendars")
    func wellKnown() async throws {
        let proxy = try await CalendarProxy(Self.play(inbox: "/c/alice/in/"))
        let client = try CalDAVGround.client(proxy.url)
        let account = try await client.discover(BackendGround.alice)
        #expect(account.principal == CalendarHref("/p/alice/"))
        #expect(account.addresses == ["mailto:alice@example.com"])
        let calendar = try #require(account.calendars.first)
        #expect(
            calendar.reference == CalendarReference(user: BackendGround.alice, href: CalendarHref("/c/alice/work/")))
        #expect(calendar.name == "W&W" && calendar.components == ["VEVENT", "VTODO"])
        #expect(calendar.rights == [.read, .write, .freeBusy] && calendar.token == nil)
        #expect(calendar.owner == CalendarHref("/p/carol/"), "a delegated calendar names its owner")
        let availability = try #require(try await client.availability(of: account))
        #expect(String(decoding: availability, as: UTF8.self).contains("BEGIN:VAVAILABILITY"))
        await client.close()
        await proxy.close()
    }

    @Test("One account for all users goes by the principal's path")
    func delegate() async throws {
        let proxy = try await CalendarProxy(Self.play())
        let client = try CalDAVGround.client(proxy.url) { $0.principal = .path("/p/{user}/") }
        #expect(try await client.discover(BackendGround.alice).calendars.count == 1)
        #expect(proxy.requests.first?.path == "/p/alice/")
        let odd = CalendarUser(id: "../a/b", address: "o'neil+x@example.com")
        await #expect(throws: CalendarError.notFound("")) { try await client.discover(odd) }
        #expect(proxy.requests.last?.path == "/p/%2E%2E%2Fa%2Fb/")
        await client.close()
        await proxy.close()
    }

    @Test("A redirection to another host is pending, and that host sees nothing", arguments: [0, 1, 2, 3])
    func pending(_ step: Int) async throws {
        let other = try await CalendarProxy(Self.play())
        let script: CalendarProxy.Script =
            switch step {
            case 0: { _ in .answer(WebResponse(status: 302, headers: [("Location", other.url + "/dav/")])) }
            case 1: Self.play(principal: other.url + "/p/alice/")
            case 2: Self.play(home: other.url + "/c/alice/")
            default: Self.play(inbox: other.url + "/c/alice/in/")
            }
        let proxy = try await CalendarProxy(script)
        let client = try CalDAVGround.client(proxy.url)
        await #expect(throws: CalendarError.redirectPending(to: other.url)) {
            try await client.discover(BackendGround.alice)
        }
        #expect(other.requests.isEmpty)
        await client.close()
        await proxy.close()
        await other.close()
    }

    @Test("A host that is allowed is followed, and gets its own credentials or none", arguments: [false, true])
    func allowed(_ hasOwn: Bool) async throws {
        let other = try await CalendarProxy(Self.play())
        let proxy = try await CalendarProxy(Self.play(home: other.url + "/c/alice/"))
        let (own, far) = (proxy.url, other.url)
        let client = try CalDAVGround.client(proxy.url) { settings in
            settings.allowedOrigins = [far]
            settings.credentials = { _, origin in
                if origin == own { return .basic(user: "alice", password: Redacted("secret")) }
                return hasOwn && origin == far ? .bearer(Redacted("other-token")) : nil
            }
        }
        let account = try await client.discover(BackendGround.alice)
        let calendar = try #require(account.calendars.first)
        #expect(calendar.reference.href == CalendarHref(other.url + "/c/alice/work/"))
        let sent = other.requests.map { $0.header("Authorization") }
        #expect(sent == [hasOwn ? "Bearer other-token" : nil])
        #expect(proxy.requests.allSatisfy { $0.header("Authorization")?.hasPrefix("Basic ") == true })
        await client.close()
        await proxy.close()
        await other.close()
    }

    @Test("Redirections that go round, out of TLS rules or to a page end with an error")
    func circles() async throws {
        let proxy = try await CalendarProxy { request in
            .answer(WebResponse(status: 307, headers: [("Location", request.path + "x")]))
        }
        let client = try CalDAVGround.client(proxy.url)
        await #expect(throws: CalendarError.violation("")) { try await client.discover(BackendGround.alice) }
        #expect(proxy.requests.count == 6)
        proxy.play { _ in .answer(WebResponse(status: 303, headers: [("Location", "/login")])) }
        await #expect(throws: CalendarError.violation("")) { try await client.discover(BackendGround.alice) }
        proxy.play { _ in .answer(WebResponse(status: 301)) }
        await #expect(throws: CalendarError.violation("")) { try await client.discover(BackendGround.alice) }
        await client.close()
        await proxy.close()
    }

    @Test("An answer for nobody, and a server without calendars, are told")
    func nobody() async throws {
        let proxy = try await CalendarProxy { _ in
            .answer(
                CalendarProxy.xml(
                    207,
                    """
                    <multistatus xmlns="DAV:"><response><href>/</href><propstat><prop><current-user-principal>\
                    <unauthenticated/></current-user-principal></prop></propstat></response></multistatus>
                    """))
        }
        let client = try CalDAVGround.client(proxy.url)
        await #expect(throws: CalendarError.credentialsRefused("")) { try await client.discover(BackendGround.alice) }
        proxy.play { _ in .answer(WebResponse(status: 404)) }
        await #expect(throws: CalendarError.violation("")) { try await client.discover(BackendGround.alice) }
        proxy.play { _ in .answer(WebResponse(status: 403)) }
        await #expect(throws: CalendarError.forbidden("")) { try await client.discover(BackendGround.alice) }
        await client.close()
        await proxy.close()
    }

    @Test("Names and passwords go in UTF-8, and those that can not be sent are refused before")
    func credentials() async throws {
        let proxy = try await CalendarProxy { _ in .answer(WebResponse(status: 401)) }
        func discover(_ credential: CalDAVCredential) async throws {
            let client = try CalDAVGround.client(proxy.url) { $0.credentials = { _, _ in credential } }
            defer { Task { await client.close() } }
            _ = try await client.discover(BackendGround.alice)
        }
        await #expect(throws: CalendarError.credentialsRefused("")) {
            try await discover(.basic(user: "zoë", password: Redacted("pä:ß€")))
        }
        #expect(proxy.requests.first?.header("Authorization") == "Basic " + Base64.encode(Array("zoë:pä:ß€".utf8)))
        let refused = CalendarError.configuration("", expected: "")
        for credential in [
            CalDAVCredential.basic(user: "a:b", password: Redacted("x")),
            .basic(user: "a", password: Redacted("x\r\ny")),
            .bearer(Redacted("a b")), .bearer(Redacted("")),
        ] {
            await #expect(throws: refused) { try await discover(credential) }
        }
        #expect(proxy.requests.count == 1)
        await proxy.close()
    }

    @Test("Over TLS the roots and the pins decide, and a server that is not proven gets no password")
    func trust() async throws {
        let pki = try TestPKI.shared.get()
        let proxy = try await CalendarProxy(tls: .server(identity: pki.core), Self.play())
        let right = TLSTrust(roots: [pki.coreRoot])
        let client = try CalDAVGround.client(proxy.url, trust: right)
        #expect(try await client.discover(BackendGround.alice).calendars.count == 1)
        let count = proxy.requests.count
        var pinned = right
        pinned.pins = [try #require(SPKIPin(digest: [UInt8](repeating: 7, count: 32)))]
        for (trust, code) in [
            (TLSTrust(roots: [pki.customerRoot]), DiagnosedError.Code.tlsUntrusted), (pinned, .tlsPinMismatch),
        ] {
            let suspicious = try CalDAVGround.client(proxy.url, trust: trust)
            do {
                _ = try await suspicious.discover(BackendGround.alice)
                Issue.record("it was believed")
            } catch let error as CalendarError {
                #expect(error.reason == .serverUnproven && error.diagnosis.code == code && !error.isTransient)
            }
            await suspicious.close()
        }
        #expect(proxy.requests.count == count)
        await client.close()
        await proxy.close()
    }

    @Test("A redirection out of TLS is not followed, to a host that is allowed neither")
    func outOfTLS() async throws {
        let pki = try TestPKI.shared.get()
        let plain = try await CalendarProxy(Self.play())
        let proxy = try await CalendarProxy(tls: .server(identity: pki.core)) { _ in
            .answer(WebResponse(status: 302, headers: [("Location", plain.url + "/dav/")]))
        }
        let client = try CalDAVGround.client(proxy.url, trust: TLSTrust(roots: [pki.coreRoot])) {
            $0.allowedOrigins = [plain.url]
        }
        await #expect(throws: CalendarError.violation("")) { try await client.discover(BackendGround.alice) }
        #expect(plain.requests.isEmpty)
        await client.close()
        await proxy.close()
        await plain.close()
    }

    @Test("A server that is not there is told as away, and whose fault it is")
    func away() async throws {
        let proxy = try await CalendarProxy()
        let url = proxy.url
        await proxy.close()
        let client = try CalDAVGround.client(url)
        do {
            _ = try await client.discover(BackendGround.alice)
            Issue.record("it answered")
        } catch let error as CalendarError {
            #expect(error.reason == .serverAway && error.diagnosis.fault == .peer && error.isTransient)
            #expect(error.diagnosis.hint != nil)
        }
        await client.close()
    }
}

import CalendarBackend
import HTTPClient
import TestServers
import Testing
import WireText

/// The measured answers in the table of `docs/calendar-backends.md`: a new version of a server that answers otherwise shows
/// here, before the table is wrong.
@Suite("Differences of calendar servers", .enabled(if: TestCalendarServer.isInstalled))
struct DifferencesTests {
    private struct Wire {
        let url: String
        let path: String
        let web = WebClient(trust: nil)

        func send(_ method: String, _ name: String, _ headers: [(String, String)] = [], _ body: [UInt8] = [])
            async throws
            -> WebResponse
        {
            try await web.send(
                WebRequest(
                    method: method, url: url + path + name,
                    headers: [("Authorization", "Basic " + Base64.encode(Array("alice:alicepw".utf8)))] + headers,
                    body: body))
        }
    }

    @Test("Statuses are those of the table", arguments: BackendKind.real)
    func statuses(_ kind: BackendKind) async throws {
        try await kind.withGround { ground in
            let isRadicale = kind == .radicale
            let server = isRadicale ? try await CalDAVGround.radicale() : try await CalDAVGround.xandikos.value
            let wire = Wire(url: server.url, path: ground.calendar.href.text)
            #expect(try await wire.send("OPTIONS", "absent/").status == (isRadicale ? 200 : 404))
            let event = TestEvent()
            let kindOfBody = [("Content-Type", "text/calendar")]
            #expect(try await wire.send("PUT", "a.ics", kindOfBody, event.octets).status == 201)
            #expect(try await wire.send("PUT", "b.ics", kindOfBody, event.octets).status == (isRadicale ? 409 : 412))
            #expect(
                try await wire.send("PUT", "c.ics", kindOfBody, Array("garbage".utf8)).status
                    == (isRadicale ? 400 : 412))
            let sync = """
                <D:sync-collection xmlns:D="DAV:"><D:sync-token>http://example.com/none</D:sync-token>\
                <D:sync-level>1</D:sync-level><D:prop><D:getetag/></D:prop></D:sync-collection>
                """
            let xml = [("Content-Type", "application/xml"), ("Depth", "0")]
            let refused = try await wire.send("REPORT", "", xml, Array(sync.utf8))
            #expect(refused.status == (isRadicale ? 403 : 412))
            #expect(String(decoding: refused.body, as: UTF8.self).contains("valid-sync-token"))
            #expect(try await wire.send("DELETE", "a.ics").status == (isRadicale ? 200 : 204))
            #expect(try await wire.send("PUT", "it's.ics", kindOfBody, event.octets).status == (isRadicale ? 400 : 201))
            await wire.web.close()
        }
    }
}

import CalendarBackend
import CalendarXML
import Testing

@testable import CalDAVClient

@Suite("Pages of a sync-collection")
struct SyncPagesTests {
    private let calendar = CalendarHref("/c/")

    private func page(_ responses: [(String, Int?)], _ token: String?) throws -> Multistatus {
        let parts = responses.map { href, status in
            let rest =
                status.map { "<D:status>HTTP/1.1 \($0) X</D:status>" }
                ?? "<D:propstat><D:prop><D:getetag>\"1\"</D:getetag></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>"
            return "<D:response><D:href>\(href)</D:href>\(rest)</D:response>"
        }
        let last = token.map { "<D:sync-token>\($0)</D:sync-token>" } ?? ""
        let text = "<D:multistatus xmlns:D=\"DAV:\">\(parts.joined())\(last)</D:multistatus>"
        return try Multistatus(DAVParser.parse(Array(text.utf8)))
    }

    private func add(_ page: Multistatus, to pages: inout SyncPages) throws -> ResyncReason? {
        try pages.add(page, of: calendar) { CalendarHref($0) }
    }

    @Test("Pages are joined, and the last word about a name counts")
    func joined() throws {
        var pages = SyncPages(since: SyncToken("s/1"), limit: nil)
        #expect(try add(page([("/c/a", nil), ("/c/b", nil), ("/c", 507)], "s/2"), to: &pages) == nil)
        #expect(pages.hasMore && pages.token == SyncToken("s/2"))
        #expect(try add(page([("/c/a", 404), ("/c/c", nil), ("/c/sub/", nil)], "s/3"), to: &pages) == nil)
        #expect(!pages.hasMore)
        let etag = ETag("\"1\"")
        #expect(
            pages.outcome
                == .changes(
                    CalendarChanges(
                        changed: [
                            CalendarMember(href: CalendarHref("/c/b"), etag: etag),
                            CalendarMember(href: CalendarHref("/c/c"), etag: etag),
                        ], removed: [CalendarHref("/c/a")], token: SyncToken("s/3"))))
    }

    static let suspicious: [(String, [(String, Int?)], String?, ResyncReason?)] = [
        ("s/5", [], "s/5", nil), ("s/5", [("/c/a", nil)], "s/6", nil), ("s/5", [("/c/a", nil)], "s/5", .tokenRepeated),
        ("s/5", [], "s/6", .tokenWithoutChanges), ("s/5", [("/c/a", nil)], "s/4", .tokenMovedBack),
        ("s/5", [], "s/4", .tokenMovedBack), ("s/10", [("/c/a", 404)], "s/9", .tokenMovedBack),
        ("s/5", [("/c/a", nil)], nil, .answerCut), ("s/5", [("/c/", 507)], "s/5", .answerCut),
        ("digest-b1", [("/c/a", nil)], "digest-a1", nil),
    ]

    @Test("What can not be trusted asks for a full resync", arguments: suspicious.indices)
    func suspicion(_ index: Int) throws {
        let (since, responses, token, reason) = Self.suspicious[index]
        var pages = SyncPages(since: SyncToken(since), limit: nil)
        #expect(try add(page(responses, token), to: &pages) == reason)
    }

    @Test("An answer as long as the limit that says nothing of more may be cut")
    func limit() throws {
        var pages = SyncPages(since: nil, limit: 2)
        #expect(try add(page([("/c/a", nil), ("/c/b", nil)], "s/2"), to: &pages) == .answerCut)
        var shorter = SyncPages(since: nil, limit: 2)
        #expect(try add(page([("/c/a", nil)], "s/2"), to: &shorter) == nil)
    }

    @Test("A calendar that is not there is told inside of a 207 too")
    func absent() throws {
        var pages = SyncPages(since: nil, limit: nil)
        #expect(throws: CalendarError.notFound("")) { try add(page([("/c", 404)], "s/2"), to: &pages) }
    }
}

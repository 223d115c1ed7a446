package import CalendarBackend
import CalendarXML
import HTTPClient

extension CalDAVClient {
    package func changes(in calendar: CalendarReference, since token: SyncToken?) async throws -> SyncOutcome {
        var collected = SyncPages(since: token, limit: settings.pageLimit)
        for _ in 0..<settings.mostPages {
            let answer = try await ask(
                "REPORT", try address(of: calendar.href), depth: 0, syncBody(collected.token), for: calendar.user)
            guard answer.status == 207 else { return try await refusal(answer, calendar, token) }
            let page = try multistatus(of: answer, about: "the calendar")
            if let reason = try collected.add(
                page, of: calendar.href,
                { text throws(CalendarError) in
                    try href(text, in: answer)
                })
            {
                return .fullResyncNeeded(reason)
            }
            if !collected.hasMore { return collected.outcome }
        }
        return .fullResyncNeeded(.answerCut)
    }

    package func members(of calendar: CalendarReference) async throws -> [CalendarMember] {
        let names: [DAVName] = [.dav("getetag"), .dav("resourcetype")]
        guard
            let (answer, status) = try await properties(
                names, of: address(of: calendar.href), depth: 1, for: calendar.user)
        else { throw CalendarError.notFound("the calendar") }
        var members: [CalendarMember] = []
        var seen: Set<CalendarHref> = []
        for response in status.responses {
            let href = try href(response.href, in: answer)
            if Self.isSame(href, calendar.href) {
                try Self.checkWhole(response)
                continue
            }
            // A member whose version can not be told is one all the same: only "not found" takes it away.
            guard ![404, 410].contains(response.status), !response.href.hasSuffix("/"),
                response.properties[.dav("resourcetype")]?[.dav("collection")] == nil
            else { continue }
            guard seen.insert(href).inserted else { continue }
            members.append(CalendarMember(href: href, etag: response.etag))
        }
        return members
    }

    /// A PROPFIND for each: whatever the server's index of changes believes, it looks at the object.
    package func versions(of hrefs: [CalendarHref], in calendar: CalendarReference) async throws -> CalendarVersions {
        var versions = CalendarVersions()
        for href in hrefs {
            let found = try await properties([.dav("getetag")], of: address(of: href), depth: 0, for: calendar.user)
            let response = found?.status.responses.first
            guard let response, ![404, 410].contains(response.status) else {
                versions.missing.append(href)
                continue
            }
            versions.found.append(CalendarMember(href: href, etag: response.etag))
        }
        return versions
    }

    /// Some servers answer 207 about a collection that is not there, and say so inside.
    static func checkPresent(_ response: Multistatus.Response) throws(CalendarError) {
        if response.status == 404 || response.status == 410 { throw .notFound("the calendar") }
    }

    /// For answers that have no second part.
    static func checkWhole(_ response: Multistatus.Response) throws(CalendarError) {
        try checkPresent(response)
        guard let status = response.status, status != 200 else { return }
        throw .violation("the calendar server cut its answer", expected: "all of it", found: "status \(status) inside")
    }

    private func syncBody(_ token: SyncToken?) -> [UInt8] {
        let limit = settings.pageLimit.map { "<D:limit><D:nresults>\($0)</D:nresults></D:limit>" } ?? ""
        return DAVText.document(
            .dav("sync-collection"),
            "<D:sync-token>\(DAVText.escaped(token?.text ?? ""))</D:sync-token><D:sync-level>1</D:sync-level>\(limit)"
                + DAVText.properties([.dav("getetag")]))
    }

    /// What a server that gives no changes means. Any of five statuses is in use for a token that is not taken.
    private func refusal(
        _ answer: CalDAVTransport.Answer, _ calendar: CalendarReference, _ token: SyncToken?
    ) async throws -> SyncOutcome {
        let conditions = DAVErrorBody(answer.body).conditions
        if [403, 409, 410, 412, 507].contains(answer.status), token != nil,
            conditions.contains(.dav("valid-sync-token")) || [410, 507].contains(answer.status)
        {
            return .fullResyncNeeded(.tokenRefused)
        }
        let knowsNoSync =
            [405, 415, 501].contains(answer.status)
            || !conditions.isDisjoint(with: [.dav("supported-report"), .dav("sync-traversal-supported")])
        guard knowsNoSync else { throw CalDAVTransport.failure(answer, about: "the calendar") }
        guard token == nil else { return .fullResyncNeeded(.notSupported) }
        return .changes(CalendarChanges(changed: try await members(of: calendar), token: nil))
    }
}

extension Multistatus.Response {
    var etag: ETag? {
        properties[.dav("getetag")].map(\.text).flatMap { $0.isEmpty ? nil : ETag($0) }
    }
}

/// The pages of one `sync-collection`, joined; pure.
struct SyncPages {
    /// For the next page.
    private(set) var token: SyncToken?
    private(set) var hasMore = false

    private let since: SyncToken?
    private let limit: Int?
    private var states: [CalendarHref: CalendarMember?] = [:]
    private var order: [CalendarHref] = []

    init(since: SyncToken?, limit: Int?) {
        self.since = since
        self.limit = limit
        token = since
    }

    /// - Returns: why what came can not be trusted.
    mutating func add(
        _ page: Multistatus, of calendar: CalendarHref,
        _ resolve: (String) throws(CalendarError) -> CalendarHref
    ) throws(CalendarError) -> ResyncReason? {
        hasMore = false
        var count = 0
        for response in page.responses {
            let href = try resolve(response.href)
            if CalDAVClient.isSame(href, calendar) {
                // RFC 6578, section 3.6.
                if response.status == 507 { hasMore = true }
                try CalDAVClient.checkPresent(response)
                continue
            }
            // A collection in a collection is no object.
            if response.href.hasSuffix("/") { continue }
            count += 1
            if states.updateValue(nil, forKey: href) == nil { order.append(href) }
            switch response.status ?? 200 {
            case 404, 410: break
            default: states[href] = .some(CalendarMember(href: href, etag: response.etag))
            }
        }
        let new = page.token.flatMap { $0.isEmpty ? nil : SyncToken($0) }
        guard let new else { return since == nil && !hasMore ? nil : .answerCut }
        defer { token = new }
        if hasMore { return new == token ? .answerCut : nil }
        // As many as were allowed and no word of more: some servers cut without a word.
        if let limit, count >= limit { return .answerCut }
        guard let since else { return nil }
        if new == since { return order.isEmpty ? nil : .tokenRepeated }
        if new.isBefore(since) { return .tokenMovedBack }
        return order.isEmpty ? .tokenWithoutChanges : nil
    }

    var outcome: SyncOutcome {
        var changes = CalendarChanges(token: token)
        for href in order {
            if let member = states[href] ?? nil { changes.changed.append(member) } else { changes.removed.append(href) }
        }
        return .changes(changes)
    }
}

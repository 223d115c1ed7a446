package import CalendarBackend
package import CalendarTime
package import CalendarTransport
import CalendarTranslation
import Cryptography
package import HTTPClient
package import WireText

/// How the Google Calendar API is reached.
package struct GoogleCalendarSettings: Sendable {
    /// For tests `http://127.0.0.1:port`.
    package var origin = "https://www.googleapis.com"
    package var limits = HostGate.Limits()
    package var timeout = Duration.seconds(60)
    package var mostPages = 1000
    /// Who is told of a write by e-mail: `all`, `externalOnly` or `none` (`sendUpdates`).
    package var sendUpdates = "all"
    package var now: @Sendable () -> Timestamp = { Timestamp.now() }

    package init() {}
}

/// Calendars of the Google Calendar API v3 as a calendar backend.
///
/// Any thread. An object is an event, or a series with its exceptions, or one occurrence of a series that is not in the
/// calendar. Documented behaviour that shapes it (developers.google.com/workspace/calendar/api):
///
/// * `events.list` with a `syncToken` tells what changed, deleted events as `status: cancelled`; the last page alone has
///   the `nextSyncToken`; an old token is answered by 410 and asks for all anew (guides/sync).
/// * Exceptions of a series are events with a `recurringEventId` and an ETag of their own (guides/recurringevents): the
///   ETag of an object is that of its event, with a digest of its exceptions' behind it.
/// * `If-Match` gives 412 (guides/version-resources); a PATCH changes the members that it names, an array as a whole.
/// * 403 with `rateLimitExceeded`, `userRateLimitExceeded` or `quotaExceeded`, and 429, want fewer requests, by
///   exponential back-off (guides/errors).
/// * One of `id` and `iCalUID` may be given at an insert (reference/events/insert). The UID is what other calendars know a
///   meeting by, so it is given, and Google names the event: `put` of a new one answers `created`.
package final class GoogleCalendarClient: CalendarBackend {
    package let abilities: Set<CalendarAbility> = [.freeBusy, .availability]
    let settings: GoogleCalendarSettings
    let web: CalendarWeb
    let zones: ZoneCatalogue
    static let base = "/calendar/v3"

    /// - Parameters:
    ///   - client: with the trust, the pins and the proxy of Google; it is closed with this.
    ///   - clock: of pauses.
    /// - Throws: `configuration`.
    package init(
        _ settings: GoogleCalendarSettings, client: WebClient, tokens: any BearerTokens,
        zones: ZoneCatalogue = .system, clock: any Clock<Duration> = ContinuousClock()
    ) throws(CalendarError) {
        guard ["all", "externalOnly", "none"].contains(settings.sendUpdates) else {
            throw .configuration("sendUpdates can not be used", expected: "all, externalOnly or none")
        }
        self.settings = settings
        self.zones = zones
        web = try CalendarWeb(
            origin: settings.origin, limits: settings.limits, timeout: settings.timeout, client: client, clock: clock,
            tokens: tokens
        ) { response in
            guard response.status == 403, let body = try? JSONValue(parsing: response.body),
                ["rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"].contains(Self.reason(body))
            else { return .none }
            return .back(RetryAfter.read(response))
        }
    }

    package func close() async { await web.close() }

    /// A proposal, for `put` answers with the name that Google chose.
    package func newHref(in calendar: CalendarReference) -> CalendarHref {
        href(of: "new-" + UUIDText.random(), in: calendar)
    }

    package func discover(_ user: CalendarUser) async throws -> CalendarAccount {
        var calendars: [CalendarInformation] = []
        let list = try await pages("/users/me/calendarList?maxResults=250", for: user, about: "the user's calendars")
        for calendar in list.items where calendar["deleted"]?.flag != true {
            guard let id = calendar["id"]?.text, !id.isEmpty else { continue }
            let rights: CalendarRights =
                switch calendar["accessRole"]?.text {
                case "owner", "writer": .all
                case "reader": [.read, .freeBusy]
                default: [.freeBusy]
                }
            let isOwn = calendar["primary"]?.flag == true || calendar["accessRole"]?.text == "owner"
            calendars.append(
                CalendarInformation(
                    reference: CalendarReference(user: user, href: CalendarHref("/calendars/\(URLText.encoded(id))/")),
                    name: calendar["summaryOverride"]?.text ?? calendar["summary"]?.text, components: ["VEVENT"],
                    rights: rights, owner: isOwn ? nil : CalendarHref("/calendars/\(URLText.encoded(id))/acl/")))
        }
        return CalendarAccount(
            user: user, principal: CalendarHref("/users/me/"), calendars: calendars,
            addresses: ["mailto:" + user.address])
    }

    // MARK: - Names

    func href(of id: String, in calendar: CalendarReference) -> CalendarHref {
        CalendarHref(folder(calendar) + URLText.encoded(id) + ".ics")
    }

    /// The path of a calendar, with a slash at its end.
    func folder(_ calendar: CalendarReference) -> String {
        calendar.href.text.hasSuffix("/") ? calendar.href.text : calendar.href.text + "/"
    }

    /// Nil: no event has that name.
    func id(of href: CalendarHref, in calendar: CalendarReference) -> String? {
        guard let slash = href.text.lastIndex(of: "/"),
            CalendarHref(String(href.text[...slash])) == CalendarHref(folder(calendar)),
            let name = URLText.decoded(href.text[href.text.index(after: slash)...]), name.hasSuffix(".ics"),
            (5...1100).contains(name.utf8.count)
        else { return nil }
        return String(name.dropLast(4))
    }

    func path(ofEvent id: String, in calendar: CalendarReference) -> String {
        folder(calendar) + "events/" + URLText.encoded(id)
    }

    // MARK: - Requests

    func ask(
        _ method: String, _ path: String, _ body: JSONValue? = nil, ifMatch etag: String? = nil, for user: CalendarUser
    ) async throws -> (status: Int, body: JSONValue) {
        var headers = [("Accept", "application/json")]
        if body != nil { headers.append(("Content-Type", "application/json; charset=utf-8")) }
        if let etag { headers.append(("If-Match", etag)) }
        let response = try await web.send(
            CalendarWeb.Request(method, Self.base + path, headers: headers, body: body?.octets ?? []), for: user)
        if response.status == 204 || response.body.isEmpty { return (response.status, [:]) }
        guard response.status < 300 else { return (response.status, (try? JSONValue(parsing: response.body)) ?? [:]) }
        return (response.status, try JSONValue(parsing: response.body))
    }

    /// A GET whose answer is wanted; nil when it is not there.
    func read(_ path: String, for user: CalendarUser, about what: String) async throws -> JSONValue? {
        let answer = try await ask("GET", path, for: user)
        if answer.status == 404 || answer.status == 410 { return nil }
        guard answer.status == 200 else { throw Self.failure(answer, about: what) }
        return answer.body
    }

    /// All pages of a list; each repeats the query with another `pageToken`.
    func pages(
        _ path: String, for user: CalendarUser, about what: String
    ) async throws -> (items: [JSONValue], syncToken: String?) {
        var items: [JSONValue] = []
        var seen: Set<String> = []
        var page = ""
        while true {
            let answer = try await ask("GET", path + page, for: user)
            guard answer.status == 200 else { throw Self.failure(answer, about: what) }
            items += answer.body["items"]?.list ?? []
            guard let next = answer.body["nextPageToken"]?.text else {
                return (items, answer.body["nextSyncToken"]?.text)
            }
            guard seen.insert(next).inserted, seen.count < settings.mostPages else {
                throw CalendarError.violation("a list does not end", expected: "at most \(settings.mostPages) pages")
            }
            page = "&pageToken=" + URLText.encoded(next)
        }
    }

    static func reason(_ body: JSONValue) -> String {
        String((body["error"]?["errors"]?.list.first?["reason"]?.text ?? "").prefix(60))
    }

    static func failure(_ answer: (status: Int, body: JSONValue), about what: String) -> CalendarError {
        let found = "status \(answer.status), \(reason(answer.body))"
        switch answer.status {
        case 403: return .forbidden(found)
        case 404, 410: return .notFound(what)
        case 500...: return .serverAway(found)
        default: return .violation("the calendar service refuses the request", expected: "an answer", found: found)
        }
    }

    // MARK: - Versions

    /// Of an event with its exceptions.
    static func etag(of event: JSONValue, _ exceptions: [JSONValue]) -> ETag? {
        guard let own = event["etag"]?.text, own.utf8.count <= 1024, own.hasPrefix("\"") else { return nil }
        guard !exceptions.isEmpty else { return ETag(own) }
        let parts = exceptions.compactMap { part -> String? in
            guard let id = part["id"]?.text, let etag = part["etag"]?.text else { return nil }
            return id + " " + etag
        }
        let digest = SHA256.hash(Array(parts.sorted().joined(separator: "\n").utf8))
        return ETag(own.dropLast() + "+" + Hexadecimal.encode(digest.prefix(12)) + "\"")
    }
}

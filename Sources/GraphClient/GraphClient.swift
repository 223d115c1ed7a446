package import CalendarBackend
package import CalendarTime
package import CalendarTransport
import CalendarTranslation
package import HTTPClient
import WireText

/// Calendars of Microsoft Graph v1.0 (Exchange Online) as a calendar backend.
///
/// Any thread. An object is an event, or a series with its exceptions (`GraphEvent` translates). Documented behaviour that
/// shapes it (learn.microsoft.com/graph, and the issues of microsoftgraph/microsoft-graph-docs that are named):
///
/// * `calendarView/delta` tells a window only; occurrences come as stubs of `id`, `type`, `seriesMasterId`, `start`, `end`
///   (issue 7632), and `@removed` also names what left the window: who is still there was not deleted.
/// * An old `deltaLink` is answered by 410 `SyncStateNotFound` (issue 2350) or `resyncRequired`.
/// * `@odata.etag` is `W/"changeKey"`, and `If-Match` with it gives 412 all the same. Here it is a strong `ETag`, for it
///   stands for one version octet by octet; `W/` is put before it when it is sent.
/// * Exceptions are parts of the series in Exchange: a change of one gives the series another change key.
/// * Graph names events and gives them UIDs. `put` of a new one answers `created`; its `transactionId` is made of the
///   UID, so that a request sent twice makes one event.
/// * `Prefer: IdType="ImmutableId"`: an id stays when the event is moved to another folder.
package final class GraphClient: CalendarBackend {
    package let abilities: Set<CalendarAbility> = [.freeBusy, .availability]
    let settings: GraphSettings
    let web: CalendarWeb
    let zones: ZoneCatalogue

    /// - Parameters:
    ///   - client: with the trust, the pins and the proxy of Graph; it is closed with this.
    ///   - clock: of pauses.
    /// - Throws: `configuration`.
    package init(
        _ settings: GraphSettings, client: WebClient, tokens: any BearerTokens, zones: ZoneCatalogue = .system,
        clock: any Clock<Duration> = ContinuousClock()
    ) throws(CalendarError) {
        self.settings = settings
        self.zones = zones
        web = try CalendarWeb(
            origin: settings.origin, limits: settings.limits, timeout: settings.timeout, client: client, clock: clock,
            tokens: tokens)
    }

    package func close() async { await web.close() }

    /// A proposal, for `put` answers with the name that Graph chose.
    package func newHref(in calendar: CalendarReference) -> CalendarHref {
        href(of: "new-" + UUIDText.random(), in: calendar)
    }

    package func discover(_ user: CalendarUser) async throws -> CalendarAccount {
        var calendars: [CalendarInformation] = []
        for calendar in try await pages(userPath(user) + "/calendars?$top=100", for: user, about: "the user").items {
            guard let id = calendar["id"]?.text, !id.isEmpty else { continue }
            let canEdit = calendar["canEdit"]?.flag != false
            let owner = calendar["owner"]?["address"]?.text
            let isOwn = owner == nil || owner?.lowercased() == user.address.lowercased()
            let reference = CalendarReference(
                user: user, href: CalendarHref(userPath(user) + "/calendars/" + URLText.encoded(id) + "/"))
            calendars.append(
                CalendarInformation(
                    reference: reference, name: calendar["name"]?.text, components: ["VEVENT"],
                    ctag: calendar["changeKey"]?.text, rights: canEdit ? .all : [.read, .freeBusy],
                    owner: isOwn ? nil : owner.map { CalendarHref("/users/" + URLText.encoded($0) + "/") }))
        }
        return CalendarAccount(
            user: user, principal: CalendarHref(userPath(user) + "/"), calendars: calendars,
            addresses: ["mailto:" + user.address])
    }

    // MARK: - Names

    func userPath(_ user: CalendarUser) -> String { "/users/" + URLText.encoded(user.address) }

    func href(of id: String, in calendar: CalendarReference) -> CalendarHref {
        CalendarHref(folder(calendar) + URLText.encoded(id) + ".ics")
    }

    /// What is asked for a calendar: below the user whose it is, whatever the name says, for an application's token opens
    /// every mailbox. A series of a shared calendar is found below the calendar only.
    func place(of calendar: CalendarReference) -> String {
        let names = calendar.href.text.split(separator: "/")
        let isCalendar = names.count == 4 && names[0] == "users" && names[2] == "calendars"
        // A name that is none is told as such by the server.
        return userPath(calendar.user) + "/calendars/" + (isCalendar ? String(names[3]) : "-") + "/"
    }

    /// The name of a calendar, with a slash at its end.
    func folder(_ calendar: CalendarReference) -> String {
        let text = calendar.href.text
        return text.hasSuffix("/") ? text : text + "/"
    }

    /// Nil: no event has that name.
    func id(of href: CalendarHref, in calendar: CalendarReference) -> String? {
        let folder = CalendarHref(folder(calendar))
        guard let slash = href.text.lastIndex(of: "/"), CalendarHref(String(href.text[...slash])) == folder,
            let name = URLText.decoded(href.text[href.text.index(after: slash)...]), name.hasSuffix(".ics"),
            name.utf8.count > 4, name.utf8.count <= 2048
        else { return nil }
        return String(name.dropLast(4))
    }

    func path(ofEvent id: String, in calendar: CalendarReference) -> String {
        place(of: calendar) + "events/" + URLText.encoded(id)
    }

    // MARK: - Requests

    private static let preferences = [
        ("Prefer", "IdType=\"ImmutableId\", odata.maxpagesize=200"), ("Accept", "application/json"),
    ]

    /// An answer of any status but those that mean the same everywhere.
    func ask(
        _ method: String, _ path: String, _ body: JSONValue? = nil, headers: [(String, String)] = [],
        for user: CalendarUser
    ) async throws -> (status: Int, body: JSONValue) {
        let sent = body.map { _ in [("Content-Type", "application/json")] + headers } ?? headers
        let response = try await web.send(
            CalendarWeb.Request(
                method, path.hasPrefix(settings.version + "/") ? path : settings.version + path,
                headers: Self.preferences + sent, body: body?.octets ?? []), for: user)
        if response.status == 204 || response.body.isEmpty { return (response.status, [:]) }
        guard response.status < 300 else { return (response.status, (try? JSONValue(parsing: response.body)) ?? [:]) }
        return (response.status, try JSONValue(parsing: response.body))
    }

    /// A GET whose answer is wanted; nil when it is not there.
    func read(_ path: String, for user: CalendarUser, about what: String) async throws -> JSONValue? {
        let answer = try await ask("GET", path, for: user)
        if Self.isAbsent(answer) { return nil }
        guard answer.status == 200 else { throw Self.failure(answer, about: what) }
        return answer.body
    }

    /// All pages of a list, and what the last one says of how to go on.
    func pages(
        _ path: String, for user: CalendarUser, about what: String
    ) async throws -> (items: [JSONValue], deltaLink: String?) {
        var items: [JSONValue] = []
        var next: String? = path
        var count = 0
        var last: JSONValue = [:]
        while let path = next {
            count += 1
            guard count <= settings.mostPages else {
                throw CalendarError.violation("a list does not end", expected: "at most \(settings.mostPages) pages")
            }
            let answer = try await ask("GET", path, for: user)
            if Self.isAbsent(answer) { throw CalendarError.notFound(what) }
            guard answer.status == 200 else { throw Self.failure(answer, about: what) }
            last = answer.body
            items += last["value"]?.list ?? []
            next = try last["@odata.nextLink"]?.text.map { link in try own(link) }
        }
        return (items, last["@odata.deltaLink"]?.text)
    }

    /// The path of a link that Graph gave: it may lead nowhere else.
    func own(_ link: String) throws(CalendarError) -> String {
        guard let path = web.path(of: link), path.hasPrefix(settings.version + "/") else {
            throw .violation("an answer leads to another server", expected: settings.origin + settings.version)
        }
        return path
    }

    static func code(_ body: JSONValue) -> String { String((body["error"]?["code"]?.text ?? "").prefix(60)) }

    /// An id that is none of this mailbox is told as malformed by some and as absent by others.
    static func isAbsent(_ answer: (status: Int, body: JSONValue)) -> Bool {
        if answer.status == 404 || answer.status == 410 { return true }
        return answer.status == 400 && code(answer.body).hasPrefix("ErrorInvalidId")
    }

    static func failure(_ answer: (status: Int, body: JSONValue), about what: String) -> CalendarError {
        let found = "status \(answer.status), \(code(answer.body))"
        switch answer.status {
        case 403: return .forbidden(found)
        case 404, 410: return .notFound(what)
        case 507: return .quotaExceeded
        case 500...: return .serverAway(found)
        default:
            if code(answer.body) == "ErrorQuotaExceeded" { return .quotaExceeded }
            return .violation("the calendar service refuses the request", expected: "an answer", found: found)
        }
    }

    static func etag(of event: JSONValue) -> ETag? {
        guard let text = event["@odata.etag"]?.text, !text.isEmpty, text.utf8.count <= 1024 else { return nil }
        return ETag(text.hasPrefix("W/") ? String(text.dropFirst(2)) : text)
    }

    static func condition(_ etag: ETag) -> (String, String) { ("If-Match", "W/" + etag.text) }
}

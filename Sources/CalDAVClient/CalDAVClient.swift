package import CalendarBackend
import CalendarXML
package import HTTPClient
import WireText

/// A CalDAV server as a calendar backend: RFC 4791 (access), 6578 (sync), 6638 (scheduling), 6764 (discovery), 7953
/// (availability).
///
/// Any thread. The server is not trusted: hrefs stay on its origin and on those that an administrator allowed, XML is
/// read within bounds, an answer that is cut or of the wrong kind is an error. It keeps nothing but connections and the
/// pace of each host. Octets that come by a multiget or a query went through XML, which turns CRLF into LF; those of
/// `object(_:in:)` are as the server keeps them, and they are the ones to edit.
package final class CalDAVClient: CalendarBackend {
    package let abilities: Set<CalendarAbility> = [
        .expansion, .freeBusy, .freeBusyOfOthers, .availability, .versions,
    ]
    let settings: CalDAVSettings
    let transport: CalDAVTransport

    /// - Parameters:
    ///   - client: with the trust, the pins and the proxy of this server; it is closed with this.
    ///   - clock: of pauses.
    /// - Throws: `configuration`.
    package init(
        _ settings: CalDAVSettings, client: WebClient, clock: any Clock<Duration> = ContinuousClock()
    ) throws(CalendarError) {
        self.settings = settings
        transport = try CalDAVTransport(settings, client: client, clock: clock)
    }

    package func newHref(in calendar: CalendarReference) -> CalendarHref {
        CalendarHref(Self.folder(calendar.href.text) + UUIDText.random() + ".ics")
    }

    package func close() async { await transport.close() }

    // MARK: - Addresses

    /// A path on the server itself, or an absolute URL on another origin.
    func address(of href: CalendarHref) throws(CalendarError) -> CalDAVAddress {
        try transport.base.resolve(href.text)
    }

    func href(of address: CalDAVAddress) -> CalendarHref {
        CalendarHref(address.origin == transport.base.origin ? address.path : address.url)
    }

    /// What an answer names: it has to be on the origin that the answer came from.
    func href(_ text: String, in answer: CalDAVTransport.Answer) throws(CalendarError) -> CalendarHref {
        let address = try answer.address.resolve(text)
        guard address.origin == answer.address.origin else {
            throw .violation(
                "an answer names an object of another server", expected: answer.address.origin.description,
                found: address.origin.description)
        }
        return href(of: address)
    }

    static func folder(_ path: String) -> String { path.hasSuffix("/") ? path : path + "/" }

    /// A collection may be named with its last slash or without.
    static func isSame(_ one: CalendarHref, _ other: CalendarHref) -> Bool {
        CalendarHref(folder(one.text)) == CalendarHref(folder(other.text))
    }

    // MARK: - Requests

    /// Sends XML; the answer has any status.
    func ask(
        _ method: String, _ address: CalDAVAddress, depth: Int, _ body: [UInt8], for user: CalendarUser
    ) async throws -> CalDAVTransport.Answer {
        try await transport.send(
            CalDAVTransport.Request(
                method: method, address: address, depth: depth,
                headers: [("Content-Type", "application/xml; charset=utf-8"), ("Accept", "application/xml, text/xml")],
                body: body, limit: settings.answerLimit), for: user)
    }

    func multistatus(
        of answer: CalDAVTransport.Answer, about what: String
    ) throws(CalendarError) -> Multistatus {
        guard answer.status == 207 else { throw CalDAVTransport.failure(answer, about: what) }
        let kind = answer.contentType
        guard ["application/xml", "text/xml"].contains(kind) || kind.hasSuffix("+xml") else {
            throw .violation(
                "the calendar server's answer is of the wrong kind", expected: "application/xml or text/xml",
                found: kind.isEmpty ? "no Content-Type" : String(kind.prefix(100)))
        }
        return try Multistatus(DAVParser.parse(answer.body))
    }

    /// Properties of one resource, or nil when it is not there.
    func properties(
        _ names: [DAVName], of address: CalDAVAddress, depth: Int = 0, for user: CalendarUser
    ) async throws -> (answer: CalDAVTransport.Answer, status: Multistatus)? {
        let body = DAVText.document(.dav("propfind"), DAVText.properties(names))
        let answer = try await ask("PROPFIND", address, depth: depth, body, for: user)
        if answer.status == 404 || answer.status == 410 { return nil }
        return (answer, try multistatus(of: answer, about: "the collection"))
    }

    /// A calendar object's octets: they have to look like ones, for proxies put pages in the place of answers.
    static func calendarOctets(_ answer: CalDAVTransport.Answer) throws(CalendarError) -> [UInt8] {
        guard answer.contentType != "text/html", isWhole(answer.body) else {
            throw .violation(
                "the calendar server's answer is of the wrong kind", expected: "a whole VCALENDAR",
                found: answer.contentType.isEmpty ? "something else" : String(answer.contentType.prefix(100)))
        }
        return answer.body
    }

    /// A server without Content-Length ends a cut answer like a whole one.
    static func isWhole(_ octets: [UInt8]) -> Bool {
        var rest = octets[...]
        if rest.starts(with: [0xEF, 0xBB, 0xBF]) { rest = rest.dropFirst(3) }
        let isSpace = { (octet: UInt8) in [0x20, 0x09, 0x0A, 0x0D].contains(octet) }
        rest = rest.drop(while: isSpace)
        while let last = rest.last, isSpace(last) { rest.removeLast() }
        let says = { (part: ArraySlice<UInt8>) in String(decoding: part, as: UTF8.self).uppercased() }
        return says(rest.prefix(15)) == "BEGIN:VCALENDAR" && says(rest.suffix(13)) == "END:VCALENDAR"
    }
}

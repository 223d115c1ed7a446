import CalendarBackend
import CalendarXML

/// A 207 answer (RFC 4918, section 13; RFC 6578, section 6.4).
struct Multistatus: Sendable, Equatable {
    struct Response: Sendable, Equatable {
        let href: String
        /// Of the whole; nil where each property has its own.
        var status: Int?
        /// Those with status 200.
        var properties: [DAVName: DAVElement] = [:]
        /// The first other status of a property.
        var failure: Int?
        /// Names of elements in DAV:error.
        var errors: Set<DAVName> = []
    }

    var responses: [Response] = []
    var token: String?

    init(_ root: DAVElement) throws(CalendarError) {
        guard root.name == .dav("multistatus") else {
            throw .violation(
                "the calendar server's answer can not be read", expected: "a multistatus", found: "another document")
        }
        token = root[.dav("sync-token")]?.text
        for element in root.all(.dav("response")) { responses += try Self.responses(element) }
    }

    /// More than one where several names share a status.
    private static func responses(_ element: DAVElement) throws(CalendarError) -> [Response] {
        let hrefs = element.hrefs
        guard !hrefs.isEmpty else { throw .violation("a part of the answer names nothing", expected: "an href") }
        var model = Response(href: "")
        if let status = element[.dav("status")] { model.status = try Self.status(status.text) }
        model.errors = Set(element[.dav("error")]?.children.map(\.name) ?? [])
        for part in element.all(.dav("propstat")) {
            // A server that tells no status has found the properties.
            let status = try part[.dav("status")].map { element throws(CalendarError) in try Self.status(element.text) }
            guard status ?? 200 == 200 else {
                model.failure = model.failure ?? status
                continue
            }
            for property in part[.dav("prop")]?.children ?? [] { model.properties[property.name] = property }
        }
        return hrefs.map { href in
            Response(
                href: href, status: model.status, properties: model.properties, failure: model.failure,
                errors: model.errors)
        }
    }

    /// `HTTP/1.1 200 OK`.
    private static func status(_ line: String) throws(CalendarError) -> Int {
        let words = line.split(separator: " ")
        guard words.count >= 2, words[0].hasPrefix("HTTP/"), words[1].utf8.count == 3, let status = Int(words[1]) else {
            throw .violation("a part of the answer has no status", expected: "a status line")
        }
        return status
    }
}

/// What the body of an error says (RFC 4918, section 16).
struct DAVErrorBody {
    let conditions: Set<DAVName>
    let href: String?

    /// Empty where there is none, for many servers send plain text.
    init(_ octets: [UInt8]) {
        guard octets.count <= 1 << 20, let root = try? DAVParser.parse(octets), root.name == .dav("error") else {
            (conditions, href) = ([], nil)
            return
        }
        conditions = Set(root.children.map(\.name).filter { $0 != .dav("responsedescription") })
        href = root.children.lazy.compactMap(\.hrefs.first).first
    }
}

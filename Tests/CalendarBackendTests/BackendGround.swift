import CalDAVClient
import CalendarBackend
import CalendarTransport
import Diagnostics
import GraphClient
import HTTPClient
import TLSChannel
import TestServers
import Testing
import WireText

/// The backends that pass the conformance suite; a new one joins by a case here.
enum BackendKind: String, CaseIterable, CustomTestStringConvertible {
    case memory
    /// The decorator without a fault changes nothing.
    case decorated
    case radicale, xandikos
    /// Against a fake service of the project's own.
    case graph, google, exchange

    /// All that this machine has.
    static let allCases: [BackendKind] = [.memory, .decorated] + real + played
    static let played: [BackendKind] = [.graph, .google, .exchange]
    static let real: [BackendKind] = TestCalendarServer.isInstalled ? [.radicale, .xandikos] : []
    /// With expansion by the server.
    static let expanding = real
    /// Whether the system takes the name that a client proposes.
    var takesNames: Bool { !Self.played.contains(self) }

    var testDescription: String { rawValue }

    /// Runs the body on a backend with two users and a new calendar of the first.
    func withGround(_ body: (BackendGround) async throws -> Void) async throws {
        let ground = try await ground()
        do {
            try await body(ground)
        } catch {
            await ground.backend.close()
            throw error
        }
        await ground.backend.close()
    }

    private func ground() async throws -> BackendGround {
        switch self {
        case .memory, .decorated:
            let memory = MemoryCalendarBackend()
            memory.add(BackendGround.alice)
            memory.add(BackendGround.bob)
            memory.refuse(BackendGround.mallory)
            return BackendGround(
                backend: self == .memory ? memory : FaultingCalendarBackend(memory),
                calendar: memory.addCalendar("meetings", of: BackendGround.alice))
        case .radicale: return try await CalDAVGround.make(CalDAVGround.radicale())
        case .xandikos: return try await CalDAVGround.make(CalDAVGround.xandikos.value)
        case .graph: return try await GraphGround().ground()
        case .google: return try await GoogleGround().ground()
        case .exchange: return try await ExchangeGround().ground()
        }
    }
}

struct BackendGround {
    static let alice = CalendarUser(id: "alice", address: "alice@example.com")
    static let bob = CalendarUser(id: "bob", address: "bob@example.com")
    /// Whom no server takes.
    static let mallory = CalendarUser(id: "mallory", address: "mallory@example.com")

    let backend: any CalendarBackend
    /// Of alice, empty.
    let calendar: CalendarReference
    /// What lives as long as the ground.
    var server: (any Sendable)?

    func href(_ name: String) -> CalendarHref { CalendarHref(calendar.href.text + name) }

    @discardableResult
    func add(_ name: String, _ event: TestEvent) async throws -> CalendarHref {
        let outcome = try await backend.put(event.octets, at: href(name), in: calendar, .create)
        if case .created(let chosen) = outcome { return chosen }
        try #require(outcome == .written)
        return href(name)
    }

    func read(_ href: CalendarHref) async throws -> CalendarObject {
        try #require(try await backend.object(href, in: calendar))
    }

    func changes(since token: SyncToken?) async throws -> CalendarChanges {
        let outcome = try await backend.changes(in: calendar, since: token)
        guard case .changes(let changes) = outcome else { throw TestPKI.Failure(what: "changes: \(outcome)") }
        return changes
    }
}

/// Real servers, reached by `CalDAVClient`.
enum CalDAVGround {
    struct Server: Sendable {
        let url: String
        /// What stands before it, and lives as long.
        var proxy: CalendarProxy?
        /// Of a user's calendars.
        let home: @Sendable (CalendarUser) -> String
    }

    static func radicale() async throws -> Server {
        let port = try await TestCalendarServer.radicale.value.port
        return Server(url: "http://127.0.0.1:\(port)") { "/\($0.id)/" }
    }

    /// Behind a proxy, for it takes no password by itself.
    static let xandikos = Task {
        let port = try await TestCalendarServer.xandikos.value.port
        let proxy = try await CalendarProxy(to: port, translatesUsers: true)
        return Server(url: proxy.url, proxy: proxy) { "/principals/\($0.id)/calendars/" }
    }

    static func settings(_ url: String) -> CalDAVSettings {
        CalDAVSettings(url: url) { user, origin in
            origin == url ? .basic(user: user.id, password: Redacted(user.id == "mallory" ? "x" : user.id + "pw")) : nil
        }
    }

    static func client(
        _ url: String, trust: TLSTrust? = nil, clock: any Clock<Duration> = ContinuousClock(),
        _ change: (inout CalDAVSettings) -> Void = { _ in }
    ) throws -> CalDAVClient {
        var settings = settings(url)
        settings.limits = HostGate.Limits(concurrent: 8, perSecond: 1_000_000)
        settings.timeout = .seconds(120)
        change(&settings)
        return try CalDAVClient(settings, client: WebClient(trust: trust), clock: clock)
    }

    static func calendar(
        of user: CalendarUser, on server: Server, _ client: CalDAVClient
    ) async throws -> CalendarReference {
        let name = "t-" + UUIDText.random()
        let href = CalendarHref(server.home(user) + name + "/")
        try await client.makeCalendar(name, at: href, for: user)
        return CalendarReference(user: user, href: href)
    }

    static func make(_ server: Server) async throws -> BackendGround {
        let client = try client(server.url)
        // Xandikos makes a user's home at the first question.
        _ = try await client.discover(BackendGround.alice)
        return BackendGround(
            backend: client, calendar: try await calendar(of: BackendGround.alice, on: server, client))
    }
}

/// A small meeting.
struct TestEvent {
    var uid = UUIDText.random() + "@example.com"
    var summary = "Planning"
    var start = "20270105T100000Z"
    var end = "20270105T110000Z"
    var more: [String] = []

    var octets: [UInt8] {
        let lines =
            [
                "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//example//test//EN", "BEGIN:VEVENT", "UID:\(uid)",
                "DTSTAMP:20260101T000000Z", "DTSTART:\(start)", "DTEND:\(end)", "SUMMARY:\(summary)",
            ] + more + ["END:VEVENT", "END:VCALENDAR", ""]
        return Array(lines.joined(separator: "\r\n").utf8)
    }
}

extension CalendarObject {
    /// For searching.
    var text: String { String(decoding: octets, as: UTF8.self).replacing("\r\n ", with: "").replacing("\n ", with: "") }
}

func interval(_ start: String, _ end: String) throws -> CalendarInterval {
    let from = try #require(Timestamp(calendarUTC: start))
    let until = try #require(Timestamp(calendarUTC: end))
    return try #require(CalendarInterval(from: from, until: until))
}

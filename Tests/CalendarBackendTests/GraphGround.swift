import CalendarBackend
import CalendarTransport
import Diagnostics
import GraphClient
import HTTPClient
import WireText

/// A fake Graph and a client of it.
struct GraphGround {
    let server: FakeGraph
    let client: GraphClient
    let calendar: CalendarReference

    /// - Parameter now: the clock of the window.
    init(
        clock: any Clock<Duration> = ContinuousClock(), _ change: (inout GraphSettings) -> Void = { _ in }
    ) async throws {
        server = try await FakeGraph()
        var settings = GraphSettings()
        settings.origin = server.origin
        settings.limits = HostGate.Limits(concurrent: 8, perSecond: 1_000_000)
        settings.timeout = .seconds(600)
        settings.now = { Timestamp(iso8601: "2026-12-20T00:00:00Z") ?? Timestamp(seconds: 0) }
        change(&settings)
        client = try GraphClient(
            settings, client: WebClient(trust: nil), tokens: GivenTokens { Redacted($0.id + "-token") }, clock: clock)
        let name = URLText.encoded(FakeGraph.calendar)
        calendar = CalendarReference(
            user: BackendGround.alice, href: CalendarHref("/users/alice%40example.com/calendars/\(name)/"))
    }

    func ground() -> BackendGround { BackendGround(backend: client, calendar: calendar, server: server) }
}

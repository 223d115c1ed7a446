import CalendarBackend
import CalendarTransport
import Diagnostics
import ExchangeClient
import HTTPClient

/// A fake Exchange and a client of it.
struct ExchangeGround {
    let server: FakeExchange
    let client: ExchangeClient
    let calendar: CalendarReference

    init(
        clock: any Clock<Duration> = ContinuousClock(), _ change: (inout ExchangeSettings) -> Void = { _ in }
    ) async throws {
        server = try await FakeExchange()
        var settings = ExchangeSettings(origin: server.origin)
        settings.scheme = "Basic"
        settings.limits = HostGate.Limits(concurrent: 8, perSecond: 1_000_000)
        settings.timeout = .seconds(600)
        change(&settings)
        client = try ExchangeClient(
            settings, client: WebClient(trust: nil), tokens: GivenTokens.basic { ($0.id, Redacted($0.id + "pw")) },
            clock: clock)
        calendar = CalendarReference(
            user: BackendGround.alice,
            href: CalendarHref("/users/alice%40example.com/folders/\(URLText.encoded(FakeExchange.folder))/"))
    }

    func ground() -> BackendGround { BackendGround(backend: client, calendar: calendar, server: server) }
}

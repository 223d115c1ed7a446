import CalendarBackend
import CalendarTransport
import Cryptography
import Diagnostics
import GoogleCalendarClient
import HTTPClient
import WireText

/// A fake Google Calendar and a client of it, with a service account.
struct GoogleGround {
    static let key = Result { try PrivateKey.generateRSA() }
    let server: FakeGoogle
    let client: GoogleCalendarClient
    let tokens: GrantedTokens
    let calendar: CalendarReference

    init(
        clock: any Clock<Duration> = ContinuousClock(), _ change: (inout GoogleCalendarSettings) -> Void = { _ in }
    ) async throws {
        let key = try Self.key.get()
        server = try await FakeGoogle(key: key.publicKey)
        var settings = GoogleCalendarSettings()
        settings.origin = server.origin
        settings.limits = HostGate.Limits(concurrent: 8, perSecond: 1_000_000)
        settings.timeout = .seconds(600)
        settings.now = { Timestamp(iso8601: "2026-12-20T00:00:00Z") ?? Timestamp(seconds: 0) }
        change(&settings)
        let account = GoogleServiceAccount(
            email: "connector@project.example.com", keyID: "k1", endpoint: server.origin + "/token", key: key)
        tokens = account.tokens(
            client: WebClient(trust: nil), clock: clock, timeout: .seconds(600),
            now: { Timestamp(seconds: 1_800_000_000) })
        client = try GoogleCalendarClient(settings, client: WebClient(trust: nil), tokens: tokens, clock: clock)
        calendar = CalendarReference(
            user: BackendGround.alice, href: CalendarHref("/calendars/\(URLText.encoded(FakeGoogle.calendar))/"))
    }

    func ground() -> BackendGround { BackendGround(backend: client, calendar: calendar, server: server) }
}

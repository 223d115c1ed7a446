package import CalendarTransport
package import WireText

/// How Microsoft Graph is reached.
package struct GraphSettings: Sendable {
    /// Host of a national cloud, where it is not the global one; for tests `http://127.0.0.1:port`.
    package var origin = "https://graph.microsoft.com"
    package var version = "/v1.0"
    package var limits = HostGate.Limits()
    package var timeout = Duration.seconds(60)
    /// Days before and behind today whose events are told by `changes`: Graph tells changes of a `calendarView` only.
    package var pastDays = 30
    package var futureDays = 400
    /// The window of a token reaches that much further, so that it is not laid anew each day.
    package var spareDays = 30
    package var mostPages = 1000
    /// The clock of the window.
    package var now: @Sendable () -> Timestamp = { Timestamp.now() }

    package init() {}
}

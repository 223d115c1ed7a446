import Diagnostics

/// What one user's calendars may hold and how long a round of them may take, so that a hostile or broken calendar costs its own
/// user's rounds and nobody else's.
struct UserBounds: Sendable {
    /// Calendars of one account.
    static let mostCalendars = 200

    let objects: Int
    let octets: Int
    let time: Duration

    init(_ section: RoundsSection) {
        (objects, octets, time) = (section.mostObjects, section.mostMebibytes << 20, section.longest)
    }

    init(objects: Int, octets: Int, time: Duration) { (self.objects, self.octets, self.time) = (objects, octets, time) }

    /// - Throws: `calendar-too-large`.
    func check(objects count: Int, octets size: Int = 0) throws(DiagnosedError) {
        guard count <= objects else {
            throw Self.exceeded(
                "the calendars hold too many events", expected: "at most \(objects)", found: "\(count)",
                setting: "rounds.most-objects")
        }
        guard size <= octets else {
            throw Self.exceeded(
                "the calendars are too large", expected: "at most \(octets >> 20) MiB", found: "\(size >> 20) MiB",
                setting: "rounds.most-mebibytes")
        }
    }

    func check(calendars count: Int) throws(DiagnosedError) {
        guard count <= Self.mostCalendars else {
            throw DiagnosedError(
                .calendarTooLarge, fault: .client, "the account has too many calendars",
                expected: "at most \(Self.mostCalendars)", found: "\(count)",
                hint: "have the user take calendars out that are not needed, or shares of others")
        }
    }

    var tookTooLong: DiagnosedError {
        Self.exceeded(
            "a round of the calendars takes too long", expected: "at most \(time)", found: "more",
            setting: "rounds.longest or the backend's per-second")
    }

    private static func exceeded(
        _ summary: String, expected: String, found: String, setting: String
    ) -> DiagnosedError {
        DiagnosedError(
            .calendarTooLarge, fault: .client, summary, expected: expected, found: found,
            hint: "have the user delete or archive old events, or raise \(setting) in hds-calendar.yaml")
    }
}

extension DiagnosedError.Code {
    static let calendarTooLarge: Self = "calendar-too-large"
}

package import CalendarBackend
import CalendarTime
import CalendarTransport
import CalendarTranslation
import WireText

extension GraphClient {
    /// `getSchedule`: at most 62 days are asked for at once, as the API allows.
    package func freeBusy(of calendar: CalendarReference, during time: CalendarInterval) async throws -> [BusyPeriod] {
        var periods: Set<BusyPeriod> = []
        var start = time.start
        while start < time.end {
            let end = min(time.end, start.adding(seconds: 42 * 86_400))
            let body: JSONValue = [
                "schedules": [.string(calendar.user.address)], "startTime": Self.time(start), "endTime": Self.time(end),
                "availabilityViewInterval": .integer(30),
            ]
            let answer = try await ask(
                "POST", userPath(calendar.user) + "/calendar/getSchedule", body, for: calendar.user)
            guard answer.status == 200 else { throw Self.failure(answer, about: "the user's schedule") }
            for schedule in answer.body["value"]?.list ?? [] {
                if let error = schedule["error"] {
                    throw CalendarError.violation(
                        "the user's schedule can not be told", expected: "a schedule",
                        found: error["responseCode"]?.text.map { String($0.prefix(60)) })
                }
                for item in schedule["scheduleItems"]?.list ?? [] {
                    if let period = try period(item), period.time.overlaps(time) { periods.insert(period) }
                }
            }
            start = end
        }
        return periods.sorted { ($0.time.start, $0.time.end) < ($1.time.start, $1.time.end) }
    }

    /// `automaticRepliesSetting`: a scheduled one is a VAVAILABILITY without a time in which the user is there.
    package func availability(of account: CalendarAccount) async throws -> [UInt8]? {
        let path = userPath(account.user) + "/mailboxSettings/automaticRepliesSetting"
        guard let setting = try await read(path, for: account.user, about: "the mailbox settings") else { return nil }
        switch setting["status"]?.text {
        case "scheduled":
            let start = try GraphEvent.moment(setting["scheduledStartDateTime"], false, nil, zones)
            let end = try GraphEvent.moment(setting["scheduledEndDateTime"], false, nil, zones)
            return AvailabilityText.away(uid: account.user.id, from: start, until: end)
        case "alwaysEnabled": return AvailabilityText.away(uid: account.user.id, from: nil, until: nil)
        default: return nil
        }
    }

    private static func time(_ stamp: Timestamp) -> JSONValue {
        ["dateTime": .string(String(stamp.iso8601.prefix(19))), "timeZone": "UTC"]
    }

    private func period(_ item: JSONValue) throws(CalendarError) -> BusyPeriod? {
        let start = try GraphEvent.moment(item["start"], false, nil, zones)
        let end = try GraphEvent.moment(item["end"], false, nil, zones)
        let kind: BusyPeriod.Kind
        switch item["status"]?.text {
        case "free", "workingElsewhere": return nil
        case "tentative": kind = .tentative
        case "oof": kind = .unavailable
        default: kind = .busy
        }
        return CalendarInterval(
            from: Timestamp(seconds: Int64(start.local.seconds)), until: Timestamp(seconds: Int64(end.local.seconds))
        ).map { BusyPeriod($0, kind) }
    }
}

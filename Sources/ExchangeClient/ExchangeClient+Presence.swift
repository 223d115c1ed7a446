package import CalendarBackend
import CalendarTime
import CalendarTransport
import CalendarTranslation
import CalendarXML
import WireText

extension ExchangeClient {
    /// GetUserAvailability, in parts of six weeks: the server takes no more than 62 days at once.
    package func freeBusy(of calendar: CalendarReference, during time: CalendarInterval) async throws -> [BusyPeriod] {
        var periods: Set<BusyPeriod> = []
        var start = time.start
        while start < time.end {
            let end = min(time.end, start.adding(seconds: 42 * 86_400))
            // In UTC: both halves of the year have the same offset.
            let half = "<t:Bias>0</t:Bias><t:Time>00:00:00</t:Time><t:DayOrder>1</t:DayOrder>"
            let body =
                "<m:GetUserAvailabilityRequest><t:TimeZone><t:Bias>0</t:Bias><t:StandardTime>\(half)<t:Month>10</t:Month>"
                + "<t:DayOfWeek>Sunday</t:DayOfWeek></t:StandardTime><t:DaylightTime>\(half)<t:Month>4</t:Month>"
                + "<t:DayOfWeek>Sunday</t:DayOfWeek></t:DaylightTime></t:TimeZone><m:MailboxDataArray><t:MailboxData>"
                + "<t:Email><t:Address>\(XMLText.escaped(calendar.user.address))</t:Address></t:Email>"
                + "<t:AttendeeType>Required</t:AttendeeType></t:MailboxData></m:MailboxDataArray><t:FreeBusyViewOptions>"
                + "<t:TimeWindow><t:StartTime>\(Self.text(start))</t:StartTime><t:EndTime>\(Self.text(end))</t:EndTime>"
                + "</t:TimeWindow><t:MergedFreeBusyIntervalInMinutes>30</t:MergedFreeBusyIntervalInMinutes>"
                + "<t:RequestedView>FreeBusy</t:RequestedView></t:FreeBusyViewOptions></m:GetUserAvailabilityRequest>"
            let answer = try await one(body, for: calendar.user)
            for response in answer.element.child("FreeBusyResponseArray")?.children ?? [] {
                let code = response.descend("ResponseMessage", "ResponseCode")?.text ?? ""
                guard code == "NoError" else { throw SOAP.failure(code, "the user's mailbox") }
                for event in response.descend("FreeBusyView", "CalendarEventArray")?.children ?? [] {
                    if let period = try Self.period(event), period.time.overlaps(time) { periods.insert(period) }
                }
            }
            start = end
        }
        return periods.sorted { ($0.time.start, $0.time.end) < ($1.time.start, $1.time.end) }
    }

    /// GetUserOofSettings: a scheduled absence is a VAVAILABILITY without a time in which the user is there.
    package func availability(of account: CalendarAccount) async throws -> [UInt8]? {
        let message = try await one(
            "<m:GetUserOofSettingsRequest><t:Mailbox><t:Address>\(XMLText.escaped(account.user.address))</t:Address>"
                + "</t:Mailbox></m:GetUserOofSettingsRequest>", for: account.user)
        guard message.isSuccess else { throw message.failure("the user's mailbox") }
        let settings = message.element.child("OofSettings")
        switch settings?.child("OofState")?.text {
        case "Scheduled":
            let start = try Self.moment(settings?.descend("Duration", "StartTime"))
            let end = try Self.moment(settings?.descend("Duration", "EndTime"))
            return AvailabilityText.away(uid: account.user.id, from: start, until: end)
        case "Enabled": return AvailabilityText.away(uid: account.user.id, from: nil, until: nil)
        default: return nil
        }
    }

    /// Without a zone: that of the request, or UTC.
    private static func stamp(_ element: XMLElement?) throws(CalendarError) -> Timestamp {
        guard let text = element?.text,
            let stamp = Timestamp(iso8601: text) ?? Timestamp(iso8601: text + "Z")
        else { throw .violation("a time can not be read", expected: "a dateTime") }
        return stamp
    }

    private static func moment(_ element: XMLElement?) throws(CalendarError) -> CalendarMoment {
        .utc(LocalTime(seconds: Int(try stamp(element).seconds)))
    }

    private static func period(_ event: XMLElement) throws(CalendarError) -> BusyPeriod? {
        let start = try stamp(event.child("StartTime"))
        let end = try stamp(event.child("EndTime"))
        let kind: BusyPeriod.Kind
        switch event.child("BusyType")?.text {
        case "Free", "WorkingElsewhere": return nil
        case "Tentative": kind = .tentative
        case "OOF": kind = .unavailable
        default: kind = .busy
        }
        return CalendarInterval(from: start, until: end).map { BusyPeriod($0, kind) }
    }

    private static func text(_ stamp: Timestamp) -> String { String(stamp.iso8601.prefix(19)) }
}

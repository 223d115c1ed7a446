import CalendarProtocol
import CalendarSync
import CalendarTime
import Cryptography
import ICalendar
import KMSClient
import SecretMemory
import WireText

/// Meetings as the core may have them: texts sealed under the key of the series, the UID as a keyed digest.
///
/// Any thread; nothing is asked of anybody.
struct MeetingSealer: Sendable {
    let users: UserList
    /// For digests that nobody else can make.
    let digestKey: SymmetricKey

    func record(
        _ meeting: Meeting, of userID: String, revision: Int64, keyURI: String, key: SymmetricKey, spaceID: String?,
        joinURL: String?
    ) throws -> MeetingRecord {
        var record = MeetingRecord(
            id: meeting.id, userID: userID, seriesID: meeting.seriesID, icalUID: digest(meeting.icalUID),
            recurrenceID: meeting.recurrenceID, revision: revision,
            start: Timestamp(seconds: Int64(meeting.start.seconds)),
            startTimeZone: meeting.startTimeZone.flatMap(Self.plainZone),
            durationMinutes: meeting.durationMinutes, keyURI: keyURI)
        record.isAllDay = meeting.isAllDay
        record.isRecurring = meeting.isRecurring
        record.isOrganizer = meeting.isOrganizer
        record.status =
            switch meeting.status {
            case .confirmed: .confirmed
            case .tentative: .tentative
            case .cancelled: .cancelled
            }
        record.sensitivity =
            switch meeting.sensitivity {
            case .normal: .normal
            case .personal: .personal
            case .confidential: .confidential
            }
        record.busy =
            switch meeting.busy {
            case .free: .free
            case .tentative: .tentative
            case .busy: .busy
            case .outOfOffice: .outOfOffice
            case .elsewhere: .elsewhere
            }
        func sealed(_ text: String?, most: Int = Self.mostText) throws -> EncryptedText? {
            try text.map { try EncryptedText(encrypting: Self.cut($0, to: most), under: key) }
        }
        record.subject = try sealed(meeting.subject, most: Self.mostLine)
        record.location = try sealed(meeting.location, most: Self.mostLine)
        record.notes = try sealed(meeting.notes)
        let people = meeting.participants.map { person in
            MeetingPerson(
                address: person.address.text, name: person.name, userID: users.id(of: person.address.text),
                answer: person.answer.rawValue, isRequired: person.isRequired, isResource: person.isResource)
        }
        if let organizer = meeting.organizer {
            let person = MeetingPerson(
                address: organizer.text, userID: users.id(of: organizer.text), answer: "accepted")
            record.organizer = try sealed(Self.json(person))
        }
        if !people.isEmpty { record.participants = try sealed(Self.fitting(people)) }
        let others = Set(people.filter { !$0.isResource }.compactMap(\.userID)).subtracting([userID])
        record.participantIDs = Array(others.sorted().prefix(Self.mostIDs))
        if let trigger = meeting.trigger {
            let action: MeetingRecord.Trigger.Action =
                switch trigger.action {
                case .space: .space
                case .personalRoom: .personalRoom
                case .givenAddress: .address
                }
            record.trigger = .init(trigger.kind == .keyword ? .keyword : .address, action)
        }
        record.spaceID = spaceID
        record.hasJoinDetails = meeting.writtenRevision != nil
        if let joinURL { record.joinInfo = try .init(uri: nil, url: EncryptedText(encrypting: joinURL, under: key)) }
        return record
    }

    /// So many users of the organisation the core takes for a meeting; all stand in the sealed list.
    private static let mostIDs = 1000

    /// The name of a zone that everybody knows. Any other is a text of the calendar, and texts go nowhere in clear.
    private static func plainZone(_ name: String) -> String? {
        let isPlain = name.utf8.count <= 64 && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
        return isPlain && ZoneCatalogue.system.rules(named: name) != nil ? name : nil
    }

    func digest(_ uid: String) -> String {
        Base64URL.encode(HMACSHA256.code(for: Array("hds calendar uid\0\(uid)".utf8), key: digestKey))
    }

    private static func json(_ person: MeetingPerson) -> String {
        var json = JSONWriter()
        person.write(to: &json)
        return json.text()
    }

    /// As many of them as a sealed text may hold.
    private static func fitting(_ people: [MeetingPerson]) -> String {
        var people = people[...]
        while true {
            let text = MeetingPerson.text(Array(people))
            if text.utf8.count <= mostText { return text }
            people = people.prefix(people.count / 2)
        }
    }

    /// What a call to the core may hold is shared by all texts of a meeting.
    private static let mostText = 48 << 10

    private static let mostLine = 8 << 10

    private static func cut(_ text: String, to most: Int) -> String {
        guard text.utf8.count > most else { return text }
        var cut = Substring(text)
        while cut.utf8.count > most - 4 { cut = cut.dropLast(max(1, (cut.utf8.count - most) / 4)) }
        return cut + "…"
    }
}

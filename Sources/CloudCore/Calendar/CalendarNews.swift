import WireText

/// A meeting of one user as the core keeps it: what it orders by in clear, all texts encrypted and opaque.
struct MeetingRecord: Equatable, Sendable {
    var user: String
    var id: String
    var series: String
    /// Raised by the connector; an older one changes nothing.
    var revision: Int64
    var start: Timestamp
    var end: Timestamp
    /// The conversation that belongs to it: what its user has said, else what the connector found in the calendar.
    var space: String?
    /// The object that clients get, without `spaceId`, rebuilt from the members that are known.
    var json: String

    /// The object with its space.
    var object: String {
        guard let space else { return json }
        return json.dropLast() + ",\"spaceId\":\"\(space)\"}"
    }
}

/// One thing that a calendar connector tells of a user (docs/link-protocol.md, Calendars).
///
/// Reading is where everything is checked: what has no form of its own is refused, texts have to be encrypted, keys are those
/// of the organisation's own KMS, and members that are not known are left out, so that nothing in clear gets through.
enum CalendarNews: Equatable, Sendable {
    case meeting(MeetingRecord)
    case deleted(user: String, meeting: String, revision: Int64, reason: String)
    /// `json` is what others see of it; nil: none any more.
    case absence(user: String, json: String?)
    case status(user: String, ConnectorStatus)
    /// A meeting begins soon. It is pushed and not kept.
    case reminder(user: String, meeting: String, start: Timestamp)

    struct ConnectorStatus: Equatable, Sendable {
        var state: String
        /// What is the matter, for programs; nil: nothing is.
        var code: String?
        var since: Timestamp
        var calendarKeyURL: String?
    }

    static let maximumMeetingBytes = 200 << 10
    static let maximumParticipants = 1_000
    static let reasons: Set = ["cancelled", "declined", "removed", "left-window"]
    /// The word of a user who is served no more: what was kept of the calendar goes.
    static let off = "off"
    static let states: Set = ["ok", "pending", "error", off]

    /// - Parameter cluster: the KMS of the organisation; keys of others are refused.
    init(_ node: JSONNode, cluster: String) throws(Refusal) {
        let root = RequestJSON(node)
        switch try root.text("type") {
        case "calendar.meeting.created", "calendar.meeting.updated":
            self = .meeting(try Self.meeting(root.object("meeting"), cluster))
        case "calendar.meeting.deleted":
            self = .deleted(
                user: try root.uuid("userId"), meeting: try root.name("meetingId"),
                revision: try root.number("revision"), reason: try root.one(of: Self.reasons, "reason"))
        case "presence.outOfOffice":
            self = .absence(user: try root.uuid("userId"), json: try Self.absence(root, cluster))
        case "calendar.reminder":
            self = .reminder(
                user: try root.uuid("userId"), meeting: try root.name("meetingId"), start: try root.time("start"))
        case "connector.user.status":
            self = .status(
                user: try root.uuid("userId"),
                ConnectorStatus(
                    state: try root.one(of: Self.states, "state"), code: try root.optionalWord("code"),
                    since: try root.time("since"), calendarKeyURL: try root.optionalKey("calendarKeyUrl", cluster)))
        default: throw Refusal(.badRequest, "type is not known: expected one of docs/link-protocol.md, Calendars")
        }
    }

    private static func absence(_ root: RequestJSON, _ cluster: String) throws(Refusal) -> String? {
        if root.root["from"]?.isNull != false, root.root["to"]?.isNull != false { return nil }
        let from = try root.time("from")
        let to = try root.time("to")
        guard from < to else { throw Refusal(.badRequest, "to is not after from") }
        var json = JSONWriter()
        json.beginObject()
        json.member("from", from.iso8601)
        json.member("to", to.iso8601)
        if let text = try root.optionalContent("encryptedText", maximum: 64 << 10) {
            json.member("encryptedText", text)
            guard let key = try root.optionalKey("encryptionKeyUrl", cluster) else {
                throw Refusal(.badRequest, "encryptionKeyUrl is missing: expected the key of encryptedText")
            }
            json.member("encryptionKeyUrl", key)
        }
        json.endObject()
        return json.text()
    }

    private static func meeting(_ root: RequestJSON, _ cluster: String) throws(Refusal) -> MeetingRecord {
        let minutes = try root.number("durationMinutes", in: 0...maximumMinutes)
        let start = try root.time("start")
        var record = MeetingRecord(
            user: try root.uuid("userId"), id: try root.name("id"), series: try root.name("seriesId"),
            revision: try root.number("revision"), start: start, end: start.adding(seconds: minutes * 60), space: nil,
            json: "")
        if root.root["spaceId"]?.isNull == false { record.space = try root.uuid("spaceId") }
        var json = JSONWriter(reserving: 4096)
        json.beginObject()
        json.member("id", record.id)
        json.member("userId", record.user)
        json.member("seriesId", record.series)
        json.member("icalUid", try root.name("icalUid"))
        json.member("recurrenceId", ifPresent: try root.optionalPlain("recurrenceId"))
        json.member("revision", record.revision)
        json.member("start", start.iso8601)
        json.member("startTimeZone", ifPresent: try root.optionalPlain("startTimeZone"))
        json.member("durationMinutes", minutes)
        for name in ["allDay", "isRecurring"] { json.member(name, try root.flag(name)) }
        for name in ["status", "sensitivity"] { json.member(name, try root.word(name)) }
        if let flag = root.root["busy"]?.boolean {
            json.member("busy", flag)
        } else {
            json.member("busy", try root.word("busy"))
        }
        json.member("isOrganizer", try root.flag("isOrganizer"))
        guard let key = try root.optionalKey("encryptionKeyUrl", cluster) else {
            throw Refusal(.badRequest, "encryptionKeyUrl is missing: expected \(cluster)/keys/UUID")
        }
        json.member("encryptionKeyUrl", key)
        for name in [
            "encryptedSubject", "encryptedLocation", "encryptedNotes", "encryptedOrganizer", "encryptedParticipants",
        ] {
            json.member(name, ifPresent: try root.optionalContent(name, maximum: maximumMeetingBytes))
        }
        try write(participantsAndJoining: root, to: &json)
        json.member("hasJoinDetails", try root.flag("hasJoinDetails"))
        json.endObject()
        guard json.count <= maximumMeetingBytes else {
            throw Refusal(.tooLarge, "a meeting is longer than \(maximumMeetingBytes) octets")
        }
        record.json = json.text()
        return record
    }

    /// Ten years.
    private static let maximumMinutes: Int64 = 3_653 * 1_440

    private static func write(
        participantsAndJoining root: RequestJSON, to json: inout JSONWriter
    ) throws(Refusal) {
        if root.root["participantIds"]?.isNull == false {
            let ids = try root.texts("participantIds", maximumCount: maximumParticipants, maximum: 36)
            guard ids.allSatisfy({ UUIDText.isValid($0) }) else {
                throw Refusal(.badRequest, "participantIds is malformed: expected user ids")
            }
            json.member("participantIds", ids.map { $0.lowercased() })
        }
        if root.root["meetingJoinInfo"]?.isNull == false {
            let info = try root.object("meetingJoinInfo")
            json.name("meetingJoinInfo")
            json.beginObject()
            for name in ["meetingJoinURI", "meetingJoinURL"] {
                json.member(name, ifPresent: try info.optionalContent(name, maximum: 16 << 10))
            }
            json.endObject()
        }
        if root.root["trigger"]?.isNull == false {
            let trigger = try root.object("trigger")
            json.name("trigger")
            json.beginObject()
            json.member("kind", try trigger.one(of: ["keyword", "address"], "kind"))
            json.member("action", try trigger.one(of: ["space", "personalRoom", "address"], "action"))
            json.endObject()
        }
    }
}

// Members that only calendars have.
extension RequestJSON {
    /// An id of a connector's making: it stands in URLs, so only what is unreserved there (RFC 3986, section 2.3), and `:=@+`.
    /// Not `.` or `..`, which lead elsewhere, nor a word that has a route of its own.
    static func isName(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count) && ![".", "..", "personal-room"].contains(text)
            && text.utf8.allSatisfy { octet in
                switch octet {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: "-._~:=@+".utf8.contains(octet)
                }
            }
    }

    fileprivate func name(_ name: String) throws(Refusal) -> String {
        guard let text = root[name]?.string, Self.isName(text) else {
            throw Refusal(
                .badRequest, "\(name) is missing or malformed: expected 1 to 128 of A-Z a-z 0-9 - . _ ~ : = @ +")
        }
        return text
    }

    /// A word of a protocol, not of a person.
    fileprivate func word(_ name: String) throws(Refusal) -> String {
        guard let text = root[name]?.string, text.utf8.count <= 64, Self.isName(text) else {
            throw Refusal(.badRequest, "\(name) is missing or malformed: expected a word of at most 64 characters")
        }
        return text
    }

    fileprivate func optionalWord(_ name: String) throws(Refusal) -> String? {
        root[name]?.isNull == false ? try word(name) : nil
    }

    /// A zone or a time as the calendar writes it.
    fileprivate func optionalPlain(_ name: String) throws(Refusal) -> String? {
        guard let text = try optionalText(name, maximum: 128) else { return nil }
        guard text.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
            throw Refusal(.badRequest, "\(name) is malformed: expected printable ASCII")
        }
        return text
    }

    fileprivate func one(of words: Set<String>, _ name: String) throws(Refusal) -> String {
        guard let text = root[name]?.string, words.contains(text) else {
            throw Refusal(
                .badRequest, "\(name) is missing or not known: expected \(words.sorted().joined(separator: ", "))")
        }
        return text
    }

    fileprivate func number(
        _ name: String, in range: ClosedRange<Int64> = 0...Int64.max
    ) throws(Refusal) -> Int64 {
        guard let number = root[name]?.integer, range.contains(number) else {
            throw Refusal(
                .badRequest, "\(name) is missing or out of bounds: expected \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    fileprivate func flag(_ name: String) throws(Refusal) -> Bool {
        guard let flag = root[name]?.boolean else {
            throw Refusal(.badRequest, "\(name) is missing or malformed: expected true or false")
        }
        return flag
    }

    fileprivate func time(_ name: String) throws(Refusal) -> Timestamp {
        guard let text = root[name]?.string, text.utf8.count <= 40, let time = Timestamp(iso8601: text) else {
            throw Refusal(.badRequest, "\(name) is missing or malformed: expected YYYY-MM-DDTHH:MM:SSZ")
        }
        return time
    }

    fileprivate func optionalKey(_ name: String, _ cluster: String) throws(Refusal) -> String? {
        guard let node = root[name], !node.isNull else { return nil }
        guard let text = node.string, OpaqueText.isKMSURI(text, collection: "keys", host: cluster) else {
            throw Refusal(.badRequest, "\(name) is malformed: expected \(cluster)/keys/UUID")
        }
        return text
    }
}

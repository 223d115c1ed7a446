package import Diagnostics
import KMSClient
package import WireText

extension DiagnosedError.Code {
    /// What came as a meeting, a command or an answer of calendars has not its form.
    package static let calendarWire: Self = "calendar-wire"
}

extension MeetingRecord {
    /// A whole object.
    package func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("id", id)
        json.member("userId", userID)
        json.member("seriesId", seriesID)
        json.member("icalUid", icalUID)
        json.member("recurrenceId", ifPresent: recurrenceID)
        json.member("revision", revision)
        json.member("start", start.iso8601)
        json.member("startTimeZone", ifPresent: startTimeZone)
        json.member("durationMinutes", durationMinutes)
        json.member("allDay", isAllDay)
        json.member("isRecurring", isRecurring)
        json.member("status", status.rawValue)
        json.member("sensitivity", sensitivity.rawValue)
        json.member("busy", busy.rawValue)
        json.member("isOrganizer", isOrganizer)
        json.member("encryptionKeyUrl", keyURI)
        json.member("encryptedSubject", ifPresent: subject?.jwe)
        json.member("encryptedLocation", ifPresent: location?.jwe)
        json.member("encryptedNotes", ifPresent: notes?.jwe)
        json.member("encryptedOrganizer", ifPresent: organizer?.jwe)
        json.member("encryptedParticipants", ifPresent: participants?.jwe)
        json.member("participantIds", participantIDs)
        if let joinInfo {
            json.name("meetingJoinInfo")
            json.beginObject()
            json.member("meetingJoinURI", ifPresent: joinInfo.uri?.jwe)
            json.member("meetingJoinURL", joinInfo.url.jwe)
            json.endObject()
        }
        if let trigger {
            json.name("trigger")
            json.beginObject()
            json.member("kind", trigger.kind.rawValue)
            json.member("action", trigger.action.rawValue)
            json.endObject()
        }
        json.member("spaceId", ifPresent: spaceID)
        json.member("hasJoinDetails", hasJoinDetails)
        json.endObject()
    }

    /// - Throws: `calendar-wire`, naming the member that has not its form.
    package init(from node: JSONNode) throws(DiagnosedError) {
        func text(_ name: String) throws(DiagnosedError) -> String {
            guard let text = node[name]?.string, !text.isEmpty else { throw .meeting(name) }
            return text
        }
        func sealed(_ name: String, in node: JSONNode) -> EncryptedText? {
            node[name]?.string.map { EncryptedText(received: $0) }
        }
        guard let revision = node["revision"]?.integer, revision >= 0 else { throw .meeting("revision") }
        guard let start = Timestamp(iso8601: try text("start")) else { throw .meeting("start") }
        guard let minutes = node["durationMinutes"]?.integer, (0...100_000_000).contains(minutes) else {
            throw .meeting("durationMinutes")
        }
        self.init(
            id: try text("id"), userID: try text("userId"), seriesID: try text("seriesId"),
            icalUID: try text("icalUid"), recurrenceID: node["recurrenceId"]?.string, revision: revision, start: start,
            startTimeZone: node["startTimeZone"]?.string, durationMinutes: Int(minutes),
            keyURI: try text("encryptionKeyUrl"))
        guard let status = Status(rawValue: try text("status")) else { throw .meeting("status") }
        guard let sensitivity = Sensitivity(rawValue: try text("sensitivity")) else { throw .meeting("sensitivity") }
        guard let busy = Busy(rawValue: try text("busy")) else { throw .meeting("busy") }
        (self.status, self.sensitivity, self.busy) = (status, sensitivity, busy)
        isAllDay = node["allDay"]?.boolean ?? false
        isRecurring = node["isRecurring"]?.boolean ?? false
        isOrganizer = node["isOrganizer"]?.boolean ?? false
        hasJoinDetails = node["hasJoinDetails"]?.boolean ?? false
        subject = sealed("encryptedSubject", in: node)
        location = sealed("encryptedLocation", in: node)
        notes = sealed("encryptedNotes", in: node)
        organizer = sealed("encryptedOrganizer", in: node)
        participants = sealed("encryptedParticipants", in: node)
        participantIDs = node["participantIds"]?.strings ?? []
        if let info = node["meetingJoinInfo"], let url = sealed("meetingJoinURL", in: info) {
            joinInfo = JoinInfo(uri: sealed("meetingJoinURI", in: info), url: url)
        }
        if let asked = node["trigger"], !asked.isNull {
            guard let kind = asked["kind"]?.string.flatMap(Trigger.Kind.init),
                let action = asked["action"]?.string.flatMap(Trigger.Action.init)
            else { throw .meeting("trigger") }
            trigger = Trigger(kind, action)
        }
        spaceID = node["spaceId"]?.string
    }
}

extension DiagnosedError {
    static func meeting(_ member: String) -> DiagnosedError {
        DiagnosedError(
            .calendarWire, fault: .peer, "what came as a meeting has not its form", expected: "a member '\(member)'")
    }
}

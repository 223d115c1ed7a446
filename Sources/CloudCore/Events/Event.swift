import WireText

/// One event for a device, as the JSON object of section 9 of the KMS protocol without its last brace: the number of
/// the frame is added by the socket it goes out on.
struct Event: Sendable, Equatable {
    let id: String
    let opened: String

    /// A wrapped string for the device that asked; one string per event, for some clients read only the first.
    static func kmsMessage(_ text: String, wall: Timestamp) -> Event {
        Event("encryption.kms_message", wall: wall) { data in
            data.name("encryption")
            data.beginObject()
            data.member("kmsMessages", [text])
            data.endObject()
        }
    }

    /// A stored activity; `json` is its object.
    static func activity(_ json: String, wall: Timestamp) -> Event {
        Event("conversation.activity", wall: wall) { data in
            data.name("activity")
            data.raw(json)
        }
    }

    /// A meeting of the device's user; `json` is its object.
    static func meeting(_ what: String, _ json: String, wall: Timestamp) -> Event {
        Event("calendar.meeting." + what, wall: wall) { data in
            data.name("meeting")
            data.raw(json)
        }
    }

    static func meetingDeleted(_ id: String, reason: String, wall: Timestamp) -> Event {
        Event("calendar.meeting.delete", wall: wall) { data in
            data.member("meetingId", id)
            data.member("reason", reason)
        }
    }

    static func reminder(of meeting: String, start: Timestamp, wall: Timestamp) -> Event {
        Event("calendar.reminder", wall: wall) { data in
            data.member("meetingId", meeting)
            data.member("start", start.iso8601)
        }
    }

    /// `json` is the absence, nil when there is none any more.
    static func absence(_ json: String?, of user: String, wall: Timestamp) -> Event {
        Event("presence.outOfOffice", wall: wall) { data in
            data.member("userId", user)
            data.name("outOfOffice")
            if let json { data.raw(json) } else { data.null() }
        }
    }

    static func connectorStatus(_ status: CalendarNews.ConnectorStatus, wall: Timestamp) -> Event {
        Event("connector.user.status", wall: wall) { status.write(to: &$0) }
    }

    /// The user's own authorization service has an order for the user's clients.
    static func wipe(wall: Timestamp) -> Event { Event("client.wipe", wall: wall) { _ in } }

    private init(_ type: String, wall: Timestamp, data: (inout JSONWriter) -> Void) {
        id = UUIDText.random()
        var json = JSONWriter(reserving: 1024)
        json.beginObject()
        json.member("id", id)
        json.name("data")
        json.beginObject()
        json.member("eventType", type)
        data(&json)
        json.endObject()
        json.member("timestamp", wall.milliseconds)
        json.member("trackingId", "core_\(UUIDText.random())")
        opened = json.text()
    }
}

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

import Diagnostics
import WireText

/// What the core pushes to a device (protocol, section 9).
package enum CloudEvent: Sendable {
    /// Wrapped strings of the KMS for this device.
    case kmsMessages([String])
    case activity(Activity)
    /// Something of the user's meetings has changed.
    case calendar
    /// A meeting of the user begins soon.
    case reminder(meeting: String)
    /// The authorization service has an order for this client.
    case wipe
    /// Another kind of event; nothing to do.
    case other
}

/// Frames of the event socket, read and written.
enum EventFrame {
    case event(id: String, type: String, CloudEvent)
    case pong(id: String)
    /// A frame with nothing to do but to acknowledge it, when it has an id.
    case unknown(id: String?)

    static let maximumBytes = 2 << 20

    init(_ text: String) throws(DiagnosedError) {
        let root = try JSONDocument(
            text: text, limits: .init(maximumDepth: 14, maximumNodes: 20_000, maximumBytes: Self.maximumBytes)
        ).root
        let id = root["id"]?.string
        if root["type"]?.string == "pong" {
            self = .pong(id: id ?? "")
            return
        }
        guard let id, let data = root["data"], let type = data["eventType"]?.string else {
            self = .unknown(id: id)
            return
        }
        switch type {
        case "encryption.kms_message":
            let messages = data["encryption"]?["kmsMessages"]
            self = .event(id: id, type: type, .kmsMessages(messages?.strings ?? messages?.string.map { [$0] } ?? []))
        case "conversation.activity":
            self = .event(id: id, type: type, data["activity"].flatMap { Activity($0) }.map { .activity($0) } ?? .other)
        case "calendar.meeting.create", "calendar.meeting.update", "calendar.meeting.delete", "connector.user.status":
            self = .event(id: id, type: type, .calendar)
        case "client.wipe": self = .event(id: id, type: type, .wipe)
        case "calendar.reminder":
            self = .event(
                id: id, type: type,
                data["meetingId"]?.string.flatMap { Meetings.isName($0) ? .reminder(meeting: $0) : nil } ?? .other)
        default:
            self = .event(id: id, type: type, .other)
        }
    }

    static func authorization(token: Redacted<String>) -> String {
        var json = JSONWriter()
        json.beginObject()
        json.member("id", UUIDText.random())
        json.member("type", "authorization")
        json.name("data")
        json.beginObject()
        token.reveal { json.member("token", "Bearer " + $0) }
        json.endObject()
        json.member("trackingId", "hds_" + UUIDText.random())
        json.endObject()
        return json.text()
    }

    static func acknowledgement(of id: String) -> String {
        var json = JSONWriter(reserving: 128)
        json.beginObject()
        json.member("messageId", id)
        json.member("type", "ack")
        json.endObject()
        return json.text()
    }

    static func ping(id: String) -> String {
        var json = JSONWriter(reserving: 128)
        json.beginObject()
        json.member("id", id)
        json.member("type", "ping")
        json.endObject()
        return json.text()
    }
}

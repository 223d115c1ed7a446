import CalendarProtocol
import Diagnostics
import HTTPClient
import KMSClient
import WireText

// Meetings, rooms, presence and sealed commands (docs/core-api.md, Calendars).
extension CloudService {
    private func base(_ url: String?) throws -> String {
        guard let url else {
            throw DiagnosedError(.cloudAnswer, fault: .peer, "this core has no calendars")
        }
        return url
    }

    func calendarStatus() async throws -> CalendarStatus {
        let root: JSONNode
        do {
            root = try await object(WebRequest(url: base(bootstrap.calendar)), "tell of your calendar")
        } catch let error as DiagnosedError where error.code == .cloudNotFound {
            throw DiagnosedError(
                .calendarNotReady, fault: .client, "no calendar connector looks after your calendar",
                hint: "your administrator enters you there; the first reading takes a few minutes")
        }
        guard let state = root["state"]?.string, let since = root["since"]?.string.flatMap({ Timestamp(iso8601: $0) })
        else { throw CloudError.malformed("state and since") }
        return CalendarStatus(
            state: state, code: root["code"]?.string, since: since, keyURI: root["calendarKeyUrl"]?.string)
    }

    func meetings(from: Timestamp, to: Timestamp) async throws -> (items: [MeetingRecord], more: Bool) {
        let url = try base(bootstrap.meetings) + "?from=\(from.iso8601)&to=\(to.iso8601)&limit=500"
        let root = try await object(WebRequest(url: url, maximumResponseBytes: 16 << 20), "list your meetings")
        guard let items = root["items"]?.elements else { throw CloudError.malformed("items") }
        // What a newer release writes and this one can not read is left out.
        return (items.compactMap { try? MeetingRecord(from: $0) }, root["more"]?.boolean ?? false)
    }

    func meeting(_ id: String) async throws -> MeetingRecord {
        try MeetingRecord(
            from: await object(WebRequest(url: base(bootstrap.meetings) + "/" + id), "find the meeting"))
    }

    /// A place to meet. The core's word: the URL is held against the client's list of hosts.
    struct Room: Sendable {
        let url: String
        let sip: String?
        let phone: String?
        let pin: String?
    }

    func room(forMeeting id: String) async throws -> Room {
        try Self.room(
            await object(
                WebRequest(method: "POST", url: base(bootstrap.meetings) + "/\(id)/room"), "give a room for the meeting"
            ))
    }

    func personalRoom() async throws -> Room {
        try Self.room(await object(WebRequest(url: base(bootstrap.meetings) + "/personal-room"), "give your room"))
    }

    private static func room(_ root: JSONNode) throws -> Room {
        func plain(_ name: String) throws -> String? {
            guard let text = root[name]?.string else { return nil }
            guard text.utf8.count <= 128, text.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
                throw CloudError.malformed("\(name): at most 128 printable characters")
            }
            return text
        }
        guard let url = root["url"]?.string, url.utf8.count <= 1024 else { throw CloudError.malformed("url of a room") }
        let room = Room(url: url, sip: try plain("sip"), phone: try plain("phone"), pin: try plain("pin"))
        // Both stand in an invitation as text: an address among them would be a link to wherever the core wants.
        guard room.phone.map(CalendarCommand.Join.isPhone) ?? true, room.pin.map(CalendarCommand.Join.isPIN) ?? true
        else {
            throw CloudError.malformed("phone and pin of a room: digits")
        }
        return room
    }

    func setSpace(_ space: String, ofMeeting id: String) async throws {
        var json = JSONWriter()
        json.beginObject()
        json.member("spaceId", space)
        json.endObject()
        var request = post("/\(id)/space", at: try base(bootstrap.meetings), json)
        request.method = "PUT"
        _ = try await call(request, "note the space of the meeting")
    }

    /// The connector's sealed answer.
    func calendarCommand(_ command: EncryptedText, keyURI: String) async throws -> EncryptedText {
        var json = JSONWriter(reserving: 4096)
        json.beginObject()
        json.member("encryptionKeyUrl", keyURI)
        json.member("message", command.jwe)
        json.endObject()
        let root = try await object(
            post("/commands", at: base(bootstrap.calendar), json, timeout: .seconds(40)), "have the calendar changed")
        guard let message = root["message"]?.string else { throw CloudError.malformed("message") }
        return EncryptedText(received: message)
    }

    func absence(
        of person: String
    ) async throws -> (from: Timestamp, to: Timestamp, text: EncryptedText?, keyURI: String?)? {
        let root = try await object(
            WebRequest(url: base(bootstrap.presence) + "/" + person), "tell whether this person is away")
        guard let told = root["outOfOffice"], !told.isNull else { return nil }
        guard let from = told["from"]?.string.flatMap({ Timestamp(iso8601: $0) }),
            let to = told["to"]?.string.flatMap({ Timestamp(iso8601: $0) })
        else { throw CloudError.malformed("from and to of an absence") }
        return (
            from, to, told["encryptedText"]?.string.map { EncryptedText(received: $0) },
            told["encryptionKeyUrl"]?.string
        )
    }
}

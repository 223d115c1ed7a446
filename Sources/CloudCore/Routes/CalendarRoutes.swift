import Cryptography
import HTTPTypes
import Hummingbird
import WireText

/// A user's meetings, where they are met, presence, and sealed commands to the calendar connector of the organisation
/// (docs/core-api.md, Calendars).
///
/// The core reads times and ids and no text. It can neither read nor make a command: what is to be done, and for whom, stands
/// inside the sealed text, and the connector goes by that alone.
struct CalendarRoutes {
    let services: CoreServices
    static let maximumCommandBytes = 96 << 10
    static let maximumPage = 4 << 20
    private static let day: Int64 = 86_400

    func add(to router: some RouterMethods<CoreRequestContext>) {
        router.get("calendar") { _, context -> Response in
            guard let status = try await services.store.calendarStatus(of: context.user()) else {
                throw Refusal(.notFound, "no calendar connector has told of you yet")
            }
            return .json { status.write(to: &$0) }
        }
        router.get("meetings") { request, context -> Response in try await list(request, context.user()) }
        router.get("meetings/personal-room") { _, context -> Response in
            let room = try await services.store.personalRoom(
                of: context.user(), proposing: Self.newRoom(), now: services.wall())
            return answer(.ok, room)
        }
        router.get("meetings/:id") { _, context -> Response in
            .json(.ok, try await services.store.meeting(context.meetingID(), of: context.user()).object)
        }
        router.post("meetings/:id/room") { _, context -> Response in
            let (room, isNew) = try await services.store.room(
                forMeeting: context.meetingID(), of: context.user(), proposing: Self.newRoom(), now: services.wall())
            return answer(isNew ? .created : .ok, room)
        }
        router.put("meetings/:id/space") { request, context -> Response in
            let user = try context.user()
            let space = try await RequestJSON(request).uuid("spaceId")
            let changed = try await services.store.setSpace(
                space, ofMeeting: context.meetingID(), by: user, now: services.wall())
            if let changed { services.calendar.push(.updated(user, meeting: changed.object)) }
            return Response(status: .noContent)
        }
        router.post("calendar/commands") { request, context -> Response in try await command(request, context.user()) }
        router.get("presence/:user") { _, context -> Response in
            let user = UserKey(organisation: try context.user().organisation, user: try context.id("user"))
            guard try await services.store.isOfOrganisation(user) else {
                throw Refusal(.notFound, "nobody of that id is known in your organisation")
            }
            let absence = try await services.store.absence(of: user)
            return .json { json in
                json.name("outOfOffice")
                if let absence { json.raw(absence) } else { json.null() }
            }
        }
    }

    private func list(_ request: Request, _ user: UserKey) async throws -> Response {
        let query = request.uri.queryParameters
        let now = services.wall()
        let from = try Self.time(query["from"], "from") ?? now.adding(seconds: -Self.day)
        let to = try Self.time(query["to"], "to") ?? now.adding(seconds: 7 * Self.day)
        var limit = 500
        if let text = query["limit"] {
            guard let number = Int(text), (1...1000).contains(number) else {
                throw Refusal(.badRequest, "limit is out of bounds: expected 1 to 1000")
            }
            limit = number
        }
        let page = try await services.store.meetings(
            of: user, from: from, to: to, limit: limit, octets: Self.maximumPage)
        return .json { json in
            json.name("items")
            json.beginArray()
            for item in page.items { json.raw(item.object) }
            json.endArray()
            json.member("more", page.more)
        }
    }

    private static func time(_ text: Substring?, _ name: String) throws(Refusal) -> Timestamp? {
        guard let text else { return nil }
        guard text.utf8.count <= 40, let time = Timestamp(iso8601: text) else {
            throw Refusal(.badRequest, "\(name) is malformed: expected YYYY-MM-DDTHH:MM:SSZ")
        }
        return time
    }

    // MARK: - Rooms

    /// A room whose URL can not be guessed: 120 bits; a number of eleven digits to be dialled, with a PIN of eight.
    private static func newRoom() throws -> MeetingRoom {
        let octets = try RandomBytes.bytes(31)
        func number(_ range: Range<Int>, below limit: UInt64) -> UInt64 {
            octets[range].reduce(UInt64(0)) { $0 << 8 | UInt64($1) } % limit
        }
        let pin = String(number(23..<31, below: 100_000_000))
        return MeetingRoom(
            token: Base64URL.encode(Array(octets[0..<15])),
            number: Int64(10_000_000_000 + number(15..<23, below: 90_000_000_000)),
            pin: String(repeating: "0", count: 8 - pin.count) + pin)
    }

    private func answer(_ status: HTTPResponse.Status, _ room: MeetingRoom) -> Response {
        let meetings = services.configuration.meetings
        return .json(status) { json in
            json.member("url", "https://\(meetings.host)/meet/\(room.token)")
            json.member("sip", "\(room.number)@\(meetings.sipDomain)")
            json.name("phone")
            if let phone = meetings.phone { json.value(phone) } else { json.null() }
            json.member("number", String(room.number))
            json.member("pin", room.pin)
        }
    }

    // MARK: - Commands

    private func command(_ request: Request, _ user: UserKey) async throws -> Response {
        let body = try await RequestJSON(request)
        let message = try body.content("message", maximum: Self.maximumCommandBytes)
        let key = try body.keyURL("encryptionKeyUrl")
        let destination = "\(CalendarService.kind)://\(user.organisation)"
        guard services.relay.openLinkCount(of: destination) > 0 else {
            throw Refusal(
                .unavailable, "no calendar connector of this organisation is connected", retryAfterSeconds: 5)
        }
        var json = JSONWriter(reserving: 4096)
        json.beginObject()
        json.member("type", "calendar.command")
        json.member("userId", user.user)
        json.member("encryptionKeyUrl", key)
        json.member("message", message)
        json.endObject()
        let octets: [UInt8]?
        do {
            octets = try await services.relay.forward(
                json.bytes(), to: destination, from: "\(user.organisation)/\(user.user)")
        } catch let refusal as Relay.Refusal {
            throw Refusal(refusal)
        }
        guard let octets, let answer = try? JSONDocument(octets).root, let status = answer["status"]?.integer else {
            throw Refusal(.gatewayTimeout, "the calendar connector gave no answer")
        }
        guard status == 200 else {
            let reason = (answer["reason"]?.string ?? "refused").printable
            let code = answer["code"]?.string.map { " (\($0.printable))" } ?? ""
            throw Refusal(
                Refusal.Status(rawValue: Int(clamping: status)) ?? .unavailable,
                "the calendar connector: \(reason)\(code)")
        }
        guard let sealed = answer["message"]?.string, OpaqueText.isContent(sealed) else {
            throw Refusal(.gatewayTimeout, "the calendar connector gave an answer that is not encrypted")
        }
        return .json { $0.member("message", sealed) }
    }
}

extension CoreRequestContext {
    /// The id of a meeting in the path; anything else is one that does not exist.
    fileprivate func meetingID() throws(Refusal) -> String {
        guard let text = parameters.get("id"), RequestJSON.isName(text) else {
            throw Refusal(.notFound, "there is no such meeting, or it is not yours")
        }
        return text
    }
}

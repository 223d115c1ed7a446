import CalendarBackend
import CalendarTime
import CalendarTranslation
import CalendarTransport
import CalendarXML
import Diagnostics
import GoogleCalendarClient
import GraphClient
import HTTPClient
import ICalendar
import Synchronization
import TestServers
import Testing
import WireText

/// One of the fake services with its client, and how its answers are lost.
struct PlayedService: Sendable {
    let client: any CalendarBackend
    let calendar: CalendarReference
    let lose: @Sendable (_ creation: Bool) -> Void
    /// An attendee's answer arrives at the only event.
    let accept: @Sendable (_ address: String) -> Void

    static func make(_ kind: BackendKind) async throws -> PlayedService {
        switch kind {
        case .graph:
            let ground = try await GraphGround()
            return PlayedService(client: ground.client, calendar: ground.calendar) { creation in
                ground.server.change { $0.faults.lost = [creation ? "POST" : "PATCH"] }
            } accept: { address in
                ground.server.change { state in
                    guard let id = state.events.keys.first, var event = state.events[id] else { return }
                    event["attendees"] = .array(
                        (event["attendees"]?.list ?? []).map { attendee in
                            attendee["emailAddress"]?["address"]?.text == address
                                ? attendee.merged(["status": ["response": "accepted"]]) : attendee
                        })
                    FakeGraph.store(event, &state)
                }
            }
        case .google:
            let ground = try await GoogleGround()
            // Its token is asked for by a POST, too.
            _ = try await ground.client.members(of: ground.calendar)
            return PlayedService(client: ground.client, calendar: ground.calendar) { creation in
                ground.server.change { $0.faults.lost = [creation ? "POST" : "PATCH"] }
            } accept: { address in
                ground.server.change { state in
                    guard let id = state.events.keys.first, var event = state.events[id] else { return }
                    event["attendees"] = .array(
                        (event["attendees"]?.list ?? []).map { attendee in
                            attendee["email"]?.text == address
                                ? attendee.merged(["responseStatus": "accepted"]) : attendee
                        })
                    FakeGoogle.store(event, &state)
                }
            }
        default:
            let ground = try await ExchangeGround()
            return PlayedService(client: ground.client, calendar: ground.calendar) { creation in
                ground.server.change { $0.faults.lost = [creation ? "CreateItem" : "UpdateItem"] }
            } accept: { address in
                ground.server.change { state in
                    guard var item = state.items.values.first, var list = item.parts["RequiredAttendees"] else {
                        return
                    }
                    for index in list.children.indices
                    where FakeExchange.find("EmailAddress", in: list.children[index])?.text == address {
                        list.children[index].children.removeAll { $0.name.name == "ResponseType" }
                        list.children[index].children.append(FakeExchange.element("ResponseType", "Accept"))
                    }
                    item.parts["RequiredAttendees"] = list
                    FakeExchange.store(item, &state)
                }
            }
        }
    }
}

@Suite("Services that keep events as properties")
struct ServiceTests {
    @Test("A creation whose answer is lost makes one event", arguments: BackendKind.played)
    func lostCreation(_ kind: BackendKind) async throws {
        let service = try await PlayedService.make(kind)
        let (client, calendar) = (service.client, service.calendar)
        let event = TestEvent()
        service.lose(true)
        let proposal = client.newHref(in: calendar)
        await #expect(throws: CalendarError.serverAway("")) {
            try await client.put(event.octets, at: proposal, in: calendar, .create)
        }
        let again = try await client.put(event.octets, at: proposal, in: calendar, .create)
        let members = try await client.members(of: calendar)
        #expect(members.count == 1 && again == .uidInUse(members.first?.href))
    }

    @Test(
        "A write whose answer is lost is there once, and is not written again from the same copy",
        arguments: BackendKind.played)
    func lostWrite(_ kind: BackendKind) async throws {
        let service = try await PlayedService.make(kind)
        let (client, calendar) = (service.client, service.calendar)
        guard
            case .created(let href) = try await client.put(
                TestEvent().octets, at: client.newHref(in: calendar), in: calendar, .create)
        else { return }
        let object = try #require(try await client.object(href, in: calendar))
        let etag = try #require(object.etag)
        let text = String(decoding: object.octets, as: UTF8.self).replacing("SUMMARY:Planning", with: "SUMMARY:Other")
        service.lose(false)
        await #expect(throws: CalendarError.serverAway("")) {
            try await client.put(Array(text.utf8), at: href, in: calendar, .match(etag))
        }
        #expect(try await client.put(Array(text.utf8), at: href, in: calendar, .match(etag)) == .conflict)
        #expect(try await client.object(href, in: calendar)?.text.contains("SUMMARY:Other") == true)
    }

    @Test("What is written is what is read, whatever the event", arguments: BackendKind.played, [1, 2, 3])
    func random(_ kind: BackendKind, _ seed: UInt64) async throws {
        let service = try await PlayedService.make(kind)
        let (client, calendar) = (service.client, service.calendar)
        var generator = SeededGenerator(seed: 20_261_128 + seed)
        for round in 0..<12 {
            var wanted = Self.event(&generator, kind)
            let made = try await client.put(
                try EventSeries(uid: "r\(round)@example.com", main: wanted).octets, at: client.newHref(in: calendar),
                in: calendar, .create)
            guard case .created(let href) = made else {
                Issue.record("\(made)")
                return
            }
            for edit in 0..<4 {
                let object = try #require(try await client.object(href, in: calendar))
                let read = try EventSeries(parsing: object.octets)
                #expect(
                    wanted.differences(from: read.main).isEmpty,
                    "seed \(seed), event \(round), edit \(edit): \(wanted.differences(from: read.main).map(\.rawValue)) \(object.text)"
                )
                wanted = Self.edited(wanted, &generator, kind)
                let etag = try #require(object.etag)
                let octets = try EventSeries(uid: read.uid, main: wanted).octets
                #expect(try await client.put(octets, at: href, in: calendar, .match(etag)) == .written)
            }
        }
    }

    @Test("Whatever a service says of an event, it is an error or a text", arguments: BackendKind.played, [1, 2, 3, 4])
    func hostile(_ kind: BackendKind, _ seed: UInt64) async throws {
        var generator = SeededGenerator(seed: 77 + seed)
        switch kind {
        case .graph:
            let ground = try await GraphGround()
            let href = try await Self.rich(ground.client, ground.calendar)
            let original = ground.server.change { $0.events }
            for _ in 0..<80 {
                let mutated = Self.mutated(original, &generator, keeping: ["id", "type"])
                ground.server.change { $0.events = mutated }
                try await Self.read(href, ground.client, ground.calendar)
            }
        case .google:
            let ground = try await GoogleGround()
            let href = try await Self.rich(ground.client, ground.calendar)
            let original = ground.server.change { $0.events }
            for _ in 0..<80 {
                let mutated = Self.mutated(original, &generator, keeping: ["id", "status"])
                ground.server.change { $0.events = mutated }
                try await Self.read(href, ground.client, ground.calendar)
            }
        default:
            let ground = try await ExchangeGround()
            let href = try await Self.rich(ground.client, ground.calendar)
            let original = ground.server.change { $0.items }
            for _ in 0..<80 {
                var mutated = original
                for (id, item) in original.sorted(by: { $0.key < $1.key }) {
                    guard let name = item.parts.keys.sorted().randomElement(using: &generator) else { continue }
                    let text = Self.junk.randomElement(using: &generator) ?? ""
                    var part = FakeExchange.element(
                        name, text, Bool.random(using: &generator) ? item.parts[name]?.children ?? [] : [])
                    part.attributes = Bool.random(using: &generator) ? ["Id": text, "BodyType": "HTML"] : [:]
                    mutated[id]?.parts[name] = part
                    mutated[id]?.lines = text
                }
                ground.server.change { $0.items = mutated }
                try await Self.read(href, ground.client, ground.calendar)
            }
        }
    }

    private static func rich(_ client: any CalendarBackend, _ calendar: CalendarReference) async throws -> CalendarHref
    {
        let made = try await client.put(
            Array(TranslationTests.rich.utf8), at: client.newHref(in: calendar), in: calendar, .create)
        guard case .created(let href) = made else { throw CalendarError.notFound("\(made)") }
        return href
    }

    private static func read(
        _ href: CalendarHref, _ client: any CalendarBackend, _ calendar: CalendarReference
    ) async throws {
        let object: CalendarObject?
        do {
            object = try await client.object(href, in: calendar)
        } catch is CalendarError {
            // Told as what it is.
            return
        }
        // One that is given can be read, and has nothing in it but events of one UID.
        guard let object else { return }
        let series = try EventSeries(parsing: object.octets)
        let document = try CalendarDocument(parsing: object.octets)
        let events = document.components.filter { $0.parent == 0 }
        #expect(
            events.allSatisfy { $0.name == "VEVENT" } && events.count == series.exceptions.count + 1, "\(object.text)")
    }

    private static let junk = [
        "", "x", "-1", "99999999999999999999", "9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z", "2027-02-30T10:00:00Z",
        "END:VEVENT\nBEGIN:VEVENT\nUID:evil", "X-A:1\r\nEND:VCALENDAR", "RRULE:FREQ=DAILY;INTERVAL=99999999999", "true",
        "Nowhere/Zone", "\u{7F}\t;:,\"^'", String(repeating: "ö", count: 3000), "<p>&#xFFFFFFFF;&#0;<",
        "EXDATE:20270101T000000Z,x", "RDATE;VALUE=PERIOD:20270101T000000Z/PT1H", "mailto:a@b\r\nATTENDEE:c",
    ]

    private static func mutated(
        _ events: [String: JSONValue], _ generator: inout SeededGenerator, keeping names: Set<String>
    ) -> [String: JSONValue] {
        var result = events
        for (id, event) in events.sorted(by: { $0.key < $1.key }) {
            result[id] = mutated(event, &generator, keeping: names)
        }
        return result
    }

    private static func mutated(
        _ value: JSONValue, _ generator: inout SeededGenerator, keeping names: Set<String>
    ) -> JSONValue {
        guard Int.random(in: 0..<12, using: &generator) > 0 else {
            switch Int.random(in: 0..<7, using: &generator) {
            case 0: return .null
            case 1: return .boolean(true)
            case 2: return .number("1e400")
            case 3: return .number("-7")
            case 4: return []
            case 5: return [:]
            default: return .string(junk.randomElement(using: &generator) ?? "")
            }
        }
        switch value {
        case .object(let members):
            var result = members
            for name in members.keys.sorted() where !names.contains(name) {
                result[name] = mutated(members[name] ?? .null, &generator, keeping: names)
            }
            return .object(result)
        case .array(let values): return .array(values.map { mutated($0, &generator, keeping: names) })
        default: return value
        }
    }

    // MARK: - Random events

    private static let texts = [
        "Plan", "Büro & Co <x>", "a, b; c\\d", "Line one\nLine two\nthird", "🙂 \"quoted\" 'x'", "", "@meet", "-- \nsig",
        "x  y",
        "</t:Subject>", "]]>", "ResponseCode>ErrorServerBusy<",
    ]

    private static func event(_ generator: inout SeededGenerator, _ kind: BackendKind) -> EventFields {
        let day = LocalTime(seconds: 1_798_761_600 + Int.random(in: 0..<300, using: &generator) * 86_400)
        let zones = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "W. Europe Standard Time"]
        let hour = day.seconds + Int.random(in: 8..<18, using: &generator) * 3600
        let start: CalendarMoment
        switch Int.random(in: 0..<3, using: &generator) {
        case 0: start = .utc(LocalTime(seconds: hour))
        case 1: start = .date(day.date)
        default:
            // Each service has names of its own.
            let zone = kind == .exchange ? "W. Europe Standard Time" : zones[Int.random(in: 0..<3, using: &generator)]
            start = .zoned(LocalTime(seconds: hour), zone: zone)
        }
        var fields = EventFields(
            start: start, end: start.at(LocalTime(seconds: start.local.seconds + (start.isDate ? 86_400 : 5400))))
        fields.organizer = EventFields.Person("alice@example.com")
        if Bool.random(using: &generator) { fields.rules = ["FREQ=WEEKLY;BYDAY=MO,WE;WKST=MO;COUNT=9"] }
        for _ in 0..<6 { fields = edited(fields, &generator, kind) }
        return fields
    }

    private static func edited(
        _ fields: EventFields, _ generator: inout SeededGenerator, _ kind: BackendKind
    ) -> EventFields {
        var fields = fields
        let text = texts.randomElement(using: &generator) ?? ""
        let line = text.replacing("\n", with: " ")
        switch Int.random(in: 0..<10, using: &generator) {
        case 0: fields.summary = line
        case 1:
            // Spaces at the ends of lines, and two of them, are not kept by HTML; Google keeps all.
            fields.description = text.replacing("  ", with: " ").replacing(" \n", with: "\n")
        case 2: fields.location = line
        case 3:
            fields.busy = [.free, .busy, .away, .tentative, .elsewhere].randomElement(using: &generator) ?? .busy
        case 4: fields.sensitivity = [.public, .private, .confidential].randomElement(using: &generator) ?? .public
        case 5: fields.importance = [.high, .normal, .low].randomElement(using: &generator) ?? .normal
        case 6: fields.categories = [["A"], ["B, C", "ö"], []].randomElement(using: &generator) ?? []
        case 7: fields.reminder = [5, 90, nil].randomElement(using: &generator) ?? nil
        case 8:
            let new = EventFields.Attendee(
                EventFields.Person("p\(Int.random(in: 0..<4, using: &generator))'x@example.com", name: "Ö'N, \(line)"),
                role: Bool.random(using: &generator) ? .required : .optional)
            if !fields.attendees.contains(where: new.isSame) { fields.attendees.append(new) }
        default:
            fields.rest =
                [
                    ["X-HDS-MEETING:1"], ["X-A;P=\"q;r\":\(escaped(line))", "URL:https://example.com/?a&b"], [],
                ].randomElement(using: &generator) ?? []
        }
        return fields
    }

    private static func escaped(_ line: String) -> String {
        line.replacing("\\", with: "\\\\").replacing(",", with: "\\,").replacing(";", with: "\\;")
    }
}

@Suite("Tokens that are granted")
struct GrantedTokensTests {
    @Test("One request at a time is made for those who share a token, and a failure is not kept")
    func shared() async throws {
        let count = Mutex(0)
        let tokens = GrantedTokens(clock: SkippingClock(), key: { _ in "" }) { _ in
            let number = count.withLock { count in
                count += 1
                return count
            }
            guard number > 1 else { throw CalendarError.serverAway("x") }
            await Task.yield()
            return GrantedTokens.Grant(token: Redacted("t\(number)"), lifetime: .seconds(600))
        }
        await #expect(throws: CalendarError.serverAway("")) {
            try await tokens.token(for: BackendGround.alice, refused: nil)
        }
        let found = try await withThrowingTaskGroup(of: String.self) { group in
            for number in 0..<20 {
                group.addTask {
                    let user = number % 2 == 0 ? BackendGround.alice : BackendGround.bob
                    return try await tokens.token(for: user, refused: nil).reveal { $0 }
                }
            }
            return try await group.reduce(into: Set<String>()) { $0.insert($1) }
        }
        #expect(found == ["t2"] && count.withLock { $0 } == 2)
        // Refused: a new one; refused by somebody who has an old one: the new one is still good.
        let new = try await tokens.token(for: BackendGround.bob, refused: Redacted("t2")).reveal { $0 }
        let same = try await tokens.token(for: BackendGround.bob, refused: Redacted("t2")).reveal { $0 }
        #expect(new == "t3" && same == "t3")
    }

    @Test("An application's secret is exchanged as Entra documents it")
    func entra() async throws {
        let server = try await CalendarProxy { request in
            let form = Set(request.text.split(separator: "&"))
            let wanted: Set<Substring> = [
                "client_id=app", "client_secret=s%26cret", "grant_type=client_credentials",
                "scope=https%3A%2F%2Fgraph.microsoft.com%2F.default",
            ]
            guard request.path == "/tenant%2F1/oauth2/v2.0/token" else { return .answer(WebResponse(status: 404)) }
            return .answer(
                form == wanted
                    ? .json(200, ["token_type": "Bearer", "expires_in": .integer(3599), "access_token": "eyJ0"])
                    : .json(401, ["error": "invalid_client", "error_description": "s&cret"]))
        }
        func tokens(_ secret: String) -> GrantedTokens {
            EntraTokens.make(
                authority: server.url, tenant: "tenant/1", application: "app", secret: Redacted(secret),
                client: WebClient(trust: nil))
        }
        let token = try await tokens("s&cret").token(for: BackendGround.alice, refused: nil)
        #expect(token.reveal { $0 } == "eyJ0")
        let error = await #expect(throws: CalendarError.credentialsRefused("")) {
            try await tokens("other").token(for: BackendGround.alice, refused: nil)
        }
        #expect(error?.description.contains("invalid_client") == true && error?.description.contains("s&cret") == false)
        await server.close()
    }
}

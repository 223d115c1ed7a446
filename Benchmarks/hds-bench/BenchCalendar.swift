import CalendarBackend
import CalendarService
import Cryptography
import Foundation
import KMSClient
import KMSProtocol
import SecretMemory
import Synchronization
import WireText

/// The calendar connector over a calendar server in the process's memory, with keys that are given at once and its own SQLite
/// file: the figures are those of the connector.
struct BenchCalendar {
    let folder: URL

    private static let events = 10_000
    private static let users = 1000
    private static let perUser = 20
    private static let writes = 400

    func measure() async throws -> [Measurement] {
        try await whole() + steady() + joining()
    }

    /// One user's first round.
    private func whole() async throws -> [Measurement] {
        let server = MemoryCalendarBackend()
        let person = CalendarUser(id: "user-0", address: "user-0@example.com")
        let calendar = server.addCalendar("home", of: person)
        for number in 0..<Self.events { try await put(number, in: calendar, server, days: number % 365) }
        let run = try await run("whole", [person], server)
        let memory = Self.resident()
        let start = ContinuousClock.now, cpu = processCPUSeconds()
        try await run.round("user-0")
        let seconds = (ContinuousClock.now - start) / .seconds(1), used = processCPUSeconds() - cpu
        try await run.send()
        let told = run.events
        await run.close()
        return [
            Measurement("full sync of \(Self.events) events", Double(Self.events) / seconds, "events/s"),
            Measurement("the same, CPU of an event", used / Double(Self.events) * 1_000_000, "us"),
            Measurement("the same, memory that came on top", Self.resident() - memory, "MB"),
            Measurement("events that the core was told", Double(told), ""),
        ]
    }

    /// Quiet rounds of many users.
    private func steady() async throws -> [Measurement] {
        let server = MemoryCalendarBackend()
        let counting = FaultingCalendarBackend(server)
        var people: [CalendarUser] = []
        for number in 0..<Self.users {
            let person = CalendarUser(id: "user-\(number)", address: "user-\(number)@example.com")
            people.append(person)
            let calendar = server.addCalendar("home", of: person)
            for event in 0..<Self.perUser { try await put(event, in: calendar, server, days: event % 14) }
        }
        let run = try await run("steady", people, counting)
        for person in people { try await run.round(person.id) }
        try await run.send()
        func calls() -> Int { FaultingCalendarBackend.Operation.allCases.reduce(0) { $0 + counting.calls(of: $1) } }
        let before = calls(), cpu = processCPUSeconds()
        for person in people { try await run.round(person.id) }
        let rounds = Double(Self.users)
        let perRound = Double(calls() - before) / rounds, used = processCPUSeconds() - cpu
        await run.close()
        return [
            // Two rounds in a minute with the usual interval of 30 s.
            Measurement("requests of a quiet user and minute, \(Self.users) users", perRound * 2, "1/min"),
            Measurement("CPU of a quiet round", used / rounds * 1_000_000, "us"),
            Measurement("users that a core's time would do at that rate", 30 / (used / rounds), ""),
        ]
    }

    /// Join details, from the sealed command to the sealed answer.
    private func joining() async throws -> [Measurement] {
        let server = MemoryCalendarBackend()
        let person = CalendarUser(id: "user-0", address: "user-0@example.com")
        let calendar = server.addCalendar("home", of: person)
        for number in 0..<Self.writes { try await put(number, in: calendar, server, days: number % 6) }
        let run = try await run("joining", [person], server)
        try await run.round("user-0")
        try await run.send()
        let taken = try await run.join("user-0", url: "https://meet.example.com/r/1")
        await run.close()
        guard !taken.isEmpty else { return [] }
        return [
            Measurement("join details written, p50", percentile(taken, 0.5) * 1000, "ms"),
            Measurement("join details written, p99", percentile(taken, 0.99) * 1000, "ms"),
        ]
    }

    private func run(
        _ name: String, _ people: [CalendarUser], _ backend: any CalendarBackend
    ) async throws -> ConnectorRun {
        let keys = BenchKeys()
        return try await ConnectorRun(
            database: folder.appending(path: "calendar-\(name).sqlite").path, users: people.map { ($0.id, $0.address) },
            backend: backend, joinHost: "meet.example.com"
        ) { try keys.answer($0) }
    }

    private func put(
        _ number: Int, in calendar: CalendarReference, _ server: MemoryCalendarBackend, days: Int
    ) async throws {
        let start = Timestamp(seconds: Timestamp.now().seconds / 3600 * 3600 + Int64(days) * 86_400 + 3600)
        func utc(_ time: Timestamp) -> String {
            time.iso8601.prefix(19).filter { $0 != "-" && $0 != ":" } + "Z"
        }
        let lines = [
            "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//bench//", "BEGIN:VEVENT", "UID:event-\(number)@bench",
            "DTSTAMP:20260101T000000Z", "DTSTART:\(utc(start))", "DTEND:\(utc(start.adding(seconds: 1800)))",
            "SUMMARY:Meeting number \(number)", "LOCATION:Room \(number % 40); @meet",
            "DESCRIPTION:\(String(repeating: "What we talk about\\, and why. ", count: 10))",
            "ORGANIZER:mailto:\(calendar.user.address)", "ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:other@example.com",
            "ATTENDEE;PARTSTAT=ACCEPTED:mailto:another@example.com", "END:VEVENT", "END:VCALENDAR",
        ]
        let href = CalendarHref("\(calendar.href.text)event-\(number).ics")
        _ = try await server.put(Array(lines.map { $0 + "\r\n" }.joined().utf8), at: href, in: calendar, .create)
    }

    /// Of this process, in MB.
    private static func resident() -> Double {
        let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
        return (text.split(separator: " ").dropFirst().first.flatMap { Double($0) } ?? 0) * 4096 / 1_000_000
    }
}

/// Keys as a KMS gives them, at once.
private final class BenchKeys: Sendable {
    private struct State {
        var keys: [String: (key: SymmetricKey, resource: String?)] = [:]
        var sealing: SymmetricKey?
    }
    private let state = Mutex(State())

    func answer(_ operation: KMSOperation) throws -> KMSAnswer {
        let now = Timestamp.now()
        return try state.withLock { state in
            func key(_ uri: String) -> KMSKey? {
                state.keys[uri].map {
                    KMSKey(
                        uri: uri, key: $0.key, userID: "hds-calendar", clientID: "bench", createDate: now,
                        expirationDate: now.adding(seconds: 3600), resourceURI: $0.resource, bindDate: now)
                }
            }
            switch operation {
            case .createSealingKey:
                let sealing = try state.sealing ?? SymmetricKey.random()
                state.sealing = sealing
                return KMSAnswer(status: 200, requestID: nil, body: .sealingKey(.init(key: sealing, createDate: now)))
            case .createKeys(let count):
                var made: [KMSKey] = []
                for _ in 0..<count {
                    let uri = "kms://kms.example.com/keys/\(UUIDText.random())"
                    state.keys[uri] = (try SymmetricKey.random(), nil)
                    if let key = key(uri) { made.append(key) }
                }
                return KMSAnswer(status: 201, requestID: nil, body: .keys(made))
            case .createResource(let keys, _):
                let uri = "kms://kms.example.com/resources/\(UUIDText.random())"
                return KMSAnswer(
                    status: 201, requestID: nil,
                    body: .resource(KMSResource(uri: uri, keyURIs: keys, authorizationURIs: [])))
            case .bindKey(let uri, _), .useKey(let uri, _):
                guard let key = key(uri) else { return KMSAnswer(status: 404, requestID: nil) }
                return KMSAnswer(status: 200, requestID: nil, body: .key(key))
            default: return KMSAnswer(status: 400, requestID: nil)
            }
        }
    }
}

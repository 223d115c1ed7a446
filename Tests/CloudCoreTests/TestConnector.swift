import CoreLink
import LinkProtocol
import Synchronization
import TestServers
import Testing
import WireText

@testable import CloudCore

/// A calendar connector's end of a real link: it tells what a test says, and answers commands as the test says.
final class TestConnector: Sendable {
    let link: CoreLink
    private let running: RunningService
    private let states: AsyncStream<LinkState>
    private let shared: Shared

    private final class Shared: Sendable {
        let commands = Mutex<[String]>([])
        let link = Mutex<CoreLink?>(nil)
    }

    /// The commands that came, as JSON.
    var commands: [String] { shared.commands.withLock { $0 } }

    init(
        _ bench: CoreBench, organisation: String = "acme", issuer: TestIssuer? = nil, service: String = "calendar",
        node: String = "c1", answer: @escaping @Sendable (JSONNode) -> String? = { _ in nil }
    ) throws {
        let issuer = issuer ?? bench.issuer
        let (states, sink) = AsyncStream.makeStream(of: LinkState.self)
        self.states = states
        let shared = Shared()
        self.shared = shared
        let link = CoreLink(
            configuration: CoreLinkConfiguration(
                url: "wss://localhost:\(bench.port)/link/v1", trust: bench.trust, node: node, service: service,
                organisation: organisation, version: "1.0.0", destination: "\(service)://\(organisation)",
                details: { "{}" }, token: { try issuer.serviceToken(scope: "link:\(service)") }),
            handler: { delivery in
                guard let root = try? JSONDocument(delivery.text).root else { return }
                shared.commands.withLock { $0.append(String(decoding: delivery.text, as: UTF8.self)) }
                guard let text = answer(root) else { return }
                shared.link.withLock { $0 }?.answer(delivery, text: Array(text.utf8))
            }, state: { sink.yield($0) })
        self.link = link
        shared.link.withLock { $0 = link }
        running = RunningService([link])
    }

    func open() async throws -> TestConnector {
        for await state in states where state.phase == .open { return self }
        throw CancellationError()
    }

    /// The status of the reply, and why.
    func tell(_ events: [String]) async throws -> (status: Int64, reason: String?) {
        try await call(#"{"events":[\#(events.joined(separator: ","))]}"#)
    }

    func call(
        _ text: String, to destination: String = CalendarService.destination
    ) async throws -> (status: Int64, reason: String?) {
        switch await link.call(destination, text: Array(text.utf8), within: .seconds(20)) {
        case .answered(let octets):
            let root = try JSONDocument(octets).root
            return (try #require(root["status"]?.integer), root["reason"]?.string)
        case .refused(let reason): throw Refused(reason: reason)
        }
    }

    struct Refused: Error, Equatable {
        let reason: LinkCallRefusal
    }

    func stop() async { await running.stop() }
}

/// What a connector tells, in the form of the protocol; texts have the form of encrypted ones.
enum TestMeetings {
    static let start = "2026-12-01T09:00:00.000Z"

    /// `more` replaces members, or adds some; of a member `null` nothing is left out.
    static func meeting(
        _ user: String, _ id: String = "m1", series: String = "s1", revision: Int64 = 1, start: String = start,
        minutes: Int64 = 30, subject: String = "budget", more: [String: String] = [:]
    ) -> String {
        var members: [(String, String)] = [
            ("id", quoted(id)), ("userId", quoted(user)), ("seriesId", quoted(series)),
            ("icalUid", quoted("u-" + series)),
            ("revision", "\(revision)"), ("start", quoted(start)), ("startTimeZone", quoted("Europe/Berlin")),
            ("durationMinutes", "\(minutes)"), ("allDay", "false"), ("isRecurring", "false"),
            ("status", quoted("confirmed")), ("sensitivity", quoted("normal")), ("busy", quoted("busy")),
            ("isOrganizer", "true"), ("encryptionKeyUrl", quoted(TestTexts.key)),
            ("encryptedSubject", quoted(TestTexts.content(subject))),
            ("trigger", #"{"kind":"keyword","action":"space"}"#), ("hasJoinDetails", "false"),
        ]
        members.removeAll { more[$0.0] != nil }
        members += more.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        return "{" + members.map { "\"\($0.0)\":\($0.1)" }.joined(separator: ",") + "}"
    }

    static func created(_ meeting: String) -> String {
        #"{"type":"calendar.meeting.created","meeting":\#(meeting)}"#
    }

    static func deleted(_ user: String, _ id: String = "m1", revision: Int64, reason: String = "cancelled") -> String {
        """
        {"type":"calendar.meeting.deleted","userId":"\(user)","meetingId":"\(id)","revision":\(revision),\
        "reason":"\(reason)"}
        """
    }

    static func status(_ user: String, _ state: String, code: String = "fine", key: String? = TestTexts.key) -> String {
        """
        {"type":"connector.user.status","userId":"\(user)","state":"\(state)","code":"\(code)",\
        "since":"2026-11-28T00:00:00Z"\(key.map { ",\"calendarKeyUrl\":\"\($0)\"" } ?? "")}
        """
    }

    static func absence(_ user: String, from: String?, to: String?, text: String? = nil) -> String {
        let encrypted = text.map {
            ",\"encryptedText\":\"\(TestTexts.content($0))\",\"encryptionKeyUrl\":\"\(TestTexts.key)\""
        }
        return """
            {"type":"presence.outOfOffice","userId":"\(user)","from":\(from.map(quoted) ?? "null"),\
            "to":\(to.map(quoted) ?? "null")\(encrypted ?? "")}
            """
    }

    private static func quoted(_ text: String) -> String { "\"\(text)\"" }
}

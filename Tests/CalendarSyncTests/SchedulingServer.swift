import CalendarSync
import Diagnostics
import ICalendar
import TestServers

/// A calendar server in memory that schedules as the measured ones do: a write that says NEEDS-ACTION for somebody who
/// accepted resets his answer; the ETag changes after each write; attendees answer between any two requests; and
/// requests and answers get lost.
actor SchedulingServer: CalendarObjectStore {
    private struct Object {
        var number: Int
        var octets: [UInt8]
    }

    private var objects: [String: Object] = [:]
    private var random: SeededGenerator
    private let troubles: Int
    /// Who is still to accept, in turn, between requests.
    private var toAccept: [String]
    private(set) var accepted: Set<String> = []
    private(set) var writes = 0
    private(set) var conflicts = 0

    /// - Parameter troubles: of 100 requests, how many meet a reply of an attendee, and how many half of that are lost.
    init(seed: UInt64, troubles: Int, toAccept: [String] = []) {
        random = SeededGenerator(seed: seed)
        self.troubles = troubles
        self.toAccept = toAccept
    }

    private static let lost = DiagnosedError("test-answer-lost", fault: .peer, "the connection ended")

    private func happens(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }

    func set(_ href: String, _ text: String) {
        objects[href] = Object(number: (objects[href]?.number ?? 0) + 1, octets: Array(text.utf8))
    }

    func text(_ href: String) -> String { String(decoding: objects[href]?.octets ?? [], as: UTF8.self) }

    func edit(_ href: String, _ change: @Sendable (String) -> String) { set(href, change(text(href))) }

    /// What a client without If-Match does: it is written, whatever is lost by it.
    func overwrite(_ href: String, _ octets: [UInt8]) {
        objects[href] = Object(number: (objects[href]?.number ?? 0) + 1, octets: octets)
    }

    func accept(_ address: String, in href: String) {
        accepted.insert(address)
        edit(href) { text in
            text.replacing(
                "ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:\(address)", with: "ATTENDEE;PARTSTAT=ACCEPTED:mailto:\(address)"
            )
        }
    }

    /// Everybody who has not yet.
    func acceptAll(in href: String) {
        for address in toAccept { accept(address, in: href) }
        toAccept = []
    }

    func read(_ href: String) async throws(DiagnosedError) -> StoredCalendarObject? {
        if happens(troubles / 4) { throw Self.lost }
        guard let object = objects[href] else { return nil }
        return StoredCalendarObject(etag: "\"\(object.number)\"", octets: object.octets)
    }

    func put(
        _ href: String, _ octets: [UInt8], matching etag: String?
    ) async throws(DiagnosedError) -> CalendarPutAnswer {
        if !toAccept.isEmpty, happens(troubles) { accept(toAccept.removeFirst(), in: href) }
        if happens(troubles / 4) { throw Self.lost }
        guard objects[href].map({ "\"\($0.number)\"" }) == etag else {
            conflicts += 1
            return .conflict
        }
        writes += 1
        // The number goes up twice: a server that schedules changes the object after the PUT.
        objects[href] = Object(number: (objects[href]?.number ?? 0) + 2, octets: octets)
        if happens(troubles / 4) { throw Self.lost }
        return .written
    }
}

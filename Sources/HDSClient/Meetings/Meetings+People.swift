import CalendarProtocol
import Diagnostics
import WireText

// People who are invited later come into the space of the meeting.
//
// Rules:
// 1. Who is invited is read from the sealed list (docs/decisions/137).
// 2. Which space belongs to the meeting is the sealed word of the connector, which was told it by a sealed command: the core could
//    name another space, to have people brought in there.
// 3. Whom somebody took out of the space does not come back: only who is new in the invitation is brought, or all of it when the user
//    says so (`hds meetings join`).
extension Meetings {
    /// Users of the organisation whom the sealed list names, but for this one.
    func invited(to meeting: Meeting) -> [String] {
        var ids: [String] = []
        for person in meeting.participants where !person.isResource && person.answer != "declined" {
            guard let id = person.userID?.lowercased(), id != account.id, UUIDText.isValid(id), !ids.contains(id)
            else { continue }
            ids.append(id)
        }
        return ids
    }

    private static func isHost(_ meeting: Meeting) -> Bool {
        meeting.record.isOrganizer && meeting.record.hasJoinDetails && meeting.record.trigger?.action == .space
            && meeting.problem == nil && meeting.record.status != .cancelled
    }

    /// Brings in whom invitations name since this client looked last.
    ///
    /// - Parameter failed: told once of what is not tried again.
    func bringNewcomers(_ meetings: [Meeting], _ failed: (DiagnosedError, Meeting) async -> Void) async throws {
        var people: [String: (all: Set<String>, meeting: Meeting)] = [:]
        for meeting in meetings where Self.isHost(meeting) {
            guard let space = meeting.record.spaceID else { continue }
            people[space, default: ([], meeting)].all.formUnion(invited(to: meeting))
        }
        for (space, now) in people.sorted(by: { $0.key < $1.key }) {
            let before = invited[space]
            invited[space] = now.all
            let new = now.all.subtracting(before ?? now.all)
            guard !new.isEmpty else { continue }
            do {
                try await bring(new.sorted(), into: space, of: now.meeting)
            } catch {
                guard let error = DiagnosedError.diagnosing(error), error.code != .notLoggedIn else { throw error }
                guard Self.isPassing(error) else {
                    await failed(error, now.meeting)
                    continue
                }
                // They are new still when this client looks again.
                invited[space] = now.all.subtracting(new)
            }
        }
    }

    /// Brings in everybody whom the invitation names; how many came.
    @discardableResult
    package func bringAll(into meeting: Meeting) async throws -> Int {
        guard Self.isHost(meeting), let space = meeting.record.spaceID else { return 0 }
        return try await bring(invited(to: meeting), into: space, of: meeting)
    }

    @discardableResult
    private func bring(_ ids: [String], into id: String, of meeting: Meeting) async throws -> Int {
        guard try await isOf(meeting, id) else {
            throw DiagnosedError(
                .spaceForeign, fault: .peer, "the cloud names another space for this meeting than the connector",
                hint: "nobody was brought in; tell your administrator")
        }
        let space = try await spaces.space(id: id)
        let there = Set(try await spaces.participants(of: space).filter { $0.hasKeys && $0.isRouted }.map(\.id))
        var count = 0
        for id in ids where !there.contains(id) {
            guard let person = try await spaces.person(id: id), try await spaces.person(person.email).id == id else {
                continue
            }
            _ = try await spaces.add(person.email, to: space)
            count += 1
        }
        return count
    }

    /// Whether the connector knows the space as that of the meeting.
    private func isOf(_ meeting: Meeting, _ space: String) async throws -> Bool {
        let answer = try await send(
            .list(from: meeting.record.start, to: max(meeting.end, meeting.record.start.adding(seconds: 60))),
            under: try await calendarKey())
        return answer.meetings?.contains { $0.id == meeting.id && $0.spaceID == space } ?? false
    }
}

extension DiagnosedError.Code {
    static let spaceForeign: Self = "meeting-space-foreign"
}

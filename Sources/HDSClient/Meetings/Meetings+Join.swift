import CalendarProtocol
import Diagnostics
import KMSClient
import WireText

// Join details: written by the organizer's own client into meetings whose invitation asks for them.
extension Meetings {
    /// Writes the join details of one meeting, once: a second time nothing is written.
    ///
    /// On a meeting that changed meanwhile it is read again, at most five times.
    package func writeJoinDetails(of meeting: Meeting) async throws -> JoinOutcome {
        var current = meeting
        guard current.wantsJoinDetails, let action = current.record.trigger?.action else {
            throw DiagnosedError(
                .calendarRefused, fault: .client, "this meeting wants no join details of you",
                hint: "they are for meetings that you organize, with a keyword in their place, and without details")
        }
        if let problem = current.problem {
            throw DiagnosedError(
                .contentUnreadable, fault: .peer, "the meeting can not be read: \(problem)", hint: "nothing was written"
            )
        }
        let room = try await action == .personalRoom ? cloud.personalRoom() : cloud.room(forMeeting: current.id)
        try hosts.check(url: room.url)
        if let sip = room.sip { try hosts.check(sip: sip) }
        let space = action == .space ? try await space(for: current) : nil
        for _ in 0..<Self.trials {
            let join = CalendarCommand.Join(
                url: room.url, sip: room.sip, phone: room.phone, pin: room.pin, spaceTitle: space?.name,
                spaceID: space?.id)
            let answer = try await send(
                .putJoinDetails(meetingID: current.id, revision: current.record.revision, join),
                under: try await calendarKey())
            func outcome(_ result: JoinOutcome.Result) -> JoinOutcome {
                JoinOutcome(
                    meeting: current, result: result, url: room.url, space: space?.id, reason: answer.reason?.loggable)
            }
            switch answer.outcome {
            case .written, .ok: return outcome(.written)
            case .unchanged: return outcome(.unchanged)
            case .refused: return outcome(.refused)
            case .conflict: break
            }
            let record = try await latest(of: current.record, answer.latest, unseen: true)
            let seen = try await self.meeting(record.id)
            // Somebody's other device was quicker, or the keyword went.
            guard seen.wantsJoinDetails else { return outcome(seen.record.hasJoinDetails ? .unchanged : .refused) }
            current = Meeting(
                record: record, subject: seen.subject, location: seen.location, notes: seen.notes,
                organizer: seen.organizer, participants: seen.participants, joinURL: seen.joinURL, problem: seen.problem
            )
        }
        throw Self.restless()
    }

    /// The space of a meeting: the one that belongs to it, the one of two people who meet alone, or a new one that is named
    /// after it.
    private func space(for meeting: Meeting) async throws -> Space {
        if let id = meeting.record.spaceID, let known = try? await spaces.space(id: id) { return known }
        // Of the sealed list: the core's own would let it put anybody into the space.
        var others: [String] = []
        for id in invited(to: meeting) {
            // Whoever has never logged in can not be in a space yet.
            if try await spaces.person(id: id) != nil { others.append(id) }
        }
        let found: Space
        if others.count == 1, meeting.participants.filter({ !$0.isResource }).count <= 2,
            let pair = try await spaces.oneToOne(with: others[0])
        {
            found = pair
        } else {
            let name = meeting.subject.flatMap { $0.isEmpty ? nil : $0 } ?? "Meeting"
            found = try await spaces.create(name: Self.title(name), members: others)
        }
        // Another device may have been quicker: then its space is the meeting's.
        if let other = try await record(meeting.id).spaceID, other != found.id,
            let known = try? await spaces.space(id: other)
        {
            return known
        }
        try await cloud.setSpace(found.id, ofMeeting: meeting.id)
        return found
    }

    /// At most what a space's name may have.
    private static func title(_ text: String) -> String {
        var result = ""
        for character in text.prefix(512) where result.utf8.count + character.utf8.count <= 1024 {
            result.append(character)
        }
        return result
    }

    /// Writes the details of all meetings that wait for them; what went wrong with one keeps no other from it.
    ///
    /// - Parameter settled: revisions that are not tried again, by meeting.
    func attendOnce(
        _ settled: inout [String: Int64], _ told: (Result<JoinOutcome, DiagnosedError>, Meeting) async -> Void
    ) async throws {
        let horizon = now().adding(seconds: 400 * 86_400)
        let all = try await list(from: now().adding(seconds: -86_400), to: horizon)
        try await bringNewcomers(all) { error, meeting in await told(.failure(error), meeting) }
        for listed in all where listed.wantsJoinDetails && settled[listed.id] != listed.record.revision {
            do {
                // An earlier one of the series may have brought its details along.
                let meeting = try await self.meeting(listed.id)
                guard meeting.wantsJoinDetails else { continue }
                let outcome = try await writeJoinDetails(of: meeting)
                settled[meeting.id] = outcome.meeting.record.revision
                await told(.success(outcome), meeting)
            } catch {
                guard let error = DiagnosedError.diagnosing(error), !Self.isPassing(error), error.code != .notLoggedIn
                else { throw error }
                // It changes faster than it can be written: the next change brings it up again.
                if error.code != .meetingChanged { settled[listed.id] = listed.record.revision }
                await told(.failure(error), listed)
            }
        }
    }

    /// Whether it may go better in a moment, with all meetings.
    static func isPassing(_ error: DiagnosedError) -> Bool {
        [.cloudUnavailable, .kmsNoAnswer, .kmsUnavailable, .eventSocket].contains(error.code)
    }

    /// Stays and writes join details as meetings come, until the event socket ends or the task is cancelled.
    ///
    /// - Parameter changes: fires when something may have happened; nil: only what waits now.
    func attend(
        _ changes: AsyncStream<Void>?, _ told: @Sendable (Result<JoinOutcome, DiagnosedError>, Meeting) async -> Void
    ) async throws {
        var settled: [String: Int64] = [:]
        try await attendPatiently(&settled, changesFollow: changes != nil, told)
        guard let changes else { return }
        for await _ in changes {
            try Task.checkCancellation()
            try await attendPatiently(&settled, changesFollow: true, told)
        }
    }

    /// - Parameter changesFollow: what passes is waited for; else it ends with it.
    private func attendPatiently(
        _ settled: inout [String: Int64], changesFollow: Bool,
        _ told: (Result<JoinOutcome, DiagnosedError>, Meeting) async -> Void
    ) async throws {
        var trial: Int64 = 0
        while true {
            do {
                return try await attendOnce(&settled, told)
            } catch let error as DiagnosedError where changesFollow && Self.isPassing(error) {
                try await sleep.milliseconds(min(60_000, 500 << min(trial, 7)))
                trial += 1
            }
        }
    }
}

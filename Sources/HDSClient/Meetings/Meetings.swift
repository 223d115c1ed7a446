package import CalendarProtocol
import Diagnostics
import KMSClient
import KMSProtocol
package import WireText

/// The meetings of the user who is logged in: reading them, writing join details, asking the calendar connector for changes.
///
/// Texts are opened and commands sealed under keys of the user's calendar only (`CalendarKeys`). What the core says in clear
/// (times, triggers, who takes part) decides nothing that matters: who gets into a space is read from the sealed list, and the
/// connector holds every command against the calendar itself.
package actor Meetings {
    let cloud: CloudService
    let keys: CalendarKeys
    let spaces: Spaces
    let account: Account
    let hosts: JoinHosts
    let now: @Sendable () -> Timestamp
    let sleep: Sleep

    /// Whom the invitations of a space named when this client looked last, by space.
    var invited: [String: Set<String>] = [:]

    /// Times that a command is made anew for a meeting that has changed meanwhile.
    static let trials = 5
    private static let day: Int64 = 86_400

    init(
        cloud: CloudService, keys: CalendarKeys, spaces: Spaces, account: Account, hosts: JoinHosts,
        now: @escaping @Sendable () -> Timestamp, sleep: Sleep
    ) {
        self.cloud = cloud
        self.keys = keys
        self.spaces = spaces
        self.account = account
        self.hosts = hosts
        self.now = now
        self.sleep = sleep
    }

    // MARK: - Reading

    /// What the connector says of its work for the user.
    package func status() async throws -> CalendarStatus { try await cloud.calendarStatus() }

    /// Meetings that go on between two times, by start; a day back and a week on when nothing is said.
    package func list(from: Timestamp? = nil, to: Timestamp? = nil) async throws -> [Meeting] {
        let to = to ?? now().adding(seconds: 7 * Self.day)
        var next = from ?? now().adding(seconds: -Self.day)
        var seen: Set<String> = []
        var records: [MeetingRecord] = []
        while true {
            let page = try await cloud.meetings(from: next, to: to)
            let new = page.items.filter { $0.userID == account.id && seen.insert($0.id).inserted }
            records += new
            guard page.more, let last = new.last, records.count < 20_000 else { break }
            next = max(last.start, next)
        }
        try await keys.prefetch(records.map(\.keyURI))
        var meetings: [Meeting] = []
        for record in records { meetings.append(try await opened(record)) }
        return meetings
    }

    /// The one meeting with that id or beginning of it.
    package func find(_ wanted: String) async throws -> Meeting {
        if let meeting = try? await meeting(wanted) { return meeting }
        let matches = try await list(to: now().adding(seconds: 400 * Self.day)).filter {
            wanted.utf8.count >= 4 && $0.id.hasPrefix(wanted)
        }
        guard let meeting = matches.first else {
            throw DiagnosedError(
                .meetingUnknown, fault: .client, "you have no meeting of that id", found: wanted.loggable,
                hint: "'hds meetings' lists yours")
        }
        guard matches.count == 1 else {
            throw DiagnosedError(
                .meetingUnknown, fault: .client, "several meetings have an id that begins so", found: wanted.loggable,
                hint: "use the whole id, or more of it")
        }
        return meeting
    }

    package func meeting(_ id: String) async throws -> Meeting {
        guard Self.isName(id) else {
            throw DiagnosedError(.meetingUnknown, fault: .client, "that is no id of a meeting", found: id.loggable)
        }
        return try await opened(try await record(id))
    }

    func record(_ id: String) async throws -> MeetingRecord {
        let record = try await cloud.meeting(id)
        guard record.id == id, record.userID == account.id else {
            throw CloudError.malformed("the meeting that was asked for")
        }
        return record
    }

    /// What may stand in a path as it is.
    static func isName(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count) && ![".", "..", "personal-room"].contains(text)
            && text.utf8.allSatisfy { octet in
                switch octet {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: "-._~:=@+".utf8.contains(octet)
                }
            }
    }

    private func opened(_ record: MeetingRecord) async throws -> Meeting {
        do {
            let key = try await keys.key(toOpen: record.keyURI)
            func text(_ sealed: EncryptedText?) throws -> String? { try sealed?.text(with: key.key) }
            let people = try text(record.participants).map { MeetingPerson.people(in: $0) } ?? []
            guard let people else {
                throw DiagnosedError(.calendarWire, fault: .peer, "its list of people is malformed")
            }
            let organizer = try text(record.organizer).flatMap { text in
                (try? JSONDocument(text: text).root).flatMap { MeetingPerson(from: $0) }
            }
            return Meeting(
                record: record, subject: try text(record.subject), location: try text(record.location),
                notes: try text(record.notes), organizer: organizer, participants: people,
                joinURL: try text(record.joinInfo?.url), problem: nil)
        } catch let refusal as KMSRefusal {
            return Self.closed(record, "the KMS refuses its key: \(refusal.status) \(refusal.reason)")
        } catch let error as DiagnosedError
            where [.contentUnreadable, .kmsMismatch, .calendarKeyForeign, .calendarWire].contains(error.code)
        {
            return Self.closed(record, error.summary)
        }
    }

    private static func closed(_ record: MeetingRecord, _ problem: String) -> Meeting {
        Meeting(
            record: record, subject: nil, location: nil, notes: nil, organizer: nil, participants: [], joinURL: nil,
            problem: problem)
    }

    /// When somebody of the organisation is out of office; nil: not.
    package func absence(of email: String) async throws -> Absence? {
        let person =
            email.lowercased() == account.email.lowercased() ? account.id : try await spaces.person(email).id
        guard let told = try await cloud.absence(of: person) else { return nil }
        var text: String?
        if let sealed = told.text, let uri = told.keyURI, person == account.id {
            text = try? await sealed.text(with: keys.key(toOpen: uri).key)
        }
        return Absence(from: told.from, to: told.to, text: text)
    }

    // MARK: - Commands

    /// Seals a command, has the connector do it, and opens the answer, which is bound to the command by its id.
    func send(_ action: CalendarCommand.Action, under uri: String) async throws -> CalendarAnswer {
        let key = try await keys.key(toSeal: uri)
        let command = CalendarCommand(id: UUIDText.random(), issued: now(), userID: account.id, action)
        let sealed = try EncryptedText(encrypting: command.encoded(), under: key.key)
        let answer = try await cloud.calendarCommand(sealed, keyURI: key.uri)
        return try CalendarAnswer(parsing: answer.text(with: key.key), to: command.id)
    }

    /// The key of the user's calendar, for what is about no meeting yet.
    func calendarKey() async throws -> String {
        let status = try await cloud.calendarStatus()
        guard let uri = status.keyURI else {
            throw DiagnosedError(
                .calendarNotReady, fault: .peer, "the calendar connector has no key for your calendar yet",
                found: status.state.loggable + (status.code.map { ", \($0.loggable)" } ?? ""),
                hint: "try again in a few minutes, then tell your administrator")
        }
        return uri
    }

    /// Makes an event in the user's calendar; its id, when the connector knows it already.
    ///
    /// It is sent once: when no answer comes, nobody here knows whether it was made.
    package func create(_ event: CalendarCommand.Event) async throws -> String? {
        do {
            let answer = try await send(.createEvent(event), under: try await calendarKey())
            try Self.requireDone(answer)
            return answer.meetingID
        } catch let error as DiagnosedError where error.code == .cloudUnavailable {
            throw DiagnosedError(
                .cloudUnavailable, fault: .peer, error.summary, found: error.found,
                hint: "it may have been made all the same: look at your calendar before you try again")
        }
    }

    /// Gives the meeting other times.
    package func move(_ meeting: Meeting, to start: Timestamp, minutes: Int?) async throws {
        let minutes = Int64(minutes ?? meeting.record.durationMinutes)
        try await change(meeting) { record in
            .updateEvent(
                meetingID: record.id, revision: record.revision,
                CalendarCommand.Event(
                    start: start, end: start.adding(seconds: minutes * 60), timeZone: record.startTimeZone))
        }
    }

    /// Gives the meeting another subject, place or notes; of a series this occurrence alone.
    package func change(
        _ meeting: Meeting, subject: String? = nil, location: String? = nil, notes: String? = nil
    ) async throws {
        try await change(meeting) { record in
            .updateEvent(
                meetingID: record.id, revision: record.revision,
                CalendarCommand.Event(subject: subject, location: location, notes: notes))
        }
    }

    /// Cancels the meeting for everybody; for those who do not organize it, it leaves their calendar.
    package func cancel(_ meeting: Meeting) async throws {
        try await change(meeting) { .deleteEvent(meetingID: $0.id, revision: $0.revision) }
    }

    /// Again for a meeting that has changed meanwhile, while its times and its name are those that the user saw.
    private func change(
        _ meeting: Meeting, _ action: (MeetingRecord) -> CalendarCommand.Action
    ) async throws {
        var record = meeting.record
        for _ in 0..<Self.trials {
            let answer = try await send(action(record), under: try await calendarKey())
            guard answer.outcome == .conflict else { return try Self.requireDone(answer) }
            record = try await latest(of: record, answer.latest, unseen: false)
            let seen = try await opened(record)
            guard record.start == meeting.record.start, record.durationMinutes == meeting.record.durationMinutes,
                seen.subject == meeting.subject
            else { throw Self.unseenChange(record.id) }
        }
        throw Self.restless()
    }

    /// The meeting as it is now, after somebody else was quicker. The core may not have it yet: then a moment later.
    ///
    /// - Parameter unseen: a revision that only the connector tells of is taken as well.
    func latest(
        of record: MeetingRecord, _ revision: Int64?, unseen: Bool
    ) async throws -> MeetingRecord {
        var found = try await self.record(record.id)
        for pause in 0..<5 where found.revision < max(revision ?? 0, record.revision + 1) {
            try await sleep.milliseconds(100 << Int64(min(pause, 3)))
            found = try await self.record(record.id)
        }
        if let revision, revision > found.revision {
            // The connector's own word, for a core that withholds what is new. Only where the connector judges by the calendar
            // itself: what a user decided by what was shown goes no further than that.
            guard unseen else { throw Self.unseenChange(record.id) }
            found.revision = revision
        }
        return found
    }

    private static func unseenChange(_ id: String) -> DiagnosedError {
        DiagnosedError(
            .meetingChanged, fault: .client, "the meeting was changed by somebody else meanwhile",
            hint: "nothing was done; look at it and decide anew: hds meetings show \(id)")
    }

    static func restless() -> DiagnosedError {
        DiagnosedError(
            .meetingChanged, fault: .peer, "the meeting changes faster than it can be written",
            found: "\(trials) times", hint: "try again in a moment")
    }

    private static func requireDone(_ answer: CalendarAnswer) throws {
        switch answer.outcome {
        case .written, .unchanged, .ok: return
        case .conflict: throw restless()
        case .refused:
            throw DiagnosedError(
                .calendarRefused, fault: .client, "the calendar connector refused it", found: answer.reason?.loggable)
        }
    }

    /// When people are busy; nil spans for those of whom the connector knows nothing.
    package func busy(_ emails: [String], from: Timestamp, to: Timestamp) async throws -> [CalendarAnswer.Person] {
        let answer = try await send(.freeBusy(from: from, to: to, emails: emails), under: try await calendarKey())
        try Self.requireDone(answer)
        return answer.busy ?? []
    }
}

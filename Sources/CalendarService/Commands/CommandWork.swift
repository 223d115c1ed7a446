import CalendarBackend
import CalendarProtocol
import CalendarSync
import CalendarTime
import Cryptography
import Diagnostics
import ICalendar
import WireText

/// What one command does for one user, in that user's turn.
struct CommandWork: Sendable {
    let parts: ConnectorParts
    let user: ConnectedUser
    let holding: ShareHolding
    let state: SealedState
    let id: String

    typealias Refused = CommandDesk.Refused

    var round: UserRound { UserRound(parts: parts, user: user, holding: holding) }

    /// A meeting with the object that it stands in, and where that is.
    struct Place {
        let object: ObjectState
        let information: CalendarInformation
        let account: CalendarAccount
        let backend: any CalendarBackend
        let meeting: Meeting
        let revision: Int64
    }

    func account() async throws -> (CalendarAccount, any CalendarBackend) {
        let backend = try parts.access(of: user).backend
        return (try await parts.accounts.account(of: user, at: backend, now: parts.now()), backend)
    }

    func work(_ account: CalendarAccount, _ backend: any CalendarBackend, _ information: CalendarInformation)
        -> UserRound.CalendarWork
    {
        UserRound.CalendarWork(
            round: round, backend: backend, state: state,
            sealer: MeetingSealer(users: parts.users.list, digestKey: state.key),
            reader: parts.reader(
                round.meetingUser(account, information, state.name(information.reference.href.text))),
            information: information, id: state.name(information.reference.href.text))
    }

    /// The meeting in its present revision, or why there is nothing to do.
    func find(_ meetingID: String, _ revision: Int64) async throws -> Result<Place, Ended> {
        let objects = try await state.objects(of: user.id)
        guard let object = objects.values.first(where: { $0.meetings[meetingID] != nil }),
            let known = object.meetings[meetingID]
        else { return .failure(.refused("no such meeting")) }
        guard known == revision else {
            return .failure(.conflict(latest: known))
        }
        let (account, backend) = try await account()
        guard
            let information = account.calendars.first(where: { state.name($0.reference.href.text) == object.calendar })
        else { return .failure(.refused("the meeting's calendar is not there any more")) }
        let reader = work(account, backend, information).reader
        let calendar = try await state.calendars(of: user.id)[object.calendar]
        let window =
            calendar.map { Instant(seconds: $0.windowStart)..<Instant(seconds: $0.windowEnd) } ?? parts.window()
        let reading = ObjectReading(object.octets, etag: object.etag ?? "", window: window, reader: reader)
        guard let meeting = reading.meetings.first(where: { $0.id == meetingID }) else {
            return .failure(.refused("the meeting is over"))
        }
        return .success(
            Place(
                object: object, information: information, account: account, backend: backend, meeting: meeting,
                revision: known))
    }

    /// An answer that stands before anything is done.
    enum Ended: Error {
        case refused(String)
        case conflict(latest: Int64)

        func answer(to id: String) -> CalendarAnswer {
            switch self {
            case .refused(let reason): CalendarAnswer(to: id, .refused, reason: reason)
            case .conflict(let latest):
                CalendarAnswer(
                    to: id, .conflict, reason: "the meeting has changed since: read it again", latest: latest)
            }
        }
    }

    // MARK: - Join details

    func putJoinDetails(
        _ meetingID: String, _ revision: Int64, _ join: CalendarCommand.Join
    ) async throws -> CalendarAnswer {
        guard join.url.lowercased().hasPrefix("https:") else { throw Refused(400, "the join address is https") }
        for address in [join.url, join.sip].compactMap({ $0 }) {
            guard parts.settings.joinHosts.allows(address.contains(":") ? address : "sip:\(address)") else {
                throw Refused(
                    403, "the join address leads to a host that the connector does not know (meetings.join-hosts)")
            }
        }
        guard join.phone.map(CalendarCommand.Join.isPhone) ?? true, join.pin.map(CalendarCommand.Join.isPIN) ?? true,
            join.spaceTitle.map({ $0.utf8.count <= 1024 }) ?? true, join.spaceID.map(UUIDText.isValid) ?? true
        else { throw Refused(400, "phone and PIN are digits, the title has at most 1024 octets, the space is a UUID") }
        let place: Place
        switch try await find(meetingID, revision) {
        case .failure(let ended): return ended.answer(to: id)
        case .success(let found): place = found
        }
        let meeting = place.meeting
        // Details of a series stand in all of it; only an occurrence with a keyword of its own has its own.
        let isOfSeries = meeting.spaceKey == meeting.seriesID
        let details = JoinDetails(
            url: join.url, sip: join.sip, phone: join.phone, pin: join.pin, spaceTitle: join.spaceTitle)
        let edit = JoinEdit(
            uid: meeting.icalUID, recurrenceID: isOfSeries ? nil : meeting.recurrenceID,
            meetingID: isOfSeries ? meeting.seriesID : meeting.id, details: details,
            template: parts.settings.template(for: user), revision: Self.mark(details))
        let merge = JoinMerge(
            user: parts.meetingUser(user, place.account), keywords: parts.settings.keywords, zones: .system)
        let writer = WriteBack(
            store: BackendObjects(backend: place.backend, calendar: place.information.reference), merge: merge
        ) { tries in try? await Task.sleep(for: .milliseconds(30 * (1 << min(tries, 6)))) }
        let base = place.object.octets.isEmpty ? nil : try? CalendarDocument(parsing: place.object.octets)
        let result = try await writer.put(edit, at: place.object.href, base: base)
        if case .refused(let refusal) = result {
            return CalendarAnswer(to: id, .refused, reason: Self.sentence(refusal))
        }
        try await keep(space: join.spaceID, of: meeting.seriesID)
        // It stands in the calendar: what fails from here on is made up for by the next round.
        let latest = try? await refresh(place, meetingID)
        if case .unchanged = result { return CalendarAnswer(to: id, .unchanged, latest: latest, meetingID: meetingID) }
        return CalendarAnswer(to: id, .written, latest: latest, meetingID: meetingID)
    }

    /// The same details have the same mark, so that a second time writes nothing.
    private static func mark(_ details: JoinDetails) -> String {
        let texts = [details.url, details.sip, details.phone, details.pin, details.spaceTitle].map { $0 ?? "" }
        let digest = SHA256.hash(texts.flatMap { Array("\($0.utf8.count):\($0)".utf8) })
        return Base64URL.encode(Array(digest.prefix(12)))
    }

    private static func sentence(_ refusal: JoinMerge.Refusal) -> String {
        switch refusal {
        case .notOrganizer: "somebody else is the organizer of this meeting"
        case .cancelled: "the meeting is cancelled"
        case .noSuchMeeting: "the meeting is not in the calendar any more"
        case .notWanted: "nothing in the invitation asks for join details any more"
        case .takenOut: "the user took these details out"
        }
    }

    private func keep(space: String?, of series: String) async throws {
        guard let space, var known = try await state.series(series, of: user.id), known.spaceID != space else { return }
        known.spaceID = space
        try await round.commit([try state.put(known, series, of: user.id)])
    }

    /// Reads back what was written, so that the core hears of it at once; the revision that counts now.
    private func refresh(_ place: Place, _ meetingID: String, isOurs: Bool = false) async throws -> Int64? {
        var counter = try await round.begin(state)
        let object = try await work(place.account, place.backend, place.information)
            .refresh(CalendarHref(place.object.href), isOurs: isOurs, &counter)
        return object?.meetings[meetingID]
    }

    // MARK: - Events

    func create(_ event: CalendarCommand.Event) async throws -> CalendarAnswer {
        let (account, backend) = try await account()
        guard
            let information = account.calendars.first(where: {
                $0.holdsEvents && $0.owner.map { $0 == account.principal } ?? true
                    && ($0.rights.isEmpty || $0.rights.contains(.add))
            })
        else { throw Refused(403, "the user has no calendar in which events may be made") }
        let uid = UUIDText.random()
        let octets = try EventText(parts.now(), organizer: user).new(event, uid: uid)
        var href = backend.newHref(in: information.reference)
        var counter = try await round.begin(state)
        // Noted as the connector's own before it is there, so that it can be called off whatever happens in between.
        let note = ObjectState(
            calendar: state.name(information.reference.href.text), href: href.text, etag: nil, octets: [],
            meetings: [:],
            isOurs: true)
        try await round.commit([try state.put(note, state.name(href.text), of: user.id)])
        switch try await backend.put(octets, at: href, in: information.reference, .create) {
        case .written: break
        case .created(let named):
            try? await round.commit([.remove(DocumentPlace(owner: user.id, kind: .object, id: state.name(href.text)))])
            href = named
        case .conflict, .uidInUse: throw Refused(409, "the calendar server does not take the event")
        }
        let object = try? await work(account, backend, information).refresh(href, isOurs: true, &counter)
        let meeting = Meeting.id(user: user.id, uid: uid, recurrenceID: nil)
        return CalendarAnswer(to: id, .written, latest: object?.meetings[meeting], meetingID: meeting)
    }

    func update(
        _ meetingID: String, _ revision: Int64, _ event: CalendarCommand.Event
    ) async throws -> CalendarAnswer {
        let place: Place
        switch try await find(meetingID, revision) {
        case .failure(let ended): return ended.answer(to: id)
        case .success(let found): place = found
        }
        guard place.meeting.isOrganizer else { throw Refused(403, Self.sentence(.notOrganizer)) }
        var event = event
        if place.meeting.isRecurring, let start = event.start, event.end == nil {
            event.end = start.adding(seconds: Int64(place.meeting.end.seconds - place.meeting.start.seconds))
        }
        let store = BackendObjects(backend: place.backend, calendar: place.information.reference)
        for _ in 0..<WriteBack.mostTries {
            guard let stored = try await store.read(place.object.href) else { throw Refused(404, "no such meeting") }
            var document = try CalendarDocument(parsing: stored.octets)
            let text = EventText(parts.now(), organizer: user)
            guard try edit(&document, place, text, event) else {
                return CalendarAnswer(to: id, .unchanged, latest: place.revision, meetingID: meetingID)
            }
            if try await store.put(place.object.href, document.octets, matching: stored.etag) == .written {
                let latest = try? await refresh(place, meetingID, isOurs: place.object.isOurs)
                return CalendarAnswer(to: id, .written, latest: latest, meetingID: meetingID)
            }
        }
        throw Refused(409, "others change the meeting at this moment")
    }

    /// What the command names, in the event that it is of: of a series this occurrence alone.
    private func edit(
        _ document: inout CalendarDocument, _ place: Place, _ text: EventText, _ event: CalendarCommand.Event
    ) throws -> Bool {
        guard let key = place.meeting.recurrenceID else {
            return try text.edit(&document, uid: place.meeting.icalUID, event)
        }
        let merge = JoinMerge(
            user: parts.meetingUser(user, place.account), keywords: parts.settings.keywords, zones: .system)
        guard let target = try merge.occurrence(key, uid: place.meeting.icalUID, in: &document) else {
            throw Refused(404, "the series has no such occurrence any more")
        }
        return try text.edit(&document, target, event)
    }

    func delete(_ meetingID: String, _ revision: Int64) async throws -> CalendarAnswer {
        let place: Place
        switch try await find(meetingID, revision) {
        case .failure(let ended): return ended.answer(to: id)
        case .success(let found): place = found
        }
        guard place.object.isOurs else {
            throw Refused(403, "the connector deletes only what it made: delete this meeting in the calendar itself")
        }
        guard
            let object = try await place.backend.object(
                CalendarHref(place.object.href), in: place.information.reference),
            let etag = object.etag
        else { throw Refused(404, "no such meeting") }
        guard
            try await place.backend.delete(object.href, in: place.information.reference, ifMatch: etag) != .conflict
        else { return CalendarAnswer(to: id, .conflict, reason: "the meeting has changed since: read it again") }
        _ = try? await refresh(place, meetingID)
        return CalendarAnswer(to: id, .written, meetingID: meetingID)
    }

    // MARK: - Questions

    func freeBusy(_ from: Timestamp, _ to: Timestamp, _ emails: [String]) async throws -> CalendarAnswer {
        guard let interval = CalendarInterval(from: from, until: to) else { throw Refused(400, "the times are none") }
        var people: [CalendarAnswer.Person] = []
        var seen: Set<String> = []
        for email in emails where seen.insert(email.lowercased()).inserted {
            people.append(.init(email: email, spans: try await spans(of: email, interval)))
        }
        let strangers = people.filter { $0.spans == nil }.map(\.email)
        if !strangers.isEmpty {
            let told = await told(of: strangers, interval)
            people = people.map { person in
                person.spans != nil ? person : .init(email: person.email, spans: told[person.email].map(Self.spans))
            }
        }
        return CalendarAnswer(to: id, .ok, busy: people)
    }

    /// Busy times of people whom the connector does not look after, as the user's own calendar server tells them to the user.
    private func told(of emails: [String], _ interval: CalendarInterval) async -> [String: [BusyPeriod]] {
        do {
            let backend = try parts.access(of: user).backend
            guard backend.abilities.contains(.freeBusyOfOthers) else { return [:] }
            let account = try await parts.accounts.account(of: user, at: backend, now: parts.now())
            return try await backend.freeBusy(of: emails, asking: account, during: interval)
        } catch {
            // Nothing is known then; the others' times are told all the same.
            return [:]
        }
    }

    private static func spans(_ periods: [BusyPeriod]) -> [CalendarAnswer.BusySpan] {
        periods.sorted { $0.time.start < $1.time.start }.prefix(mostSpans).map {
            .init(from: $0.time.start, to: $0.time.end, kind: $0.kind.rawValue.lowercased())
        }
    }

    private static let mostSpans = 500

    /// Nil: nothing is known of this address. Times alone leave a calendar, whoever asks.
    private func spans(of email: String, _ interval: CalendarInterval) async throws -> [CalendarAnswer.BusySpan]? {
        let users = parts.users.list
        guard let other = users.id(of: email).flatMap({ users.users[$0] }) else { return nil }
        let backend = try parts.access(of: other).backend
        do {
            let account = try await parts.accounts.account(of: other, at: backend, now: parts.now())
            var periods: [BusyPeriod] = []
            for information in account.calendars
            where information.holdsEvents && information.owner.map({ $0 == account.principal }) ?? true {
                periods += try await backend.freeBusy(of: information.reference, during: interval)
            }
            return Self.spans(periods)
        } catch is CalendarError {
            // One person's trouble is not the others'.
            return nil
        }
    }

    func list(_ from: Timestamp, _ to: Timestamp) async throws -> CalendarAnswer {
        let reader = parts.reader(parts.meetingUser(user, nil))
        let window = Instant(seconds: Int(from.seconds))..<Instant(seconds: Int(to.seconds))
        var entries: [CalendarAnswer.Entry] = []
        var series: [String: String] = [:]
        for object in try await state.objects(of: user.id).values where !object.octets.isEmpty {
            let reading = ObjectReading(object.octets, etag: object.etag ?? "", window: window, reader: reader)
            for meeting in reading.meetings {
                entries.append(
                    .init(
                        id: meeting.id, revision: object.meetings[meeting.id] ?? 0,
                        start: Timestamp(seconds: Int64(meeting.start.seconds)),
                        durationMinutes: meeting.durationMinutes,
                        subject: meeting.subject.map { String(decoding: $0.utf8.prefix(400), as: UTF8.self) },
                        location: meeting.location.map { String(decoding: $0.utf8.prefix(400), as: UTF8.self) },
                        joinURL: reading.joinURL(of: meeting).flatMap { parts.settings.joinHosts.allows($0) ? $0 : nil }
                    ))
                series[meeting.id] = meeting.seriesID
            }
        }
        entries.sort { ($0.start, $0.id) < ($1.start, $1.id) }
        entries = Array(entries.prefix(100))
        for place in entries.indices {
            guard let known = series[entries[place].id] else { continue }
            entries[place].spaceID = try await state.series(known, of: user.id)?.spaceID
        }
        return CalendarAnswer(to: id, .ok, meetings: entries)
    }
}

import CalendarBackend
import CalendarProtocol
import CalendarSync
import CalendarTime
import Diagnostics
import ICalendar
import LinkedService
import SecretMemory
import WireText

/// One look at all calendars of one user: what changed is read, told and noted. Everything is written under the holding of the
/// user's share; each part is whole, so that whoever goes on after a kill goes on with what is noted.
struct UserRound: Sendable {
    let parts: ConnectorParts
    let user: ConnectedUser
    let holding: ShareHolding
    /// All meetings are told again, known or not.
    var everything = false

    /// Another node has the share by now.
    struct LostShare: Error {}

    struct Outcome: Sendable, Equatable {
        var calendars = 0
        var objects = 0
        var events = 0
        /// Objects that had changed without the server's word.
        var drift = 0
        var resyncs: [String: ResyncReason] = [:]
        /// When the next reminder is due.
        var next: Timestamp?
        /// A meeting that went stands in another calendar still: all is to be told again.
        var isToBeRetold = false
    }

    /// After so many seconds without a word the core may have forgotten the user, so that all has to be told again.
    private static let memoryOfTheCore: Int64 = 20 * 86_400
    /// So many objects are read and written together.
    private static let batch = 50

    func run() async throws -> Outcome {
        let access = try parts.access(of: user)
        var last: (any Error)?
        for _ in 0...access.accounts {
            let used = access.current
            do {
                let outcome = try await run(access.backend)
                access.accepted(used)
                return outcome
            } catch let error as CalendarError where error.reason == .credentialsRefused {
                last = error
                await parts.accounts.forget(user.id)
                guard access.refused(used) else { throw error }
            }
        }
        throw last ?? DiagnosedError(.calendarUsers, fault: .configuration, "no account is configured")
    }

    private func run(_ backend: any CalendarBackend) async throws -> Outcome {
        let state = try await parts.state()
        if !everything, let told = try await state.user(user.id)?.toldAt,
            parts.now().seconds - told.seconds > Self.memoryOfTheCore
        {
            var whole = self
            whole.everything = true
            return try await whole.run(backend)
        }
        let sealer = MeetingSealer(users: parts.users.list, digestKey: state.key)
        let account = try await parts.accounts.account(of: user, at: backend, now: parts.now())
        var counter = try await begin(state)
        var outcome = Outcome()
        try parts.settings.bounds.check(calendars: account.calendars.count)
        let known = try await state.calendars(of: user.id)
        var present: Set<String> = []
        var problems: [String: Int] = [:]
        for information in account.calendars where information.holdsEvents {
            let id = state.name(information.reference.href.text)
            present.insert(id)
            outcome.calendars += 1
            let work = CalendarWork(
                round: self, backend: backend, state: state, sealer: sealer,
                reader: parts.reader(meetingUser(account, information, id)), information: information, id: id)
            try await work.run(known[id], &counter, &outcome, &problems)
        }
        // Calendars that are gone take their meetings with them.
        for (id, calendar) in known where !present.contains(id) {
            try await forget(id, calendar, state, sealer, &counter, &outcome)
        }
        let reader = OutOfOffice(user: parts.meetingUser(user, account), zones: .system)
        try await end(state, backend, account, reader, outcome, problems, &counter)
        outcome.next = counter.reminders.first.map { Timestamp(seconds: $0.at) }
        return outcome
    }

    /// Whose meetings they are: those of another owner's calendar are others than the user's own, also of the same UID.
    func meetingUser(_ account: CalendarAccount, _ information: CalendarInformation, _ id: String) -> MeetingUser {
        let own = parts.meetingUser(user, account)
        guard let owner = information.owner, owner != account.principal else { return own }
        return MeetingUser(id: "\(user.id)\n\(id)", addresses: own.addresses.map(\.text), zone: own.zone)
    }

    /// The user's state, with a resource and a key at the KMS.
    func begin(_ state: SealedState) async throws -> UserState {
        var counter = try await state.user(user.id) ?? UserState()
        let present = parts.now()
        let isDue = counter.renewKey.map { $0 <= present } ?? false
        guard counter.resource == nil || counter.keyURI == nil || isDue else { return counter }
        let key: CalendarKeys.Made
        if let resource = counter.resource {
            key = try await parts.keys.makeKey(in: resource)
        } else {
            (counter.resource, key) = try await parts.keys.makeCalendar(for: user.id)
            counter.since = present
        }
        counter.formerKeyURI = counter.keyURI
        counter.keyURI = key.uri
        counter.renewKey = key.renew
        let event = try state.append(
            .status(userID: user.id, counter.state, code: nil, since: counter.since, keyURI: key.uri), of: user.id,
            &counter)
        try await commit([event, try state.put(counter, of: user.id)])
        return counter
    }

    func commit(_ changes: [DocumentChange]) async throws {
        // Without the consent nothing is stored either; it was asked for a moment ago, and is known.
        _ = try await parts.consent.sealingKey()
        guard try await parts.store.write(changes, under: holding) else { throw LostShare() }
        if changes.contains(where: { $0.place.kind == .event && $0.isPut }) { parts.outbox.raise(holding.share) }
    }

    private func forget(
        _ id: String, _ calendar: CalendarState, _ state: SealedState, _ sealer: MeetingSealer,
        _ counter: inout UserState, _ outcome: inout Outcome
    ) async throws {
        var changes: [DocumentChange] = []
        let holders = try await holders(state)
        for (name, object) in try await state.objects(of: user.id) where object.calendar == id {
            changes += try gone(name, object, state, holders, &counter, &outcome)
        }
        changes.append(.remove(DocumentPlace(owner: user.id, kind: .calendar, id: id)))
        outcome.events += changes.count { $0.place.kind == .event }
        changes.append(try state.put(counter, of: user.id))
        try await commit(changes)
    }

    /// An object that is there no more.
    func gone(
        _ name: String, _ object: ObjectState, _ state: SealedState, _ holders: Holders, _ counter: inout UserState,
        _ outcome: inout Outcome
    ) throws -> [DocumentChange] {
        var changes: [DocumentChange] = [.remove(DocumentPlace(owner: user.id, kind: .object, id: name))]
        counter.resize(from: object.octets.count, to: nil)
        for meeting in object.meetings.keys.sorted() {
            guard !holders.hasAnother(meeting, besides: name) else {
                outcome.isToBeRetold = true
                continue
            }
            let revision = counter.next(parts.now())
            changes.append(
                try state.append(
                    .deleted(userID: user.id, meetingID: meeting, revision: revision, .removed), of: user.id, &counter))
        }
        return changes
    }

    /// In which objects each meeting stands: the same UID may be in several calendars of one user.
    struct Holders: Sendable {
        var names: [String: Set<String>] = [:]

        func hasAnother(_ meeting: String, besides name: String) -> Bool {
            names[meeting]?.contains { $0 != name } ?? false
        }
    }

    /// Read only where there are several calendars.
    func holders(_ state: SealedState) async throws -> Holders {
        guard try await state.calendars(of: user.id).count > 1 else { return Holders() }
        var holders = Holders()
        for (name, object) in try await state.objects(of: user.id) {
            for meeting in object.meetings.keys { holders.names[meeting, default: []].insert(name) }
        }
        return holders
    }

    private func end(
        _ state: SealedState, _ backend: any CalendarBackend, _ account: CalendarAccount, _ reader: OutOfOffice,
        _ outcome: Outcome, _ problems: [String: Int], _ counter: inout UserState
    ) async throws {
        var changes: [DocumentChange] = []
        let present = parts.now()
        // What stands in the calendars may have been read in an earlier round, so absences are looked for after any change,
        // and when time has passed.
        let isDue =
            outcome.events + outcome.objects > 0
            || counter.lastRound.map { present.seconds / 3600 != $0.seconds / 3600 } ?? true
        let objects = isDue ? try await state.objects(of: user.id) : [:]
        if isDue {
            counter.objects = objects.count
            counter.octets = objects.values.reduce(0) { $0 + $1.octets.count }
            counter.reminders = reminders(objects, state, account)
            var absence = try await absence(objects, backend, account, reader)
            if let found = absence, found.to < present { absence = nil }
            if absence != counter.absence || everything && absence != nil {
                counter.absence = absence
                changes.append(try state.append(.absence(userID: user.id, absence), of: user.id, &counter))
            }
        }
        changes += try remind(state, &counter)
        if !problems.isEmpty || outcome.objects > 0 { counter.problems = problems }
        if counter.state != .ok {
            counter.state = .ok
            (counter.code, counter.trouble, counter.fix) = (nil, nil, nil)
            counter.since = present
            changes.append(
                try state.append(
                    .status(userID: user.id, .ok, code: nil, since: present, keyURI: counter.keyURI), of: user.id,
                    &counter))
            counter.toldAt = present
        } else if counter.isSilent(at: present) {
            // The core forgets those of whom it has heard nothing for long.
            changes.append(
                try state.append(
                    .status(userID: user.id, .ok, code: nil, since: counter.since, keyURI: counter.keyURI),
                    of: user.id, &counter))
            counter.toldAt = present
        }
        // A quiet round writes nothing but once in five minutes.
        let isNews = !changes.isEmpty || outcome.objects > 0
        guard isNews || counter.lastRound.map({ present.seconds - $0.seconds >= 300 }) ?? true else { return }
        counter.lastRound = present
        changes.append(try state.put(counter, of: user.id))
        try await commit(changes)
    }

    /// The absence that is, or the next one in the window.
    private func absence(
        _ objects: [String: ObjectState], _ backend: any CalendarBackend, _ account: CalendarAccount,
        _ reader: OutOfOffice
    ) async throws -> CalendarEvent.Absence? {
        var documents: [CalendarDocument] = []
        for object in objects.values where !object.octets.isEmpty {
            if let document = try? CalendarDocument(parsing: object.octets) { documents.append(document) }
        }
        if backend.abilities.contains(.availability),
            let octets = try? await backend.availability(of: account),
            let document = try? CalendarDocument(parsing: octets)
        {
            documents.append(document)
        }
        let now = Instant(seconds: Int(parts.now().seconds))
        let found = reader.absences(in: documents, window: parts.window()).absences.first { $0.end > now }
        return found.map {
            .init(from: Timestamp(seconds: Int64($0.start.seconds)), to: Timestamp(seconds: Int64($0.end.seconds)))
        }
    }
}

extension UserRound {
    /// The round of one calendar.
    struct CalendarWork: Sendable {
        let round: UserRound
        let backend: any CalendarBackend
        let state: SealedState
        let sealer: MeetingSealer
        let reader: MeetingReader
        let information: CalendarInformation
        let id: String

        private var user: String { round.user.id }
        private var reference: CalendarReference { information.reference }
        private var parts: ConnectorParts { round.parts }

        var changes: MeetingChanges {
            MeetingChanges(
                user: round.user, state: state, sealer: sealer, keys: parts.keys, joinHosts: parts.settings.joinHosts,
                videoHosts: parts.settings.videoHosts, now: parts.now)
        }

        func run(
            _ known: CalendarState?, _ counter: inout UserState, _ outcome: inout Outcome,
            _ problems: inout [String: Int]
        ) async throws {
            let window = parts.window()
            let present = parts.now()
            var calendar =
                known
                ?? CalendarState(
                    href: reference.href.text, name: information.name, token: nil,
                    windowStart: window.lowerBound.seconds, windowEnd: window.upperBound.seconds, auditedAt: present)
            let before = Instant(seconds: calendar.windowStart)..<Instant(seconds: calendar.windowEnd)
            // Time goes on: once an hour all that is known is read anew for the window as it is now.
            let rolls = known == nil || round.everything || window.lowerBound.seconds - calendar.windowStart >= 3600
            let isDue = present.seconds - calendar.auditedAt.seconds >= parts.settings.auditSeconds
            var asked = try await asked(calendar.token.map { SyncToken($0) }, isDue, &outcome)
            var isDrifting = false
            if let token = asked.token, known != nil, !asked.isWhole, backend.abilities.contains(.versions) {
                isDrifting = try await sample(token, &asked, &outcome)
            }
            let objects: [String: ObjectState]
            if rolls || asked.isWhole || isDue {
                objects = try await state.objects(of: user).filter { $0.value.calendar == id }
                parts.settings.samples.draw(user, id, from: objects.values.map(\.href), now: present)
            } else {
                objects = [:]
            }
            var changed = asked.changed
            try parts.settings.bounds.check(objects: changed.count)
            if asked.isWhole {
                // Everything was listed: what is the same needs no reading, and what is missing is gone.
                let listed = Set(changed.map { state.name($0.href.text) })
                let gone = objects.filter { !listed.contains($0.key) }
                if let told = asked.told { count(changed, gone.values, told, objects, &outcome) }
                asked.removed += gone.values.map { CalendarHref($0.href) }
                changed.removeAll { member in
                    guard let etag = member.etag, let object = objects[state.name(member.href.text)] else {
                        return false
                    }
                    return object.etag == etag.text
                }
            }
            var context = Context(
                counter: counter, window: window, before: before, problems: problems, outcome: outcome)
            try await remove(asked.removed, &context)
            try await read(changed, objects, &context)
            if rolls {
                let fresh = Set(changed.map { state.name($0.href.text) } + asked.removed.map { state.name($0.text) })
                try await roll(objects.filter { !fresh.contains($0.key) }, &context)
                calendar.windowStart = window.lowerBound.seconds
                calendar.windowEnd = window.upperBound.seconds
            }
            (counter, problems, outcome) = (context.counter, context.problems, context.outcome)
            if isDue || known == nil { calendar.auditedAt = present }
            // What one object shows may be so of others: all are compared next.
            // At most once an hour, for some servers never say the same twice.
            if isDrifting, present.seconds - calendar.auditedAt.seconds >= 3600 {
                calendar.auditedAt = Timestamp(milliseconds: 0)
            }
            calendar.token = asked.token?.text
            calendar.name = information.name
            if calendar != known { try await round.commit([try state.put(calendar, id, of: user)]) }
        }

        private struct Asked {
            var changed: [CalendarMember]
            var removed: [CalendarHref]
            var token: SyncToken?
            /// `changed` has all members.
            var isWhole: Bool
            /// Of an audit: what the server had told by itself; nil when this is none.
            var told: Set<CalendarHref>?
        }

        private struct Context {
            var counter: UserState
            let window: Range<Instant>
            /// In which its stored meetings were read.
            let before: Range<Instant>
            var problems: [String: Int]
            var outcome: Outcome
            var series: [String: SeriesState] = [:]
        }

        private func asked(
            _ token: SyncToken?, _ isDue: Bool, _ outcome: inout Outcome
        ) async throws -> Asked {
            switch try await backend.changes(in: reference, since: token) {
            case .changes(let changes):
                if isDue, token != nil {
                    // Some servers forget to tell: all ETags are compared, by another way.
                    let members = try await backend.members(of: reference)
                    return Asked(
                        changed: members, removed: changes.removed, token: changes.token, isWhole: true,
                        told: Set(changes.changed.map(\.href) + changes.removed))
                }
                return Asked(
                    changed: changes.changed, removed: changes.removed, token: changes.token, isWhole: token == nil)
            case .fullResyncNeeded(let reason):
                outcome.resyncs[id] = reason
                guard token != nil else {
                    // There is no such thing as a token: all ETags are read, each round.
                    return Asked(
                        changed: try await backend.members(of: reference), removed: [], token: nil, isWhole: true)
                }
                switch try await backend.changes(in: reference, since: nil) {
                case .changes(let changes):
                    return Asked(
                        changed: changes.changed, removed: changes.removed, token: changes.token, isWhole: true)
                case .fullResyncNeeded:
                    return Asked(
                        changed: try await backend.members(of: reference), removed: [], token: nil, isWhole: true)
                }
            }
        }

        /// Compares the versions of a few objects with those that are known; what differs is read with what changed. True when the
        /// server had not told it.
        private func sample(
            _ token: SyncToken, _ asked: inout Asked, _ outcome: inout Outcome
        ) async throws -> Bool {
            let told = Set(asked.changed.map(\.href) + asked.removed)
            let hrefs = parts.settings.samples.next(user, id, now: parts.now()).filter { !told.contains($0) }
            guard !hrefs.isEmpty else { return false }
            let versions = try await backend.versions(of: hrefs, in: reference)
            var changed: [CalendarMember] = []
            for member in versions.found {
                guard let etag = member.etag,
                    let object = try await state.object(state.name(member.href.text), of: user)
                else { continue }
                if let known = object.etag, known != etag.text { changed.append(member) }
            }
            var gone: [CalendarHref] = []
            for href in versions.missing where try await state.object(state.name(href.text), of: user) != nil {
                gone.append(href)
            }
            guard !changed.isEmpty || !gone.isEmpty else { return false }
            // It may have changed a moment ago: then the server tells it now.
            guard case .changes(let since) = try await backend.changes(in: reference, since: token) else {
                return false
            }
            let late = Set(since.changed.map(\.href) + since.removed)
            changed.removeAll { late.contains($0.href) }
            gone.removeAll { late.contains($0) }
            asked.changed += since.changed + changed
            asked.removed += since.removed + gone
            asked.token = since.token ?? asked.token
            let count = changed.count + gone.count
            guard count > 0 else { return false }
            outcome.drift += count
            parts.instruments.drift("found", count)
            parts.instruments.drift("repaired", count)
            return true
        }

        /// What the audit found that the server had not told.
        private func count(
            _ members: [CalendarMember], _ gone: some Collection<ObjectState>, _ told: Set<CalendarHref>,
            _ objects: [String: ObjectState], _ outcome: inout Outcome
        ) {
            let differing = members.count { member in
                !told.contains(member.href)
                    && member.etag.map { $0.text != objects[state.name(member.href.text)]?.etag } ?? false
            }
            let missing = gone.count { !told.contains(CalendarHref($0.href)) }
            guard differing + missing > 0 else { return }
            outcome.drift += differing + missing
            parts.instruments.drift("found", differing + missing)
            parts.instruments.drift("repaired", differing + missing)
        }

        private func remove(_ hrefs: [CalendarHref], _ context: inout Context) async throws {
            var holders: Holders?
            for href in hrefs {
                let name = state.name(href.text)
                guard let object = try await state.object(name, of: user) else { continue }
                if holders == nil { holders = try await round.holders(state) }
                var changes = try round.gone(
                    name, object, state, holders ?? .init(), &context.counter, &context.outcome)
                context.outcome.objects += 1
                context.outcome.events += changes.count - 1
                changes.append(try state.put(context.counter, of: user))
                try await round.commit(changes)
            }
        }

        private func read(
            _ members: [CalendarMember], _ objects: [String: ObjectState], _ context: inout Context
        ) async throws {
            var rest = members[...]
            while !rest.isEmpty {
                try Task.checkCancellation()
                try parts.settings.bounds.check(objects: context.counter.objects, octets: context.counter.octets)
                let batch = rest.prefix(UserRound.batch)
                rest = rest.dropFirst(batch.count)
                let answer = try await backend.objects(batch.map(\.href), in: reference)
                var documents: [DocumentChange] = []
                for object in answer.found {
                    try Task.checkCancellation()
                    // One hostile object may have a thousand meetings.
                    if documents.count >= 200 {
                        context.outcome.events += documents.count { $0.place.kind == .event && $0.isPut }
                        documents.append(try state.put(context.counter, of: user))
                        try await round.commit(documents)
                        documents = []
                    }
                    let name = state.name(object.href.text)
                    let known: ObjectState?
                    if let object = objects[name] {
                        known = object
                    } else {
                        known = try await state.object(name, of: user)
                    }
                    documents += try await take(object, name, known, &context)
                }
                for href in answer.missing {
                    let name = state.name(href.text)
                    guard let known = try await state.object(name, of: user) else { continue }
                    documents += try round.gone(
                        name, known, state, try await round.holders(state), &context.counter, &context.outcome)
                }
                context.outcome.events += documents.count { $0.place.kind == .event && $0.isPut }
                context.outcome.objects += batch.count
                documents.append(try state.put(context.counter, of: user))
                try await round.commit(documents)
            }
        }

        private func take(
            _ object: CalendarObject, _ name: String, _ known: ObjectState?, _ context: inout Context
        ) async throws -> [DocumentChange] {
            // Before is what the core was told, wherever in both windows.
            let span =
                min(
                    context.before.lowerBound, context.window.lowerBound)..<max(
                    context.before.upperBound, context.window.upperBound)
            let old = known.map { known in
                var old = ObjectReading(known.octets, etag: known.etag ?? "", window: span, reader: reader)
                old.meetings.removeAll { known.meetings[$0.id] == nil }
                return old
            }
            let new = ObjectReading(
                object.octets, etag: object.etag?.text ?? "", window: context.window, reader: reader)
            var fresh =
                known ?? ObjectState(calendar: id, href: object.href.text, etag: nil, octets: [], meetings: [:])
            var changes = try await changes.tell(
                from: old ?? ObjectReading(), to: new, window: context.window, object: &fresh, user: &context.counter,
                series: &context.series, everything: round.everything)
            for problem in new.problems { context.problems[problem.code.rawValue, default: 0] += 1 }
            fresh.etag = object.etag?.text
            fresh.octets = new.isOver ? [] : object.octets
            context.counter.resize(from: known?.octets.count, to: fresh.octets.count)
            changes.append(try state.put(fresh, name, of: user))
            return changes
        }

        /// The window moved: what came into it is told, without asking the server.
        private func roll(_ objects: [String: ObjectState], _ context: inout Context) async throws {
            var documents: [DocumentChange] = []
            for (name, known) in objects.sorted(by: { $0.key < $1.key }) where !known.octets.isEmpty {
                let old = ObjectReading(known.octets, etag: known.etag ?? "", window: context.before, reader: reader)
                let new = ObjectReading(known.octets, etag: known.etag ?? "", window: context.window, reader: reader)
                var fresh = known
                let changes = try await changes.tell(
                    from: old, to: new, window: context.window, object: &fresh, user: &context.counter,
                    series: &context.series, everything: round.everything)
                if new.isOver { fresh.octets = [] }
                guard fresh != known else { continue }
                documents += changes
                documents.append(try state.put(fresh, name, of: user))
                guard documents.count >= 200 else { continue }
                context.outcome.events += documents.count { $0.place.kind == .event }
                documents.append(try state.put(context.counter, of: user))
                try await round.commit(documents)
                documents = []
            }
            guard !documents.isEmpty else { return }
            context.outcome.events += documents.count { $0.place.kind == .event }
            documents.append(try state.put(context.counter, of: user))
            try await round.commit(documents)
        }

        /// One object that was just written, read and told at once.
        func refresh(_ href: CalendarHref, isOurs: Bool = false, _ counter: inout UserState) async throws
            -> ObjectState?
        {
            let window = parts.window()
            let name = state.name(href.text)
            let known = try await state.object(name, of: user)
            let calendar = try await state.calendars(of: user)[id]
            let before =
                calendar.map { Instant(seconds: $0.windowStart)..<Instant(seconds: $0.windowEnd) } ?? window
            var context = Context(
                counter: counter, window: window, before: before, problems: [:], outcome: Outcome())
            guard let object = try await backend.object(href, in: reference) else {
                guard let known else { return nil }
                var documents = try round.gone(
                    name, known, state, try await round.holders(state), &context.counter, &context.outcome)
                documents.append(try state.put(context.counter, of: user))
                try await round.commit(documents)
                counter = context.counter
                return nil
            }
            var start = known
            if isOurs {
                start = known ?? ObjectState(calendar: id, href: href.text, etag: nil, octets: [], meetings: [:])
                start?.isOurs = true
            }
            var documents = try await take(object, name, start, &context)
            documents.append(try state.put(context.counter, of: user))
            try await round.commit(documents)
            counter = context.counter
            return try await state.object(name, of: user)
        }
    }
}

extension DocumentChange {
    var isPut: Bool { if case .put = self { true } else { false } }
}

import Diagnostics
import ICalendar
import Synchronization
import WireText

/// Calendars in memory: a whole server for tests and drills, that keeps every rule of `CalendarBackend`.
///
/// Any thread. It looks into objects no further than their UID and plain times: a series counts as if it went on for
/// ever, a local time is taken for one up to fourteen hours around, and it can not expand.
package final class MemoryCalendarBackend: CalendarBackend {
    struct Object {
        var octets: [UInt8]
        var version: Int
        /// Parts of an answer of an attendee change it without an edit of the organiser's.
        var uid: String?
    }

    struct Calendar {
        var name: String
        var rights: CalendarRights
        var objects: [CalendarHref: Object] = [:]
        /// What happened, oldest first; the count of all before it is its token.
        var log: [CalendarHref] = []
        var forgotten = 0
        var limit = Int.max
    }

    private struct State {
        var accounts: [CalendarUser: [CalendarHref]] = [:]
        var refused: Set<CalendarUser> = []
        var calendars: [CalendarHref: Calendar] = [:]
        var availability: [CalendarUser: [UInt8]] = [:]
        var lastVersion = 0
        var lastName = 0
        var isClosed = false
        var listeners: [Int: AsyncStream<String>.Continuation] = [:]
        var lastListener = 0

        /// Tells who may read the calendar, that something changed in it.
        func tell(of calendar: CalendarHref) {
            for (user, calendars) in accounts where calendars.contains(calendar) {
                for listener in listeners.values { listener.yield(user.id) }
            }
        }
    }

    package let abilities: Set<CalendarAbility> = [
        .freeBusy, .freeBusyOfOthers, .availability, .notifications, .versions,
    ]
    private let state = Mutex(State())

    package init() {}

    // MARK: - What an administrator and other programs do

    package func add(_ user: CalendarUser) {
        state.withLock { $0.accounts[user, default: []] += [] }
    }

    package func addCalendar(
        _ name: String, of user: CalendarUser, rights: CalendarRights = .all
    ) -> CalendarReference {
        let href = CalendarHref("/\(user.id)/\(name)/")
        state.withLock { state in
            state.accounts[user, default: []].append(href)
            state.calendars[href] = Calendar(name: name, rights: rights)
        }
        return CalendarReference(user: user, href: href)
    }

    /// From now on the user's credentials are not taken, or are again.
    package func refuse(_ user: CalendarUser, _ isRefused: Bool = true) {
        state.withLock { state in
            if isRefused { state.refused.insert(user) } else { state.refused.remove(user) }
        }
    }

    /// No calendar of the server takes more objects than that.
    package func setLimit(_ count: Int, of calendar: CalendarReference) {
        state.withLock { $0.calendars[calendar.href]?.limit = count }
    }

    package func setAvailability(_ octets: [UInt8]?, of user: CalendarUser) {
        state.withLock { $0.availability[user] = octets }
    }

    /// All tokens that were given are unknown from now on.
    package func forgetTokens(of calendar: CalendarReference) {
        state.withLock { state in
            let count = state.calendars[calendar.href]?.log.count ?? 0
            state.calendars[calendar.href]?.forgotten = count + 1
            state.calendars[calendar.href]?.log.append(CalendarHref(""))
        }
    }

    /// What the server does by itself, such as an attendee's answer that arrives; nil deletes.
    package func change(
        _ href: CalendarHref, in calendar: CalendarReference, _ edit: ([UInt8]) -> [UInt8]?
    ) {
        state.withLock { state in
            guard let before = state.calendars[calendar.href]?.objects[href] else { return }
            state.lastVersion += 1
            state.calendars[calendar.href]?.objects[href] = edit(before.octets).map {
                Object(octets: $0, version: state.lastVersion, uid: PlainTimes.uid(of: $0))
            }
            state.calendars[calendar.href]?.log.append(href)
            state.tell(of: calendar.href)
        }
    }

    /// All streams of notices end, as those of a server that restarts.
    package func endNotices() {
        let listeners = state.withLock { Array($0.listeners.values) }
        for listener in listeners { listener.finish() }
    }

    // MARK: - CalendarBackend

    package func discover(_ user: CalendarUser) async throws -> CalendarAccount {
        try state.withLock { state in
            try Self.admit(user, state)
            guard let hrefs = state.accounts[user] else { throw CalendarError.notFound("the user") }
            let calendars = hrefs.compactMap { href -> CalendarInformation? in
                guard let calendar = state.calendars[href] else { return nil }
                return CalendarInformation(
                    reference: CalendarReference(user: user, href: href), name: calendar.name, components: ["VEVENT"],
                    ctag: String(calendar.log.count), token: Self.token(calendar.log.count), rights: calendar.rights,
                    owner: Self.principal(user))
            }
            return CalendarAccount(
                user: user, principal: Self.principal(user), calendars: calendars,
                addresses: ["mailto:\(user.address)"])
        }
    }

    package func changes(in reference: CalendarReference, since token: SyncToken?) async throws -> SyncOutcome {
        try within(reference) { state, calendar in
            let new = Self.token(calendar.log.count)
            guard let token else {
                return .changes(CalendarChanges(changed: Self.members(calendar), token: new))
            }
            guard let since = Self.count(token), (calendar.forgotten...calendar.log.count).contains(since) else {
                return .fullResyncNeeded(.tokenRefused)
            }
            var changes = CalendarChanges(token: new)
            for href in Set(calendar.log[since...]) where !href.text.isEmpty {
                if let object = calendar.objects[href] {
                    changes.changed.append(CalendarMember(href: href, etag: Self.etag(object)))
                } else {
                    changes.removed.append(href)
                }
            }
            return .changes(changes)
        }
    }

    package func members(of calendar: CalendarReference) async throws -> [CalendarMember] {
        try within(calendar) { _, calendar in Self.members(calendar) }
    }

    package func versions(of hrefs: [CalendarHref], in calendar: CalendarReference) async throws -> CalendarVersions {
        try within(calendar) { _, calendar in
            var versions = CalendarVersions()
            for href in hrefs {
                if let object = calendar.objects[href] {
                    versions.found.append(CalendarMember(href: href, etag: Self.etag(object)))
                } else {
                    versions.missing.append(href)
                }
            }
            return versions
        }
    }

    package func objects(_ hrefs: [CalendarHref], in calendar: CalendarReference) async throws -> CalendarObjects {
        try within(calendar) { _, calendar in
            var asked: Set<CalendarHref> = []
            var answer = CalendarObjects()
            for href in hrefs where asked.insert(href).inserted {
                if let object = calendar.objects[href] {
                    answer.found.append(Self.object(href, object))
                } else {
                    answer.missing.append(href)
                }
            }
            return answer
        }
    }

    package func object(_ href: CalendarHref, in calendar: CalendarReference) async throws -> CalendarObject? {
        try within(calendar) { _, calendar in calendar.objects[href].map { Self.object(href, $0) } }
    }

    package func objects(
        in calendar: CalendarReference, during time: CalendarInterval, expanded: Bool
    ) async throws -> [CalendarObject] {
        guard !expanded else { throw CalendarError.unsupported("expansion of series") }
        return try within(calendar) { _, calendar in
            calendar.objects.filter { PlainTimes.mayTouch(time, $0.value.octets) }.map(Self.object)
                .sorted { $0.href.text < $1.href.text }
        }
    }

    package func put(
        _ octets: [UInt8], at href: CalendarHref, in reference: CalendarReference, _ condition: WriteCondition
    ) async throws -> WriteOutcome {
        try within(reference) { state, calendar in
            let present = calendar.objects[href]
            switch condition {
            case .create:
                guard calendar.rights.contains(.add) else { throw CalendarError.forbidden("no right to add") }
                guard present == nil else { return .conflict }
            case .match(let etag):
                guard etag.isStrong else { throw CalendarError.weakETag }
                guard calendar.rights.contains(.write) else { throw CalendarError.forbidden("no right to write") }
                guard let present, Self.etag(present) == etag else { return .conflict }
            }
            guard let uid = PlainTimes.uid(of: octets) else { throw CalendarError.objectRefused("no UID") }
            if let other = calendar.objects.first(where: { $0.key != href && $0.value.uid == uid }) {
                return .uidInUse(other.key)
            }
            guard present != nil || calendar.objects.count < calendar.limit else { throw CalendarError.quotaExceeded }
            state.lastVersion += 1
            calendar.objects[href] = Object(octets: octets, version: state.lastVersion, uid: uid)
            calendar.log.append(href)
            state.tell(of: reference.href)
            return .written
        }
    }

    package func delete(
        _ href: CalendarHref, in reference: CalendarReference, ifMatch etag: ETag
    ) async throws -> RemovalOutcome {
        try within(reference) { state, calendar in
            guard etag.isStrong else { throw CalendarError.weakETag }
            guard calendar.rights.contains(.remove) else { throw CalendarError.forbidden("no right to remove") }
            guard let present = calendar.objects[href] else { return .absent }
            guard Self.etag(present) == etag else { return .conflict }
            calendar.objects[href] = nil
            calendar.log.append(href)
            state.tell(of: reference.href)
            return .deleted
        }
    }

    package func freeBusy(of calendar: CalendarReference, during time: CalendarInterval) async throws -> [BusyPeriod] {
        try within(calendar) { _, calendar in
            calendar.objects.values.flatMap { PlainTimes.busy($0.octets) }.filter { $0.time.overlaps(time) }
                .sorted { ($0.time.start, $0.time.end) < ($1.time.start, $1.time.end) }
        }
    }

    package func freeBusy(
        of addresses: [String], asking account: CalendarAccount, during time: CalendarInterval
    ) async throws -> [String: [BusyPeriod]] {
        try state.withLock { state in
            try Self.admit(account.user, state)
            var told: [String: [BusyPeriod]] = [:]
            for address in addresses {
                guard
                    let hrefs = state.accounts.first(where: { $0.key.address.lowercased() == address.lowercased() })?
                        .value
                else { continue }
                told[address] = hrefs.compactMap { state.calendars[$0] }.flatMap { $0.objects.values }
                    .flatMap { PlainTimes.busy($0.octets) }.filter { $0.time.overlaps(time) }
                    .sorted { ($0.time.start, $0.time.end) < ($1.time.start, $1.time.end) }
            }
            return told
        }
    }

    package func availability(of account: CalendarAccount) async throws -> [UInt8]? {
        try state.withLock { state in
            try Self.admit(account.user, state)
            return state.availability[account.user]
        }
    }

    package func watch(
        _ accounts: [CalendarAccount], began: @escaping @Sendable ([String]) -> Void,
        changed: @escaping @Sendable (String) -> Void
    ) async throws {
        let ids = Set(accounts.prefix(mostWatched).map(\.user.id))
        let (notices, listener) = AsyncStream.makeStream(of: String.self, bufferingPolicy: .bufferingNewest(1024))
        let number = try state.withLock { state in
            for account in accounts { try Self.admit(account.user, state) }
            state.lastListener += 1
            state.listeners[state.lastListener] = listener
            return state.lastListener
        }
        defer { _ = state.withLock { $0.listeners.removeValue(forKey: number) } }
        began(ids.sorted())
        for await id in notices where ids.contains(id) { changed(id) }
        try Task.checkCancellation()
        throw CalendarError.serverAway("the stream of notices ended")
    }

    package func newHref(in calendar: CalendarReference) -> CalendarHref {
        CalendarHref(calendar.href.text + UUIDText.random() + ".ics")
    }

    package func close() async {
        state.withLock { $0.isClosed = true }
        endNotices()
    }

    // MARK: - Helpers

    private func within<Value>(
        _ reference: CalendarReference, _ body: (inout State, inout Calendar) throws -> Value
    ) throws -> Value {
        try state.withLock { state in
            try Self.admit(reference.user, state)
            guard var calendar = state.calendars[reference.href] else { throw CalendarError.notFound("the calendar") }
            guard state.accounts[reference.user]?.contains(reference.href) == true,
                calendar.rights.contains(.read)
            else { throw CalendarError.forbidden("no right to read") }
            let value = try body(&state, &calendar)
            state.calendars[reference.href] = calendar
            return value
        }
    }

    private static func admit(_ user: CalendarUser, _ state: State) throws {
        guard !state.isClosed else { throw CalendarError.serverAway("the backend was closed") }
        guard !state.refused.contains(user) else { throw CalendarError.credentialsRefused("status 401") }
    }

    private static let tokenPrefix = "memory:sync/"
    private static func token(_ count: Int) -> SyncToken { SyncToken("\(tokenPrefix)\(count)") }
    private static func count(_ token: SyncToken) -> Int? {
        token.text.hasPrefix(tokenPrefix) ? Int(token.text.dropFirst(tokenPrefix.count)) : nil
    }

    private static func principal(_ user: CalendarUser) -> CalendarHref { CalendarHref("/principals/\(user.id)/") }
    private static func etag(_ object: Object) -> ETag { ETag("\"\(object.version)\"") }
    private static func object(_ href: CalendarHref, _ object: Object) -> CalendarObject {
        CalendarObject(href: href, etag: etag(object), octets: object.octets)
    }
    private static func members(_ calendar: Calendar) -> [CalendarMember] {
        calendar.objects.map { CalendarMember(href: $0.key, etag: etag($0.value)) }
    }
}

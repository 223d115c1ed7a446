/// Calendars of many users on one server, as the connector needs them: CalDAV, or what speaks for another system.
///
/// Any thread. The unit is the object: a href, an ETag and octets, which no implementation reads for their meaning. All
/// methods throw `CalendarError`, or `CancellationError`; each may be called again, but for a `put` or a `delete` whose
/// answer was lost: read the object first.
///
/// The way of a write is always the same, for a write from a stale copy resets an attendee's answer on real servers:
///
///     while true {
///         guard let object = try await backend.object(href, in: calendar), let etag = object.etag else { return }
///         let outcome = try await backend.put(edited(object), at: href, in: calendar, .match(etag))
///         if outcome == .written { return }          // what it is now, only a new `object(_:in:)` tells
///     }
package protocol CalendarBackend: Sendable {
    /// What this backend can do beyond objects; asking for the rest throws `unsupported`.
    var abilities: Set<CalendarAbility> { get }

    /// A user's calendars and what belongs to scheduling.
    func discover(_ user: CalendarUser) async throws -> CalendarAccount

    /// What changed since a token; with nil, all members.
    func changes(in calendar: CalendarReference, since token: SyncToken?) async throws -> SyncOutcome

    /// All members with their ETags, by another way than `changes`: for the audit that finds silent drift.
    func members(of calendar: CalendarReference) async throws -> [CalendarMember]

    /// The versions of a few objects, by another way than `changes`: for the sample that finds silent drift between two audits.
    /// Needs `versions`.
    func versions(of hrefs: [CalendarHref], in calendar: CalendarReference) async throws -> CalendarVersions

    /// Several objects; those that are gone are named in the answer.
    func objects(_ hrefs: [CalendarHref], in calendar: CalendarReference) async throws -> CalendarObjects

    /// One object, read afresh for an edit; nil when it is gone.
    func object(_ href: CalendarHref, in calendar: CalendarReference) async throws -> CalendarObject?

    /// Objects with an instance in a time.
    /// - Parameter expanded: instances instead of series, each with its RECURRENCE-ID; needs `expansion`.
    func objects(
        in calendar: CalendarReference, during time: CalendarInterval, expanded: Bool
    ) async throws -> [CalendarObject]

    /// Writes an object. The outcome carries no ETag on purpose: the one in the answer to a PUT of a scheduled object need
    /// not be that of the object which a server keeps.
    func put(
        _ octets: [UInt8], at href: CalendarHref, in calendar: CalendarReference, _ condition: WriteCondition
    ) async throws -> WriteOutcome

    func delete(
        _ href: CalendarHref, in calendar: CalendarReference, ifMatch etag: ETag
    ) async throws -> RemovalOutcome

    /// When a calendar's owner is busy, in order; needs `freeBusy`.
    func freeBusy(of calendar: CalendarReference, during time: CalendarInterval) async throws -> [BusyPeriod]

    /// When people are busy whose calendars the user may not read, as the server tells this user, in order, by their addresses as
    /// they were asked for; of who is missing it told nothing. At most `mostAsked` addresses. Needs `freeBusyOfOthers`.
    func freeBusy(
        of addresses: [String], asking account: CalendarAccount, during time: CalendarInterval
    ) async throws -> [String: [BusyPeriod]]

    /// The user's VAVAILABILITY (RFC 7953) as an iCalendar object; nil: none is set. Needs `availability`.
    func availability(of account: CalendarAccount) async throws -> [UInt8]?

    /// Tells of changes as the server tells them, of at most `mostWatched` users at once, for as long as a connection lasts;
    /// needs `notifications`. A notice says that something changed, never what: `changes` follows.
    ///
    /// - Parameters:
    ///   - began: ids of users from now on told of; what changed before then nobody has told.
    ///   - changed: the id of a user in whose calendars something changed.
    func watch(
        _ accounts: [CalendarAccount], began: @escaping @Sendable ([String]) -> Void,
        changed: @escaping @Sendable (String) -> Void
    ) async throws

    /// A name for a new object in a calendar that nobody uses.
    func newHref(in calendar: CalendarReference) -> CalendarHref

    /// Ends connections; calls afterwards fail.
    func close() async
}

/// What not every backend, and not every server behind it, can do.
package enum CalendarAbility: Hashable, Sendable, CaseIterable {
    case expansion
    case freeBusy
    case freeBusyOfOthers
    case availability
    case notifications
    case versions
}

/// What `versions` found.
package struct CalendarVersions: Hashable, Sendable {
    package var found: [CalendarMember] = []
    package var missing: [CalendarHref] = []

    package init() {}
}

extension CalendarBackend {
    package func versions(of hrefs: [CalendarHref], in calendar: CalendarReference) async throws -> CalendarVersions {
        throw CalendarError.unsupported("versions of single objects")
    }

    package func freeBusy(
        of addresses: [String], asking account: CalendarAccount, during time: CalendarInterval
    ) async throws -> [String: [BusyPeriod]] { throw CalendarError.unsupported("free-busy of others") }

    package func watch(
        _ accounts: [CalendarAccount], began: @escaping @Sendable ([String]) -> Void,
        changed: @escaping @Sendable (String) -> Void
    ) async throws { throw CalendarError.unsupported("notices of changes") }
}

/// The most addresses of one question for busy times of others.
package let mostAsked = 100

/// The most users of one stream of notices.
package let mostWatched = 200

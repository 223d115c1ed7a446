import Synchronization

/// A backend in front of another that fails, delays or falsifies chosen calls, for tests of what happens then.
///
/// Faults are numbered by calls from the moment they are injected: `inject(.fail(error), at: 1, of: .put)` fails the next
/// put. Each strikes once. Calls without a fault pass through unchanged. Thread-safe.
package final class FaultingCalendarBackend: CalendarBackend {
    package enum Operation: Hashable, Sendable, CaseIterable {
        case discover, changes, members, objects, put, delete, freeBusy, availability
    }

    package enum Fault: Sendable {
        /// Throws instead of doing it.
        case fail(any Error)
        /// Does it and throws: the effect is there, its answer is lost.
        case loseAnswer(any Error)
        /// Waits, then does it; the closure returns when the test lets it go.
        case delay(@Sendable () async -> Void)
        /// Somebody else is first: runs the closure, then does it.
        case overtake(@Sendable () async throws -> Void)
        /// `changes` tells none and the new token, and `members` the half: what some servers do to a token that they do
        /// not know. Others pass.
        case loseChanges
        /// What is read has no ETag.
        case withoutETags
        /// What is read comes twice in an answer.
        case twice
    }

    private struct Planned {
        var remaining: Int
        var fault: Fault
    }

    private struct State {
        var calls: [Operation: Int] = [:]
        var plan: [Operation: [Planned]] = [:]
    }

    private let inner: any CalendarBackend
    private let state = Mutex(State())

    package init(_ inner: any CalendarBackend) { self.inner = inner }

    package var abilities: Set<CalendarAbility> { inner.abilities }

    package func inject(_ fault: Fault, at call: Int = 1, of operation: Operation) {
        state.withLock { $0.plan[operation, default: []].append(Planned(remaining: max(1, call), fault: fault)) }
    }

    /// How many calls of that kind came, faulted ones included.
    package func calls(of operation: Operation) -> Int { state.withLock { $0.calls[operation] ?? 0 } }

    private func fault(for operation: Operation) -> Fault? {
        state.withLock { state in
            state.calls[operation, default: 0] += 1
            var struck: Fault?
            var left: [Planned] = []
            for var planned in state.plan[operation] ?? [] {
                planned.remaining -= 1
                if planned.remaining > 0 {
                    left.append(planned)
                } else if struck == nil {
                    struck = planned.fault
                } else {
                    planned.remaining = 1
                    left.append(planned)
                }
            }
            state.plan[operation] = left
            return struck
        }
    }

    private func call<Value>(
        _ operation: Operation, _ body: () async throws -> Value,
        falsify: (Fault, Value) -> Value = { _, value in value }
    ) async throws -> Value {
        guard let fault = fault(for: operation) else { return try await body() }
        switch fault {
        case .fail(let error): throw error
        case .loseAnswer(let error):
            _ = try await body()
            throw error
        case .delay(let released):
            await released()
            return try await body()
        case .overtake(let other):
            try await other()
            return try await body()
        case .loseChanges, .withoutETags, .twice: return falsify(fault, try await body())
        }
    }

    package func discover(_ user: CalendarUser) async throws -> CalendarAccount {
        try await call(.discover) { try await inner.discover(user) }
    }

    package func changes(in calendar: CalendarReference, since token: SyncToken?) async throws -> SyncOutcome {
        try await call(.changes) {
            try await inner.changes(in: calendar, since: token)
        } falsify: { fault, outcome in
            guard case .changes(var changes) = outcome else { return outcome }
            switch fault {
            case .loseChanges: (changes.changed, changes.removed) = ([], [])
            case .twice:
                changes.changed += changes.changed
                changes.removed += changes.removed
            default: changes.changed = changes.changed.map(Self.withoutETag)
            }
            return .changes(changes)
        }
    }

    package func members(of calendar: CalendarReference) async throws -> [CalendarMember] {
        try await call(.members) {
            try await inner.members(of: calendar)
        } falsify: { fault, members in
            switch fault {
            case .loseChanges: Array(members.prefix(members.count / 2))
            case .twice: members + members
            default: members.map(Self.withoutETag)
            }
        }
    }

    package func objects(_ hrefs: [CalendarHref], in calendar: CalendarReference) async throws -> CalendarObjects {
        try await call(.objects) {
            try await inner.objects(hrefs, in: calendar)
        } falsify: { fault, objects in
            CalendarObjects(found: Self.falsified(objects.found, fault), missing: objects.missing)
        }
    }

    package func object(_ href: CalendarHref, in calendar: CalendarReference) async throws -> CalendarObject? {
        try await call(.objects) {
            try await inner.object(href, in: calendar)
        } falsify: { fault, object in
            object.flatMap { Self.falsified([$0], fault).first }
        }
    }

    package func objects(
        in calendar: CalendarReference, during time: CalendarInterval, expanded: Bool
    ) async throws -> [CalendarObject] {
        try await call(.objects) {
            try await inner.objects(in: calendar, during: time, expanded: expanded)
        } falsify: { fault, objects in
            Self.falsified(objects, fault)
        }
    }

    package func put(
        _ octets: [UInt8], at href: CalendarHref, in calendar: CalendarReference, _ condition: WriteCondition
    ) async throws -> WriteOutcome {
        try await call(.put) { try await inner.put(octets, at: href, in: calendar, condition) }
    }

    package func delete(
        _ href: CalendarHref, in calendar: CalendarReference, ifMatch etag: ETag
    ) async throws -> RemovalOutcome {
        try await call(.delete) { try await inner.delete(href, in: calendar, ifMatch: etag) }
    }

    package func freeBusy(of calendar: CalendarReference, during time: CalendarInterval) async throws -> [BusyPeriod] {
        try await call(.freeBusy) { try await inner.freeBusy(of: calendar, during: time) }
    }

    package func freeBusy(
        of addresses: [String], asking account: CalendarAccount, during time: CalendarInterval
    ) async throws -> [String: [BusyPeriod]] {
        try await call(.freeBusy) { try await inner.freeBusy(of: addresses, asking: account, during: time) }
    }

    package func availability(of account: CalendarAccount) async throws -> [UInt8]? {
        try await call(.availability) { try await inner.availability(of: account) }
    }

    package func newHref(in calendar: CalendarReference) -> CalendarHref { inner.newHref(in: calendar) }

    package func versions(of hrefs: [CalendarHref], in calendar: CalendarReference) async throws -> CalendarVersions {
        try await inner.versions(of: hrefs, in: calendar)
    }

    package func watch(
        _ accounts: [CalendarAccount], began: @escaping @Sendable ([String]) -> Void,
        changed: @escaping @Sendable (String) -> Void
    ) async throws { try await inner.watch(accounts, began: began, changed: changed) }

    package func close() async { await inner.close() }

    private static func withoutETag(_ member: CalendarMember) -> CalendarMember {
        CalendarMember(href: member.href, etag: nil)
    }

    private static func falsified(_ objects: [CalendarObject], _ fault: Fault) -> [CalendarObject] {
        switch fault {
        case .twice: objects + objects
        case .withoutETags: objects.map { CalendarObject(href: $0.href, etag: nil, octets: $0.octets) }
        default: objects
        }
    }
}

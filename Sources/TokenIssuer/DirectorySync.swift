package import DirectoryModel
package import Diagnostics
import ServiceLifecycle
import Synchronization
package import WireText

/// Looks at one directory again and again, and cuts off who left it.
///
/// A round comes when the time is over, or when the directory tells of a change. It asks for the directory's marker; while that is the same, nothing is read, but for a whole reading every
/// `fullEvery`. Whatever is not read to its end changes nothing. Rounds come one after the other, whoever asks for one.
/// Nothing is kept of it between starts but people: the first round after a start is a whole reading.
package final class DirectorySync: Service {
    package struct Settings: Sendable {
        package var every: Duration = .seconds(15)
        package var fullEvery: Duration = .seconds(600)
        package var limit = DirectoryComparison.Limit()

        package init() {}
    }

    package struct Standing: Sendable {
        /// When a reading, or a marker that had not changed, said last how the directory is.
        package var seen: Timestamp?
        package var read: Timestamp?
        package var marker: String?
        package var people = 0
        package var unusable = 0
        package var contested = 0
        /// Who would leave and waits for an acceptance.
        package var waiting: [Person] = []
        package var trouble: DiagnosedError?
        package var rounds = 0

        package init() {}
    }

    /// Told after each round; raises and clears alarms.
    package typealias Observer = @Sendable (_ source: String, _ standing: Standing) -> Void

    package let source: any DirectorySource
    private let service: AuthorizationService
    private let settings: Settings
    private let observer: Observer
    private let state = Mutex(Standing())
    private let accepted = Mutex<Set<String>>([])
    private let tail = Mutex<Task<Void, Never>?>(nil)

    package init(
        _ source: any DirectorySource, _ service: AuthorizationService, _ settings: Settings = Settings(),
        observer: @escaping Observer = { _, _ in }
    ) {
        (self.source, self.service, self.settings, self.observer) = (source, service, settings, observer)
    }

    package var standing: Standing { state.withLock { $0 } }

    package func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                await self.round()
                try await self.source.waitForChange(since: self.standing.marker, upTo: self.settings.every)
            }
        }
    }

    /// One round, after those that were asked for before.
    package func round() async {
        let task = tail.withLock { tail in
            let previous = tail
            let task = Task {
                await previous?.value
                await self.once()
            }
            tail = task
            return task
        }
        await task.value
    }

    /// Takes those who wait as leavers: returns how many were named, when a round has cut them off.
    package func accept() async -> Int {
        let names = Set(standing.waiting.map(\.external))
        guard !names.isEmpty else { return 0 }
        accepted.withLock { $0 = names }
        state.withLock { $0.marker = nil }
        await round()
        accepted.withLock { $0 = [] }
        return names.count
    }

    // MARK: -

    private func once() async {
        let now = service.surroundings.now()
        do {
            let marker = try await source.marker()
            let before = standing
            let isDue = before.read.map { now >= $0.adding(milliseconds: Int64(settings.fullEvery / .milliseconds(1))) }
            if let marker, marker == before.marker, isDue == false, before.trouble == nil {
                state.withLock { $0.seen = now }
                service.metrics.counter(.directoryRounds, [source.name, "unchanged"]).increment()
            } else {
                try await read(marker: marker, at: now)
                service.metrics.counter(.directoryRounds, [source.name, "read"]).increment()
            }
        } catch {
            let known =
                (error as? DiagnosedError)
                ?? DiagnosedError(.directoryStore, fault: .internal, "the directory could not be followed")
            state.withLock { $0.trouble = known }
            service.metrics.counter(.directoryRounds, [source.name, "failed"]).increment()
        }
        state.withLock { $0.rounds += 1 }
        observer(source.name, standing)
    }

    private func read(marker: String?, at now: Timestamp) async throws {
        let reading = try await source.read()
        let kept = try await service.directory.people(of: source.name)
        let file = service.accounts.ofFile
        let taken = Set(try await service.directory.people().map(\.id))
        let comparison = DirectoryComparison.compare(
            kept: kept, with: reading, of: source.name, limit: settings.limit,
            accepted: accepted.withLock { $0 },
            accounts: Set(file.users.filter { !$0.isDisabled }.map { Accounts.normalized($0.email) }), at: now,
            newID: { Self.id(of: $0, file, taken) })
        try await service.take(comparison.changes, of: source.name)
        try await service.directory.replaceGroups(of: source.name, by: reading.groups, at: now)
        // One whose leavers wait is read anew each time: their number may change.
        state.withLock { state in
            state.marker = comparison.waiting.isEmpty ? marker : nil
            (state.read, state.seen, state.trouble) = (now, now, nil)
            state.people = reading.people.count(where: { !$0.isDisabled })
            (state.unusable, state.contested) = (reading.unusable, comparison.contested)
            state.waiting = comparison.waiting
        }
        service.metrics.gauge(.directoryPeople, [source.name]).set(Double(standing.people))
        guard !comparison.changes.isEmpty else { return }
        let count = comparison.changes.count
        service.events?.record(
            .directoryRead, [.detail: "\(reviewed: source.name): \(count) changes among \(reading.people.count) people"]
        )
    }

    /// The account of the file with his address is his; else the directory's own name for him when it is a UUID that nobody
    /// has: so a lost database gives everybody the same id again.
    private static func id(of entry: DirectoryEntry, _ file: Accounts, _ taken: Set<String>) -> String {
        if let user = file.user(email: entry.email), !taken.contains(user.id) { return user.id }
        let own = entry.external.lowercased()
        return UUIDText.isValid(own) && !taken.contains(own) && file.user(id: own) == nil ? own : UUIDText.random()
    }
}

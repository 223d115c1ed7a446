import CalendarBackend
import Diagnostics
import ServiceLifecycle
import Synchronization

/// Listens to calendar systems that tell of changes, so that a change is seen within seconds; rounds go on all the same, for what
/// a notice forgets.
///
/// Users of this node whose rounds go well are listened for in streams of at most `mostWatched` users each. A stream that ends
/// leaves its users to the next look at who is listened for; what fails is tried again after a pause that doubles.
final class CalendarNotices: Service {
    private struct State {
        /// Users of each backend for whom a stream is open or being opened.
        var watched: [String: Set<String>] = [:]
        var failures: [String: Int] = [:]
        var rests: [String: ContinuousClock.Instant] = [:]
    }

    private let connector: Connector
    private let state = Mutex(State())
    private let pause: Duration

    /// - Parameter pause: between two looks at who is listened for, and the first pause after a failure.
    init(_ connector: Connector, pause: Duration = .seconds(5)) {
        self.connector = connector
        self.pause = pause
    }

    private var backends: [BackendAccess] {
        connector.parts.backends.values.filter { $0.backend.abilities.contains(.notifications) }
    }

    /// Users who are listened for now.
    func watched(on backend: String) -> Set<String> { state.withLock { $0.watched[backend] ?? [] } }

    func run() async throws {
        let backends = backends
        guard !backends.isEmpty else { return try await gracefulShutdown() }
        await cancelWhenGracefulShutdown { [self] in
            await withDiscardingTaskGroup { group in
                while !Task.isCancelled {
                    for access in backends {
                        for users in take(access.id) {
                            group.addTask { await self.listen(users, access) }
                        }
                    }
                    do { try await Task.sleep(for: pause) } catch { break }
                }
                group.cancelAll()
            }
        }
    }

    /// Groups of users for whom nobody listens yet.
    private func take(_ backend: String) -> [[ConnectedUser]] {
        let users = connector.settled(on: backend)
        return state.withLock { state in
            guard state.rests[backend].map({ $0 <= .now }) ?? true else { return [] }
            let new = users.filter { state.watched[backend]?.contains($0.id) != true }
            state.watched[backend, default: []].formUnion(new.map(\.id))
            return stride(from: 0, to: new.count, by: mostWatched).map {
                Array(new[$0..<min($0 + mostWatched, new.count)])
            }
        }
    }

    private func listen(_ users: [ConnectedUser], _ access: BackendAccess) async {
        let connector = connector
        var failure: (any Error)?
        do {
            var accounts: [CalendarAccount] = []
            for user in users {
                accounts.append(
                    try await connector.parts.accounts.account(
                        of: user, at: access.backend, now: connector.parts.now()))
            }
            try await access.backend.watch(
                accounts,
                began: { ids in
                    self.state.withLock { $0.failures[access.id] = nil }
                    // What changed before the stream stood nobody has told.
                    for id in ids { connector.noticed(id) }
                }, changed: { connector.noticed($0) })
        } catch {
            failure = error
        }
        state.withLock { state in
            for user in users { state.watched[access.id]?.remove(user.id) }
            guard let failure, !(failure is CancellationError) else { return }
            let count = state.failures[access.id, default: 0]
            state.failures[access.id] = count + 1
            var rest = min(pause * (1 << min(count, 8)), .seconds(900))
            if case .rateLimited(let wait?) = (failure as? CalendarError)?.reason { rest = max(rest, wait) }
            state.rests[access.id] = .now + rest
        }
    }
}

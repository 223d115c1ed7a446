import Diagnostics
import Dispatch
import Glibc
import KeyStore
import PostgreSQLClient
import Synchronization

/// Reads on a few connections, each with a thread of its own; what waits together travels together.
///
/// A read is one statement and a transaction of its own, so that it can be sent again on another connection when one is
/// lost: nobody notices but by the time it takes. Each read is answered, at the latest a second after its deadline.
final class ReadPool: Sendable {
    private struct Request: Sendable {
        let call: PostgreSQLCall
        let deadline: ContinuousClock.Instant
        let continuation: CheckedContinuation<PostgreSQLRows, any Error>
    }

    private struct State {
        var waiting: [Request] = []
        /// Readers without work; the one that worked last is taken first, for its connection is warm.
        var idle: [Int]
        var closed = false
        var untilIdle: [CheckedContinuation<Void, Never>] = []
    }

    private final class Reader: Sendable {
        let thread: DispatchQueue
        let connection = Mutex<PostgreSQLConnection?>(nil)
        init(_ number: Int) { thread = DispatchQueue(label: "hds.key-store.postgresql.read-\(number)") }
    }

    private let connector: StoreConnector
    private let patience: Duration
    private let readers: [Reader]
    private let state: Mutex<State>

    init(_ connector: StoreConnector, readers count: Int, patience: Duration) {
        self.connector = connector
        self.patience = patience
        readers = (0..<max(1, count)).map { Reader($0) }
        state = Mutex(State(idle: Array((0..<max(1, count)).reversed())))
    }

    /// `limit` shortens the patience for this one.
    func read(_ call: PostgreSQLCall, within limit: Duration? = nil) async throws -> PostgreSQLRows {
        try await withCheckedThrowingContinuation { continuation in
            let patience = min(limit ?? patience, patience)
            let request = Request(call: call, deadline: .now + patience, continuation: continuation)
            let (accepted, reader) = state.withLock { state -> (Bool, Int?) in
                guard !state.closed else { return (false, nil) }
                state.waiting.append(request)
                return (true, state.idle.popLast())
            }
            guard accepted else { return continuation.resume(throwing: DiagnosedError.keyStoreClosed) }
            if let reader { readers[reader].thread.async { self.work(reader) } }
        }
    }

    func close() async {
        await withCheckedContinuation { continuation in
            let isIdle = state.withLock { state in
                state.closed = true
                guard state.idle.count < readers.count else { return true }
                state.untilIdle.append(continuation)
                return false
            }
            if isIdle { continuation.resume() }
        }
        for reader in readers { reader.connection.withLock { $0 = nil } }
    }

    private func work(_ number: Int) {
        let reader = readers[number]
        while let requests = take(number) {
            reader.connection.withLock { connection in serve(requests, &connection) }
        }
    }

    /// A share of what waits, or nil, when the reader has been put back among the idle ones.
    private func take(_ number: Int) -> [Request]? {
        let (requests, ended) = state.withLock { state -> ([Request]?, [CheckedContinuation<Void, Never>]) in
            guard !state.waiting.isEmpty else {
                state.idle.append(number)
                guard state.closed, state.idle.count == readers.count else { return (nil, []) }
                defer { state.untilIdle = [] }
                return (nil, state.untilIdle)
            }
            let count = min(64, max(1, state.waiting.count / readers.count))
            let requests = Array(state.waiting.prefix(count))
            state.waiting.removeFirst(count)
            return (requests, [])
        }
        for continuation in ended { continuation.resume() }
        return requests
    }

    private func serve(_ requests: [Request], _ connection: inout PostgreSQLConnection?) {
        var open = requests
        var trouble: any Error = PostgreSQLFailure(.unreachable, "no connection")
        var pause: useconds_t = 20_000
        var isFirst = true
        while true {
            let now = isFirst ? ContinuousClock.now : connector.present
            isFirst = false
            let late = open.filter { $0.deadline <= now }
            open.removeAll { $0.deadline <= now }
            for request in late { request.continuation.resume(throwing: connector.diagnosis.diagnosed(trouble)) }
            guard let first = open.map(\.deadline).min(), let last = open.map(\.deadline).max() else { return }
            do {
                if let held = connection, !connector.isCurrent(held) { connection = nil }
                let ready = try connection ?? connector.connect(Statements.reading, until: first)
                connection = ready
                // Half of the patience, for a server that takes requests and answers none may have a healthy sibling.
                let limit = max(min(last, .now + patience / 2), .now + .seconds(1))
                let answers = try ready.run(open.map(\.call), isolated: true, until: limit)
                open = settle(open, answers, &trouble)
                guard !open.isEmpty else { return }
            } catch {
                trouble = error
                connection = nil
                guard error is PostgreSQLFailure else {
                    for request in open { request.continuation.resume(throwing: connector.diagnosis.diagnosed(error)) }
                    return
                }
            }
            usleep(pause)
            pause = min(pause * 2, 320_000)
        }
    }

    /// Resumes whom the answers are for; those that have to be asked for again remain.
    private func settle(
        _ requests: [Request], _ answers: [Result<PostgreSQLRows, PostgreSQLFailure>], _ trouble: inout any Error
    ) -> [Request] {
        var again: [Request] = []
        for (request, answer) in zip(requests, answers) {
            switch answer {
            case .success(let rows): request.continuation.resume(returning: rows)
            case .failure(let failure) where failure.isHeld:
                trouble = failure
                again.append(request)
            case .failure(let failure):
                connector.note(failure)
                request.continuation.resume(throwing: connector.diagnosis.diagnosed(failure))
            }
        }
        return again
    }
}

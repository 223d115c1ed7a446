import Dispatch
import Diagnostics
import Glibc
import Synchronization
import WireText

/// A signed head as witnesses get it.
package struct SignedHead: Sendable, Equatable {
    package let statement: HeadStatement
    package let jws: String
}

/// Somebody outside the trail's folder who keeps heads, so that nobody can cut off or put back the trail unseen.
package protocol AuditWitness: Sendable {
    /// For state and alarms.
    var name: String { get }
    /// May take its time; heads that come meanwhile are replaced by the newest.
    func receive(_ head: SignedHead) async throws
}

/// A witness that is a closure, such as a record in the journal that leaves the machine.
package struct ClosureWitness: AuditWitness {
    package let name: String
    private let body: @Sendable (SignedHead) async throws -> Void

    package init(_ name: String, _ body: @escaping @Sendable (SignedHead) async throws -> Void) {
        self.name = name
        self.body = body
    }

    package func receive(_ head: SignedHead) async throws { try await body(head) }
}

/// A witness that is a file, one JWS a line, best on another machine's disk.
package final class FileWitness: AuditWitness {
    package let name: String
    private let path: String
    private let thread = DispatchQueue(label: "audit-witness")

    package init(_ path: String) {
        self.path = path
        name = path
    }

    package func receive(_ head: SignedHead) async throws { try await append(head.jws) }

    func append(_ line: String) async throws {
        let path = path
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            thread.async { continuation.resume(with: Result { try Self.append(line, to: path) }) }
        }
    }

    private static func append(_ text: String, to path: String) throws(DiagnosedError) {
        let descriptor = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw .auditFile("the witness file can not be opened", path, errno: errno) }
        defer { close(descriptor) }
        var line = Array("\(text)\n".utf8)
        // A torn line of an earlier crash must not swallow this one.
        var last: UInt8 = 0
        let size = lseek(descriptor, 0, SEEK_END)
        if size > 0, pread(descriptor, &last, 1, size - 1) == 1, last != 0x0A { line.insert(0x0A, at: 0) }
        guard write(descriptor, line, line.count) == line.count, fdatasync(descriptor) == 0 else {
            throw .auditFile("the witness file can not be written", path, errno: errno)
        }
    }
}

/// Hands heads to one witness without making anybody wait: one on its way, at most one waiting, the newest.
final class WitnessPost: Sendable {
    private struct State {
        var waiting: SignedHead?
        var isBusy = false
        var delivered: Int64?
        var failure: DiagnosedError?
        /// The newest head, while it could not be handed over, and how often in a row that was.
        var undelivered: SignedHead?
        var failures = 0
        var untilIdle: [CheckedContinuation<Void, Never>] = []
    }

    private let witness: any AuditWitness
    private let state = Mutex(State())

    init(_ witness: any AuditWitness) { self.witness = witness }

    func post(_ head: SignedHead) {
        let starts = state.withLock { state in
            state.waiting = head
            defer { state.isBusy = true }
            return !state.isBusy
        }
        if starts { Task { await self.deliver() } }
    }

    /// Hands the newest head over again if it did not arrive and no newer one is on its way.
    func retry() {
        if let head = state.withLock({ $0.isBusy ? nil : $0.undelivered }) { post(head) }
    }

    private func deliver() async {
        while let head = next() {
            do {
                try await witness.receive(head)
                state.withLock { state in
                    state.delivered = head.statement.seq
                    (state.failure, state.undelivered, state.failures) = (nil, nil, 0)
                }
            } catch {
                let failure =
                    error as? DiagnosedError
                    ?? DiagnosedError(.auditFolder, fault: .peer, "the witness failed", found: "\(type(of: error))")
                state.withLock { state in
                    (state.failure, state.undelivered) = (failure, head)
                    state.failures += 1
                }
            }
        }
    }

    private func next() -> SignedHead? {
        let (head, idle) = state.withLock { state -> (SignedHead?, [CheckedContinuation<Void, Never>]) in
            defer { state.waiting = nil }
            if let head = state.waiting { return (head, []) }
            state.isBusy = false
            defer { state.untilIdle = [] }
            return (nil, state.untilIdle)
        }
        for continuation in idle { continuation.resume() }
        return head
    }

    /// Returns when nothing is on its way.
    func settle() async {
        await withCheckedContinuation { continuation in
            let idle = state.withLock { state in
                if state.isBusy { state.untilIdle.append(continuation) }
                return !state.isBusy
            }
            if idle { continuation.resume() }
        }
    }

    var current: AuditTrailState.Witness {
        state.withLock {
            .init(
                name: witness.name, deliveredThrough: $0.delivered, failure: $0.failure, failures: $0.failures)
        }
    }
}

import Diagnostics
import FoundationEssentials
import Synchronization
import TestServers
import WireText

@testable import CalendarService

/// A store whose n-th write fails, before anything of it is done or after all of it is.
final class FailingStore: CalendarStore {
    private let inner: any CalendarStore
    private let failing: Int
    private let state = Mutex((isArmed: false, writes: 0))

    init(_ inner: any CalendarStore, failing: Int) {
        self.inner = inner
        self.failing = failing
    }

    func arm() { state.withLock { $0 = (true, 0) } }
    func disarm() { state.withLock { $0.isArmed = false } }

    private static let failure = DiagnosedError(.calendarStore, fault: .store, "a failure of the test")

    func write(_ changes: [DocumentChange], under holding: ShareHolding) async throws -> Bool {
        let number = state.withLock { state -> Int? in
            guard state.isArmed else { return nil }
            state.writes += 1
            return state.writes
        }
        // Everything behind the failure fails as well, as after a kill.
        guard let number, number >= failing else { return try await inner.write(changes, under: holding) }
        if number == failing, failing.isMultiple(of: 2) { _ = try await inner.write(changes, under: holding) }
        throw Self.failure
    }

    func document(_ place: DocumentPlace) async throws -> [UInt8]? { try await inner.document(place) }
    func documents(of owner: String, kind: DocumentKind) async throws -> [StoredDocument] {
        try await inner.documents(of: owner, kind: kind)
    }
    func documents(ofShare share: Int, kind: DocumentKind, limit: Int) async throws -> [StoredDocument] {
        try await inner.documents(ofShare: share, kind: kind, limit: limit)
    }
    func beat(node: String, life: Duration, leaving: Set<Int>) async throws -> ShareBeat {
        try await inner.beat(node: node, life: life, leaving: leaving)
    }
    func leave(node: String) async throws { try await inner.leave(node: node) }
    func holders() async throws -> [Int: String] { try await inner.holders() }
    func isNew(command id: String, until: Timestamp, now: Timestamp) async throws -> Bool {
        try await inner.isNew(command: id, until: until, now: now)
    }
    func check() async throws { try await inner.check() }
    func close() async { await inner.close() }
}

/// A clock that goes on when a test says so.
final class TestClock: Sendable {
    private let time = Mutex(Timestamp.now())
    var now: Timestamp { time.withLock { $0 } }
    func wait(_ seconds: Int64) { time.withLock { $0 = $0.adding(seconds: seconds) } }
}

/// A name for a database that is gone with the test process's folder.
enum TemporaryPlace {
    private static let kept = Mutex<[TemporaryFolder]>([])
    static func path() -> String {
        let folder = TemporaryFolder()
        kept.withLock { $0.append(folder) }
        return folder.path + "/calendar.sqlite"
    }
}

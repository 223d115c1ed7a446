import AuditTrail
import Diagnostics
import Dispatch
import FoundationEssentials
import KMSProtocol
import KeyManagement
import KeyStore
import MasterKey
import Synchronization
import WireText

/// A disk under an audit trail whose syncs wait until the test lets them go, or fail; knows what is durable.
final class HeldDisk: TrailFileSystem {
    private struct State {
        var isHeld = false
        var waiting = 0
        /// Whether the syncs that were let go work, in order.
        var verdicts: [Bool] = []
        var written: [UInt8] = []
        var durable = 0
    }

    private let state = Mutex(State())
    private let gate = DispatchSemaphore(value: 0)

    /// Syncs that wait now.
    var waiting: Int { state.withLock { $0.waiting } }

    func hold() { state.withLock { $0.isHeld = true } }

    /// Lets one sync go on that waits.
    func letGo(failing: Bool = false) {
        state.withLock {
            $0.waiting -= 1
            $0.verdicts.append(!failing)
        }
        gate.signal()
    }

    /// Holds nothing from now on; what waits goes on.
    func open() {
        let waiting = state.withLock { state in
            defer { state.waiting = 0 }
            state.isHeld = false
            state.verdicts += Array(repeating: true, count: state.waiting)
            return state.waiting
        }
        for _ in 0..<waiting { gate.signal() }
    }

    /// Whether that text stands in what a sync has brought to the disk.
    func hasDurable(_ text: String) -> Bool {
        state.withLock { String(decoding: $0.written[..<$0.durable], as: UTF8.self).contains(text) }
    }

    func openSegment(_ path: String) throws(DiagnosedError) -> any AppendFile {
        state.withLock {
            $0.written = []
            $0.durable = 0
        }
        return File(try PosixFileSystem().openSegment(path), self)
    }
    func remove(_ path: String) throws(DiagnosedError) { try PosixFileSystem().remove(path) }
    func synchronizeFolder(_ path: String) throws(DiagnosedError) { try PosixFileSystem().synchronizeFolder(path) }

    private func synchronize() throws(DiagnosedError) {
        let waits = state.withLock { state in
            if state.isHeld { state.waiting += 1 }
            return state.isHeld
        }
        if waits { gate.wait() }
        let works = state.withLock { state in
            let works = waits ? state.verdicts.removeFirst() : true
            if works { state.durable = state.written.count }
            return works
        }
        guard works else { throw DiagnosedError(.auditBlocked, fault: .store, "injected: the sync failed") }
    }

    private final class File: AppendFile {
        let file: any AppendFile
        let disk: HeldDisk

        init(_ file: any AppendFile, _ disk: HeldDisk) {
            self.file = file
            self.disk = disk
        }

        func append(_ bytes: [UInt8]) throws(DiagnosedError) {
            disk.state.withLock { $0.written += bytes }
            try file.append(bytes)
        }
        func synchronize() throws(DiagnosedError) { try disk.synchronize() }
        func truncate(to count: Int) throws(DiagnosedError) {
            disk.state.withLock { $0.written.removeLast(max(0, $0.written.count - count)) }
            try file.truncate(to: count)
        }
    }
}

/// A KMS over a trail on a `HeldDisk`, and lanes in front of it.
final class LaneWorld: Sendable {
    let folder = FileManager.default.temporaryDirectory.path + "/hds-lanes-\(UUIDText.random())"
    let disk = HeldDisk()
    let store = FaultingKeyStore(MemoryKeyStore())
    let workers = WorkerPool(threads: 3)
    let kms: TestKMS
    let lanes: RequestLanes

    init(depth: Int = 64, capacity: Int = 1024) async throws {
        var configuration = AuditTrailConfiguration(folder: folder, node: "kms-1", key: try .createP256())
        configuration.fileSystem = disk
        kms = try await TestKMS.start(store: store, audit: try await AuditTrail.open(configuration))
        lanes = RequestLanes(handler: kms.handler, workers: workers, depth: depth, capacity: capacity)
    }

    deinit {
        workers.shutDown()
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// Which requests the trail says were done, by their ids, in its order.
    func done() throws -> [String] {
        var query = AuditQuery()
        query.kind = .decision
        return try TrailReader(folder: folder).records(query).map(\.record).filter { ($0.status ?? 0) < 400 }
            .map { $0.requestId ?? "-" }
    }

    func until(_ holds: () -> Bool) async { while !holds() { await Task.yield() } }
}

/// Answers in the order in which they left.
final class Departures: Sendable {
    struct Answer: Sendable, Equatable {
        var id: String
        let status: Int
    }

    private let list = Mutex<[Answer]>([])
    var all: [Answer] { list.withLock { $0 } }
    var count: Int { list.withLock { $0.count } }
    var statuses: [Int] { all.map(\.status) }
    func add(_ answer: Answer) { list.withLock { $0.append(answer) } }
}

extension LaneWorld {
    /// Submits one request; what leaves is noted, a reset as 499.
    func submit(_ client: TestClient, _ text: [UInt8], to departures: Departures) {
        lanes.submit(text, source: client.user) { [kms] reply in
            let answer = (try? client.open(reply)).map { Departures.Answer(id: $0.requestID ?? "-", status: $0.status) }
            departures.add(answer ?? .init(id: "-", status: (try? kms.openReset(reply)) == nil ? 0 : 499))
        }
    }
}

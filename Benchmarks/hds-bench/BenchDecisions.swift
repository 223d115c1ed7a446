import AuditTrail
import Foundation
import KMSProtocol
import KeyManagement
import Synchronization
import WireText

/// What keeping each decision adds to a retrieval: CPU with many of one session on their way, latency of one alone.
struct BenchDecisions: Sendable {
    let folder: URL
    let seconds: Double

    func measure() async throws -> [Measurement] {
        let bare = try await run(try await BenchKMS(folder: folder, host: "kms.bare.example.com"))
        let path = folder.appending(path: "decisions").path
        let trail = try await AuditTrail.open(
            AuditTrailConfiguration(folder: path, node: "bench", key: try .createP256()))
        let kept = try await run(try await BenchKMS(folder: folder, trail: trail))
        try await trail.close()
        return [
            Measurement("key retrieval through a lane, 32 on their way, CPU", bare.cpu, "us"),
            Measurement("the same, kept in the audit trail", kept.cpu, "us"),
            Measurement("  of it with the kernel's part of writing and syncing", kept.system - bare.system, "us"),
            Measurement(
                "what keeping adds to a retrieval's CPU", (kept.cpu / bare.cpu - 1) * 100, "%", limit: 15,
                "most wanted"),
            Measurement("audit trail's part of a kept retrieval, user CPU", kept.user - bare.user, "us"),
            Measurement("latency that keeping adds, one alone, p50", kept.latency - bare.latency, "us"),
        ]
    }

    private struct Costs {
        var cpu: Double { user + system }
        var user = 0.0
        var system = 0.0
        var latency = 0.0
    }

    private func run(_ kms: BenchKMS) async throws -> Costs {
        let user = UUIDText.random()
        let session = try await kms.session(user, token: try kms.token(user))
        let keys = try await kms.createSpace(session, keys: 100).keys
        var texts: [[UInt8]] = []
        for index in 0..<2_000 { texts.append(try session.wrapped("retrieve", keys[index % keys.count].uri)) }
        for text in texts.prefix(500) { _ = try session.open(await kms.handler.reply(to: text, source: "bench")) }
        var samples: [Double] = []
        for text in texts.prefix(1_000) {
            let start = ContinuousClock.now
            _ = await kms.handler.reply(to: text, source: "bench")
            samples.append(start.duration(to: .now).inSeconds * 1_000_000)
        }
        let workers = WorkerPool(threads: ProcessInfo.processInfo.activeProcessorCount)
        defer { workers.shutDown() }
        let load = LaneLoad(RequestLanes(handler: kms.handler, workers: workers), texts)
        let before = processCPU()
        let end = ContinuousClock.now + .seconds(seconds)
        var count = 0
        while ContinuousClock.now < end {
            await load.run(20_000)
            count += 20_000
        }
        let after = processCPU()
        func each(_ seconds: Double) -> Double { seconds / Double(count) * 1_000_000 }
        return Costs(
            user: each(after.user - before.user), system: each(after.system - before.system),
            latency: percentile(samples, 0.5))
    }
}

/// Keeps 32 requests of one session on their way: each answer submits the next request.
private final class LaneLoad: Sendable {
    private struct State {
        var next = 0
        var left = 0
        var done: CheckedContinuation<Void, Never>?
    }

    private let lanes: RequestLanes
    private let texts: [[UInt8]]
    private let state = Mutex(State())

    init(_ lanes: RequestLanes, _ texts: [[UInt8]]) {
        self.lanes = lanes
        self.texts = texts
    }

    func run(_ count: Int) async {
        await withCheckedContinuation { continuation in
            state.withLock { $0 = State(next: 0, left: count, done: continuation) }
            for _ in 0..<32 { submit(count) }
        }
    }

    private func submit(_ count: Int) {
        let index = state.withLock { state -> Int? in
            guard state.next < count else { return nil }
            state.next += 1
            return state.next
        }
        guard let index else { return }
        lanes.submit(texts[index % texts.count], source: "bench") { [self] _ in
            let done = state.withLock { state -> CheckedContinuation<Void, Never>? in
                state.left -= 1
                return state.left == 0 ? state.done : nil
            }
            if let done { return done.resume() }
            submit(count)
        }
    }
}

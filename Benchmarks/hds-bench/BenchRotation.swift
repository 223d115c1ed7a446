import Foundation
import KeyManagement
import KeyStore
import KeyStoreSQLite
import KMSProtocol
import MasterKey
import Synchronization
import WireText

/// A rotation of the root key over many keys: rows a second alone, and what it costs those who retrieve meanwhile.
struct BenchRotation: Sendable {
    let folder: URL
    let seconds: Double
    private static let keys = 300_000

    func measure() async throws -> [Measurement] {
        let loaded = try await LoadedStore.make(folder: folder, keys: Self.keys, spaces: 20)
        defer { loaded.remove() }
        let store = try SQLiteKeyStore(path: loaded.path)
        let kms = try await BenchKMS(loaded.kms, store: store)
        let rotation = RootKeyRotation(store: store, ring: kms.ring)

        try await promote(rotation)
        let cpu = processCPUSeconds()
        let start = ContinuousClock.now
        let alone = try await Resealer(store: store, ring: kms.ring).run()
        let wall = start.duration(to: .now).inSeconds
        let used = (processCPUSeconds() - cpu) / Double(alone.done) * 1_000_000
        guard try await rotation.retire(now: .now()) != nil else {
            throw BenchFailure("the old version was not retired")
        }

        var texts: [[UInt8]] = []
        for _ in 0..<20_000 {
            texts.append(try loaded.session.wrapped("retrieve", loaded.uri(Int.random(in: 0..<Self.keys))))
        }
        let load = Load(kms: kms, texts: texts)
        _ = try await load.samples(for: seconds / 3) { false }
        let quiet = try await load.samples(for: seconds) { false }
        try await promote(rotation)
        let isRunning = Atomic(true)
        let begun = ContinuousClock.now
        async let resealed = {
            defer { isRunning.store(false, ordering: .relaxed) }
            return try await Resealer(store: store, ring: kms.ring, isBusy: { load.isBusy }).run().done
        }()
        let busy = try await load.samples(for: seconds * 20) { !isRunning.load(ordering: .relaxed) }
        let meanwhile = Double(try await resealed) / begun.duration(to: .now).inSeconds
        await store.close()
        return [
            Measurement(
                "rotation, \(Self.keys) keys, alone", Double(alone.done) / wall, "rows/s", limit: 50_000, "aim"),
            Measurement("rotation, CPU of a row", used, "us"),
            Measurement("rotation while 8 clients retrieve", meanwhile, "rows/s"),
            Measurement(
                "retrievals of 8 clients at 1,600 a second, p99 while it runs", percentile(busy, 0.99), "us",
                limit: percentile(quiet, 0.99) * 1.2, "1.2 times that without it"),
            Measurement(
                "the same, p50", percentile(busy, 0.5), "us", limit: percentile(quiet, 0.5) * 1.2,
                "1.2 times that without it"),
        ]
    }

    private func promote(_ rotation: RootKeyRotation) async throws {
        _ = try await rotation.generate(now: .now())
        try await rotation.beat(node: "bench", now: .now())
        _ = try await rotation.promote(now: .now())
    }

    /// Eight clients that retrieve at a steady pace, as clients do, and not as fast as they can.
    private struct Load: Sendable {
        let kms: BenchKMS
        let texts: [[UInt8]]
        private let seen = SharedCounter()

        init(kms: BenchKMS, texts: [[UInt8]]) {
            (self.kms, self.texts) = (kms, texts)
        }

        /// Whether somebody has asked since this was asked last.
        var isBusy: Bool { seen.takeAny() }

        func samples(for seconds: Double, until isOver: @escaping @Sendable () -> Bool) async throws -> [Double] {
            let samples = Samples()
            let end = ContinuousClock.now + .seconds(seconds)
            try await concurrently(tasks: 8, items: 8) { client in
                var next = client
                var due = ContinuousClock.now
                while ContinuousClock.now < end, !isOver() {
                    due += .milliseconds(5)
                    try await Task.sleep(until: due)
                    let begun = ContinuousClock.now
                    guard case .answer = await kms.handler.reply(to: texts[next % texts.count], source: "bench") else {
                        throw BenchFailure("a retrieval was declined")
                    }
                    seen.count()
                    samples.add(begun.duration(to: .now).inSeconds * 1_000_000)
                    next += 8
                }
            }
            return samples.values
        }
    }

    private final class SharedCounter: Sendable {
        private let number = Atomic(0)
        func count() { number.wrappingAdd(1, ordering: .relaxed) }
        func takeAny() -> Bool { number.exchange(0, ordering: .relaxed) > 0 }
    }
}

import Foundation
import KeyManagement
import KeyStore
import KeyStorePostgreSQL
import KeyStoreSQLite
import KMSProtocol
import MasterKey
import PostgreSQLClient
import StoreMigration
import Synchronization
import WireText

/// A rotation of the root key over many keys: rows a second alone, and what it costs those who retrieve meanwhile.
struct BenchRotation: Sendable {
    let folder: URL
    let seconds: Double
    private static let keys = 300_000
    /// Over PostgreSQL, where a row costs more.
    private static let keysInServer = 100_000

    func measure() async throws -> [Measurement] {
        let loaded = try await LoadedStore.make(folder: folder, keys: Self.keys, spaces: 20)
        defer { loaded.remove() }
        return try await measure(loaded, Self.keys, store: try SQLiteKeyStore(path: loaded.path))
    }

    /// The same over a PostgreSQL server, in a schema of its own.
    func measure(over settings: PostgreSQLSettings) async throws -> [Measurement] {
        let loaded = try await LoadedStore.make(folder: folder, keys: Self.keysInServer, spaces: 20)
        defer { loaded.remove() }
        var options = PostgreSQLKeyStore.Options()
        options.schema = "bench_" + UUIDText.random().filter { $0 != "-" }
        _ = try StoreMigration.sqliteToPostgreSQL(from: loaded.path, to: settings, schema: options.schema)
        let store = try await PostgreSQLKeyStore.open(settings, options: options)
        return try await measure(loaded, Self.keysInServer, store: store).map {
            Measurement("PostgreSQL: " + $0.name, $0.value, $0.unit, limit: $0.limit, $0.limitName)
        }
    }

    private func measure(_ loaded: LoadedStore, _ keys: Int, store: any KeyStore) async throws -> [Measurement] {
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
            texts.append(try loaded.session.wrapped("retrieve", loaded.uri(Int.random(in: 0..<keys))))
        }
        // A refusal throws: it would cost less than a retrieval.
        for text in texts.prefix(100) {
            _ = try loaded.session.open(await kms.handler.reply(to: text, source: "bench"))
        }
        let load = Load(kms: kms, texts: texts)
        _ = try await load.samples(for: seconds / 3) { false }
        // Before and after, together as long as what they are compared with: the slowest of a few seconds are others than
        // those of many, and of one minute others than of the next.
        var quiet = try await load.samples(for: seconds * 5) { false }
        try await promote(rotation)
        let isRunning = Atomic(true)
        let done = Atomic(0)
        let begun = ContinuousClock.now
        let resealing = Task {
            defer { isRunning.store(false, ordering: .relaxed) }
            _ = try await Resealer(store: store, ring: kms.ring, pulse: load.pulse).run(progress: {
                done.store($0.done, ordering: .relaxed)
            })
        }
        let busy = try await load.samples(for: seconds * 10) { !isRunning.load(ordering: .relaxed) }
        // What is done when nobody asks any more is another figure.
        let meanwhile = Double(done.load(ordering: .relaxed)) / begun.duration(to: .now).inSeconds
        resealing.cancel()
        _ = await resealing.result
        let before = percentile(quiet, 0.99)
        let after = try await load.samples(for: seconds * 5) { false }
        quiet += after
        await store.close()
        return [
            Measurement(
                "rotation, \(keys) keys, alone", Double(alone.done) / wall, "rows/s", limit: 50_000, "aim"),
            Measurement("rotation, CPU of a row", used, "us"),
            Measurement("rotation while 8 clients retrieve", meanwhile, "rows/s"),
            Measurement(
                "retrievals of 8 clients at 1,600 a second, p99 while it runs", percentile(busy, 0.99), "us",
                limit: percentile(quiet, 0.99) * 1.2, "1.2 times that without it"),
            Measurement("without it, p99 before / after", before, "us", limit: percentile(after, 0.99), "after"),
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
        /// What the work in the background hears of it.
        let pulse = ServingPulse()

        init(kms: BenchKMS, texts: [[UInt8]]) {
            (self.kms, self.texts) = (kms, texts)
        }

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
                    let took = begun.duration(to: .now).inSeconds * 1_000_000
                    pulse.note(Int(took))
                    samples.add(took)
                    next += 8
                }
            }
            return samples.values
        }
    }
}

import Cryptography
import Encryption
import Foundation
import JOSEEncryption
import JOSESignature
import KMSProtocol
import KeyManagement
import SecretMemory
import Synchronization
import WireText

/// What the KMS does without any network: session openings, retrievals, creations.
struct InProcess {
    let kms: BenchKMS
    /// Seconds that one measurement lasts.
    let seconds: Double

    /// The crypto of one handshake alone, on the same keys: RSA decryption and signature, P-256 key pair and agreement,
    /// HKDF, two AES-GCM. Operations per second of CPU time with as many threads as the openings get, for a core whose
    /// neighbour is busy too is slower.
    func handshakeLimit() async throws -> Double {
        let client = try P256Agreement.generate()
        let secret = [UInt8](repeating: 7, count: 32)
        let wrapped = try secret.withUnsafeBytes {
            try RSAOAEP.encrypt($0, to: kms.privateKey.publicKey, digest: .sha1)
        }
        let text = [UInt8](repeating: 0x61, count: 700)
        let key = kms.privateKey
        let end = ContinuousClock.now + .seconds(seconds)
        let count = Counter()
        let cpu = processCPUSeconds()
        try await concurrently(tasks: 64, until: end) { _ in
            _ = try RSAOAEP.decrypt(wrapped, with: key, digest: .sha1)
            let own = try P256Agreement.generate()
            let z = try own.sharedSecret(withX: client.publicX, y: client.publicY)
            let session = try HKDFSHA256.derive(from: z, salt: [], info: [], count: 32)
            for _ in 0..<2 {
                let nonce = try RandomBytes.bytes(12)
                _ = try AESGCM.seal(text, key: session, nonce: nonce, aad: [])
            }
            _ = try key.sign(text, algorithm: .ps256)
            _ = count.take()
        }
        return Double(count.take()) / (processCPUSeconds() - cpu)
    }

    func sessionOpenings(limit: Double) async throws -> [Measurement] {
        let users = (0..<64).map { _ in UUIDText.random() }
        let tokens = try users.map { try kms.token($0) }
        // Prepared beforehand: the client's half is not what is measured.
        let count = Int(limit * seconds * 0.9)
        var texts: [[UInt8]] = []
        for index in 0..<count { texts.append(try kms.opening(users[index % 64], token: tokens[index % 64]).text) }
        let work = texts
        let cpu = processCPUSeconds()
        let start = ContinuousClock.now
        try await concurrently(tasks: 64, items: work.count) { index in
            guard case .answer = await kms.handler.reply(to: work[index], source: "bench-\(index)") else {
                throw BenchFailure("an opening was declined")
            }
        }
        let wall = start.duration(to: .now).inSeconds
        let used = processCPUSeconds() - cpu
        return [
            Measurement(
                "session openings, a second of one core", Double(count) / used, "1/s", limit: limit,
                "its crypto alone, same run"),
            Measurement("session openings, all cores, durable, 64 at once", Double(count) / wall, "1/s"),
        ]
    }

    func retrievals() async throws -> [Measurement] {
        let user = UUIDText.random()
        let session = try await kms.session(user, token: try kms.token(user))
        let keys = try await kms.createSpace(session, keys: 100).keys
        var texts: [[UInt8]] = []
        for index in 0..<2000 { texts.append(try session.wrapped("retrieve", keys[index % keys.count].uri)) }
        for text in texts.prefix(500) { _ = try session.open(await kms.handler.reply(to: text, source: "bench")) }
        var samples: [Double] = []
        var count = 0
        let cpu = processCPUSeconds()
        let end = ContinuousClock.now + .seconds(seconds)
        while ContinuousClock.now < end {
            for text in texts {
                let start = ContinuousClock.now
                guard case .answer = await kms.handler.reply(to: text, source: "bench") else {
                    throw BenchFailure("a retrieval was declined")
                }
                samples.append(start.duration(to: .now).inSeconds * 1_000_000)
            }
            count += texts.count
        }
        let used = (processCPUSeconds() - cpu) / Double(count) * 1_000_000
        return [
            Measurement("key retrieval in process, CPU", used, "us", limit: 60, "aim of the issue; goal 40"),
            Measurement("key retrieval in process, p50", percentile(samples, 0.5), "us"),
            Measurement("key retrieval in process, p99", percentile(samples, 0.99), "us"),
        ]
    }

    func creations() async throws -> [Measurement] {
        let users = (0..<64).map { _ in UUIDText.random() }
        var sessions: [BenchSession] = []
        for user in users { sessions.append(try await kms.session(user, token: try kms.token(user))) }
        let count = 20_000
        var texts: [[UInt8]] = []
        for index in 0..<count {
            texts.append(try sessions[index % 64].wrapped("create", "/keys") { $0.member("count", 1) })
        }
        let work = texts
        let samples = Samples()
        let start = ContinuousClock.now
        try await concurrently(tasks: 64, items: count) { index in
            let begun = ContinuousClock.now
            guard case .answer = await kms.handler.reply(to: work[index], source: "bench") else {
                throw BenchFailure("a creation was declined")
            }
            samples.add(begun.duration(to: .now).inSeconds * 1000)
        }
        let wall = start.duration(to: .now).inSeconds
        return [
            Measurement(
                "key creations, durable, 64 at once", Double(count) / wall, "1/s", limit: 3000, "least wanted"),
            Measurement("key creation in process, p50", percentile(samples.values, 0.5), "ms"),
            Measurement("key creation in process, p99", percentile(samples.values, 0.99), "ms"),
        ]
    }
}

/// Runs `items` calls over a number of tasks, each taking the next one, while the moment `until` has not come.
func concurrently(
    tasks: Int, items: Int = .max, until: ContinuousClock.Instant? = nil,
    _ body: @escaping @Sendable (Int) async throws -> Void
) async throws {
    let next = Counter()
    let workers = WorkerPool(threads: ProcessInfo.processInfo.activeProcessorCount)
    defer { workers.shutDown() }
    try await withThrowingTaskGroup(of: Void.self) { group in
        for _ in 0..<tasks {
            group.addTask(executorPreference: workers) {
                while true {
                    let index = next.take()
                    guard index < items, until.map({ ContinuousClock.now < $0 }) ?? true else { return }
                    try await body(index)
                }
            }
        }
        try await group.waitForAll()
    }
}

final class Counter: Sendable {
    private let value = Atomic(0)
    func take() -> Int { value.wrappingAdd(1, ordering: .relaxed).oldValue }
}

final class Samples: Sendable {
    private let list = Mutex<[Double]>([])
    func add(_ value: Double) { list.withLock { $0.append(value) } }
    var values: [Double] { list.withLock { $0 } }
}

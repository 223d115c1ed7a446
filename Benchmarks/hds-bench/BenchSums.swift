import Foundation
import KeyManagement
import KeyStore
import MasterKey
import WireText

/// What the sums over all rows (`SummingStore`) add to a creation: CPU and rate with them and without, by turns.
struct BenchSums: Sendable {
    let folder: URL
    private static let rounds = 3
    private static let count = 10_000

    func measure() async throws -> [Measurement] {
        let plain = try await BenchKMS(folder: folder)
        let summing = try await BenchKMS(
            plain, store: SummingStore(plain.store, ring: plain.ring, writer: UUIDText.random()))
        _ = try await creations(plain)
        var (without, with): ([Cost], [Cost]) = ([], [])
        for _ in 0..<Self.rounds {
            without.append(try await creations(plain))
            with.append(try await creations(summing))
        }
        await plain.store.close()
        let limit = (without.map(\.cpu).min() ?? 0) * 1.05
        let rate = (without.map(\.rate).max() ?? 0) * 0.95
        return [
            Measurement(
                "creation with sums over rows, 64 at once, CPU", with.map(\.cpu).min() ?? 0, "us", limit: limit,
                "1.05 times that without them"),
            Measurement(
                "creations with sums over rows, 64 at once", with.map(\.rate).max() ?? 0, "1/s", limit: rate,
                "0.95 times those without them"),
        ]
    }

    private struct Cost {
        /// Microseconds of a creation.
        let cpu: Double
        /// A second.
        let rate: Double
    }

    private func creations(_ kms: BenchKMS) async throws -> Cost {
        let users = (0..<64).map { _ in UUIDText.random() }
        var sessions: [BenchSession] = []
        for user in users { sessions.append(try await kms.session(user, token: try kms.token(user))) }
        var texts: [[UInt8]] = []
        for index in 0..<Self.count {
            texts.append(try sessions[index % 64].wrapped("create", "/keys") { $0.member("count", 1) })
        }
        let work = texts
        let cpu = processCPUSeconds()
        let start = ContinuousClock.now
        try await concurrently(tasks: 64, items: Self.count) { index in
            guard case .answer = await kms.handler.reply(to: work[index], source: "bench") else {
                throw BenchFailure("a creation was declined")
            }
        }
        let count = Double(Self.count)
        return Cost(
            cpu: (processCPUSeconds() - cpu) / count * 1_000_000, rate: count / start.duration(to: .now).inSeconds)
    }
}

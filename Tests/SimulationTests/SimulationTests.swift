import TestServers
import Testing

@testable import Simulation

/// The core, three nodes, a database and people in virtual time, with whatever goes wrong, held against `Model`.
///
/// `deploy/simulate` runs more seeds, or one that a failure named.
@Suite("Simulation", .serialized) struct SimulationTests {
    private static let seeds: Range<UInt64> = 1..<41

    @Test("Whatever goes wrong, the properties of the model hold")
    func properties() async throws {
        let tally = try await Tally.running(Self.seeds)
        print("simulation: seeds \(Self.seeds), \(tally)")
        for plan in tally.failed.prefix(3) {
            let report = try await onOwnThread { try Shrinker.report(plan) }
            Issue.record(Comment(rawValue: report))
        }
        // A world in which nothing happens proves nothing.
        for event in ["answers", "declined", "freezes", "promotions", "lossy promotions", "200", "201", "403"] {
            #expect(tally.counts[event, default: 0] > 0, "\(event): too tame")
        }
    }

    /// Before they were mended: an answer overtook one whose string was declined (1), a key left under a freeze with the first
    /// answer to a string that came again (59, 1018, 1055); a string overtook a declined one on a slow way (93840363402096,
    /// 93840363402817); a freeze was lost with a primary and its nodes never went on (93840363402370, 93840363403174).
    @Test(
        "Seeds that have found a fault stay well",
        arguments: [
            1, 59, 1018, 1055, 93_840_363_402_096, 93_840_363_402_817, 93_840_363_402_370, 93_840_363_403_174,
        ] as [UInt64])
    func found(_ seed: UInt64) async throws {
        let outcome = try await onOwnThread { try World.run(Plan(seed: seed)) }
        #expect(outcome.violations == [])
    }

    @Test("The same seed has the same trace", arguments: [3, 11] as [UInt64])
    func determinism(_ seed: UInt64) async throws {
        let first = try await onOwnThread { try World.run(Plan(seed: seed)) }
        let second = try await onOwnThread { try World.run(Plan(seed: seed)) }
        let difference = zip(first.lines, second.lines).first { $0 != $1 }
        #expect(first.digest == second.digest, "\(difference.map { "\($0.0) | \($0.1)" } ?? "one is longer")")
        let other = try await onOwnThread { try World.run(Plan(seed: seed + 1)) }
        #expect(other.digest != first.digest)
    }

    /// Which rule of the model notices.
    private static let rules: [(Mutation, String)] = [
        (.noLease, "lease"), (.noLedger, "first answer"), (.noOrder, "order"), (.noFreeze, "freeze"),
        (.noEpoch, "epoch"),
        (.lossyStandby, "durable"),
    ]

    @Test("A world without one of its rules is found out", arguments: rules)
    func mutations(_ mutation: Mutation, _ rule: String) async throws {
        for seed in 1...200 as ClosedRange<UInt64> {
            let outcome = try await onOwnThread { try World.run(Plan(seed: seed), mutation: mutation) }
            if outcome.violations.contains(where: { $0.hasPrefix(rule) }) { return }
        }
        Issue.record("nobody noticed \(mutation)")
    }
}

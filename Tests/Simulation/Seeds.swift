import Foundation
import Synchronization
import TestServers

/// What many runs came to.
struct Tally: CustomStringConvertible, Sendable {
    var failed: [Plan] = []
    var counts: [String: Int] = [:]
    var events = 0
    /// Of virtual time.
    var seconds: Int64 = 0

    var description: String {
        let all = counts.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }.joined(separator: ", ")
        return "\(failed.count) failed, \(events) events in \(seconds) s of virtual time; \(all)"
    }

    /// What the threads share.
    private final class Board: Sendable {
        let tally = Mutex(Tally())
        let next: Mutex<Range<UInt64>>
        init(_ seeds: Range<UInt64>) { next = Mutex(seeds) }

        func work() throws {
            while let seed = next.withLock({ $0.popFirst() }) {
                let plan = Plan(seed: seed)
                let outcome = try World.run(plan)
                tally.withLock { $0.add(plan, outcome) }
            }
        }
    }

    /// Runs a world for each seed, as many at a time as the machine has processors, each on a thread of its own.
    static func running(_ seeds: Range<UInt64>) async throws -> Tally {
        let board = Board(seeds)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<ProcessInfo.processInfo.activeProcessorCount {
                group.addTask { try await onOwnThread { try board.work() } }
            }
            try await group.waitForAll()
        }
        return board.tally.withLock { $0 }
    }

    private mutating func add(_ plan: Plan, _ outcome: World.Outcome) {
        if let first = outcome.violations.first {
            failed.append(plan)
            print("simulation: seed \(plan.seed): \(first)")
        }
        counts.merge(outcome.counts) { $0 + $1 }
        events += outcome.events
        seconds += outcome.length / 1_000_000
    }
}

import ArgumentParser

@testable import Simulation

/// Runs the simulation for many seeds: `deploy/simulate`.
@main struct Simulator: AsyncParsableCommand {
    @Option(help: "How many seeds.") var seeds: UInt64 = 2000
    @Option(help: "The first one.") var from: UInt64
    @Flag(help: "Print what happened, line by line.") var trace = false

    @Option(help: "A rule of the world that is switched off, to see the model notice.") var without: String?

    func run() async throws {
        if let mutation = without.flatMap({ Mutation(rawValue: $0) }) {
            for seed in from..<from + seeds {
                let violations = try World.run(Plan(seed: seed), mutation: mutation).violations
                if let first = violations.first { return print("simulation: seed \(seed): \(first)") }
            }
            throw ExitCode.failure
        }
        if trace {
            let outcome = try World.run(Plan(seed: from))
            print(outcome.lines.joined(separator: "\n"))
        }
        let tally = try await Tally.running(from..<from + seeds)
        for plan in tally.failed.prefix(3) { print(try Shrinker.report(plan)) }
        print("simulation: seeds \(from)..<\(from + seeds), \(tally)")
        if !tally.failed.isEmpty { throw ExitCode.failure }
    }
}

import ArgumentParser

@testable import Simulation

/// Runs the simulation for many seeds: `deploy/simulate`.
@main struct Simulator: AsyncParsableCommand {
    @Option(help: "How many seeds.") var seeds: UInt64 = 2000
    @Option(help: "The first one.") var from: UInt64
    @Flag(help: "Print what happened, line by line.") var trace = false

    func run() async throws {
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

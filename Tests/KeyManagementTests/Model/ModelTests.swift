import Glibc
import TestServers
import Testing
import WireText

/// Random histories: a small model of the documents and the KMS over the wire have to answer alike, step for step.
///
/// `deploy/model-run` makes a long one; `HDS_SEED` repeats a seed that a failure printed.
@Suite("Model", .serialized)
struct ModelTests {
    private static func number(_ name: String) -> UInt64? {
        getenv(name).flatMap { UInt64(String(cString: $0)) }
    }
    private static let seeds: [UInt64] = number("HDS_SEED").map { [$0] } ?? [1, UInt64.random(in: .min ... .max)]

    @Test("the KMS answers a random history as the model does", arguments: seeds)
    func history(_ seed: UInt64) async throws {
        let operations = Self.number("HDS_MODEL_OPERATIONS").map { Int($0) } ?? (LongTests.areWanted ? 3000 : 1500)
        let isLong = operations > 10_000
        let run = try await ModelRun()
        var generator = OperationGenerator(seed: seed)
        var steps: [Step] = []
        let started = ContinuousClock.now
        while run.tally.operations < operations {
            let step = generator.next(run.model)
            steps.append(step)
            var space: ReferenceModel.Space?
            if case .ask(_, let request, _, _, _) = step.act {
                space = request.shrinking.flatMap { run.model.spaces[$0] }
            }
            do {
                try await run.take(step)
            } catch {
                print("model: seed \(seed), step \(step): \(error); looking for a shorter history")
                let text = await Shrinker.report(steps, seed: seed, failure: error)
                Issue.record(Comment(rawValue: text))
                return
            }
            generator.learn(step, before: space, run.model)
            if step.id % 500 == 0 { run.forget(before: step.id - 1000) }
            if isLong, step.id % 5000 == 0 { print("model: \(run.tally.operations) operations, seed \(seed)") }
        }
        let seen = run.tally.statuses
        print(
            "model: seed \(seed), \(run.tally.operations) operations in \(ContinuousClock.now - started), statuses "
                + seen.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value)" }.joined(separator: " ")
                + ", repeated strings \(run.tally.repeated), "
                + run.tally.rare.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value)" }.joined(separator: ", "))
        guard seed == 1 || isLong else { return }
        // A history that only meets refusals, or none, proves nothing.
        for status in [200, 201, 204, 400, 401, 403, 404, 405, 409, 499, 501] {
            #expect(seen[status, default: 0] > (isLong ? 100 : 0), "\(status): too tame")
        }
        for event in ["nested reads", "officer reads", "remaining nested", "stale time", "creation repeated"] {
            #expect(run.tally.rare[event, default: 0] > (isLong ? 20 : 0), "\(event): too tame")
        }
        #expect(run.tally.repeated > 20)
    }

    @Test("a model that does not know nested resources is found out, and few steps are left that show it")
    func control() async throws {
        let blind = ReferenceModel.Policy(nestingDepth: 0)
        let run = try await ModelRun(policy: blind)
        var generator = OperationGenerator(seed: 7)
        var steps: [Step] = []
        var found: (any Error)?
        while run.tally.operations < 6000, found == nil {
            let step = generator.next(run.model)
            steps.append(step)
            do {
                try await run.take(step)
                generator.learn(step, before: nil, run.model)
            } catch {
                found = error
            }
        }
        let difference = try #require(found as? ModelWorld.Difference, "nobody noticed")
        let report = await Shrinker.report(steps, seed: 7, policy: blind, failure: difference, runs: 40)
        #expect(report.contains("HDS_SEED=7"))
        // Each line of the report is a step.
        #expect(report.split(separator: "\n").count < 60, "\(report)")
        #expect(report.contains("isUpperCase"), "no id was added: \(report)")
    }
}

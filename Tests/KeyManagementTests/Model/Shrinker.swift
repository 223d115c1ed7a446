/// Makes a failing sequence shorter by leaving steps out, as long as it still fails in the same way.
enum Shrinker {
    /// How many runs are spent on it.
    private static let budget = 150

    static func report(
        _ steps: [Step], seed: UInt64, policy: ReferenceModel.Policy = .init(), failure: any Error
    ) async -> String {
        let short = await shrink(steps, policy: policy)
        return """
            seed \(seed), step \(steps.count - 1): \(failure)
            again: HDS_SEED=\(seed); the shortest sequence found has \(short.count) of \(steps.count) steps:
            \(short.map(\.description).joined(separator: "\n"))
            """
    }

    static func shrink(_ steps: [Step], policy: ReferenceModel.Policy = .init()) async -> [Step] {
        var best = related(steps)
        if await !fails(best, policy) { best = steps }
        var runs = 0
        var size = max(1, best.count / 2)
        while runs < budget {
            var start = 0
            var isShorter = false
            while start < best.count - 1, runs < budget {
                // The last step stays: it is the one that fails.
                let end = min(start + size, best.count - 1)
                let candidate = Array(best[..<start] + best[end...])
                runs += 1
                if await fails(candidate, policy) {
                    best = candidate
                    isShorter = true
                } else {
                    start = end
                }
            }
            if size == 1 && !isShorter { break }
            size = max(1, size / 2)
        }
        return best
    }

    /// A long history's end first: what failed is seldom far from what caused it.
    private static func related(_ steps: [Step]) -> [Step] { steps.count > 2000 ? Array(steps.suffix(1500)) : steps }

    private static func fails(_ steps: [Step], _ policy: ReferenceModel.Policy) async -> Bool {
        guard let run = try? await ModelRun(policy: policy) else { return false }
        for step in steps {
            do {
                try await run.take(step)
            } catch {
                return step.id == steps.last?.id
            }
        }
        return false
    }
}

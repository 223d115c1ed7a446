/// Makes a failing sequence shorter by leaving steps out, as long as it still fails in the same way.
enum Shrinker {
    /// How many runs are spent on it.
    private static let budget = 150

    static func report(
        _ steps: [Step], seed: UInt64, policy: ReferenceModel.Policy = .init(), failure: any Error
    ) async -> String {
        let short = await shrink(steps, policy: policy)
        let shown = short.suffix(60)
        return """
            seed \(seed), step \(steps.count - 1): \(failure)
            again: HDS_SEED=\(seed); the shortest sequence found has \(short.count) of \(steps.count) steps:
            \(shown.map(\.description).joined(separator: "\n"))
            """
    }

    static func shrink(_ steps: [Step], policy: ReferenceModel.Policy = .init()) async -> [Step] {
        // What failed is seldom far from what caused it: the end of a long history first.
        var best = steps
        for length in [300, 1500, 6000] where length < steps.count {
            let end = Array(steps.suffix(length))
            guard await fails(end, policy) else { continue }
            best = end
            break
        }
        guard best.count <= 6000 else { return best }
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

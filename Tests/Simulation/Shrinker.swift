/// Makes the plan of a run that violates something smaller: faults are left out and shortened as long as it still does.
enum Shrinker {
    /// - Parameter runs: how many may be tried.
    static func shrink(_ plan: Plan, mutation: Mutation? = nil, runs: Int = 60) throws -> Plan {
        var (best, left) = (plan, runs)
        func fails(_ plan: Plan) throws -> Bool {
            guard left > 0 else { return false }
            left -= 1
            return try !World.run(plan, mutation: mutation).violations.isEmpty
        }
        var index = 0
        while index < best.faults.count {
            var other = best
            other.faults.remove(at: index)
            if try fails(other) { best = other } else { index += 1 }
        }
        for index in best.faults.indices {
            var other = best
            other.faults[index].length /= 2
            if try fails(other) { best = other }
        }
        for work in [2500, 4000] as [Int64] where best.work > work {
            var other = best
            other.work = work
            if try fails(other) {
                best = other
                break
            }
        }
        return best
    }

    /// The shortest plan found, and what happened in it up to the first violation.
    static func report(_ plan: Plan, mutation: Mutation? = nil, lines: Int = 60) throws -> String {
        let small = try shrink(plan, mutation: mutation)
        let outcome = try World.run(small, mutation: mutation)
        let end = outcome.lines.firstIndex { $0.contains("VIOLATION") }.map { $0 + 1 } ?? outcome.lines.count
        return """
            seed \(plan.seed): \(outcome.violations.first ?? "nothing any more")
            again: deploy/simulate --from \(plan.seed) --seeds 1
            \(small.isSynchronous ? "synchronous" : "asynchronous") standby, faults:
            \(small.faults.map { "  \($0)" }.joined(separator: "\n"))
            \(outcome.lines[..<end].suffix(lines).joined(separator: "\n"))
            """
    }
}

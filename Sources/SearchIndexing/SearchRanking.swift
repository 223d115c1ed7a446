package import TextAnalysis

/// Orders what was found: the newer day first, within a day what has the rarer words.
package struct SearchRanking: Sendable {
    package struct Candidate: Sendable {
        package let message: String
        /// Milliseconds since 1970.
        package let published: Int64
        package let matched: Set<Term>

        package init(message: String, published: Int64, matched: Set<Term>) {
            self.message = message
            self.published = published
            self.matched = matched
        }
    }

    private static let day: Int64 = 86_400_000

    /// The candidates' own counts stand for the frequencies of their terms: no count is kept anywhere.
    package static func ordered(_ candidates: [Candidate]) -> [Candidate] {
        var counts: [Term: Int] = [:]
        for candidate in candidates { for term in candidate.matched { counts[term, default: 0] += 1 } }
        // 2^k messages of n have the term: it is worth the doublings from there to all of them.
        func weight(_ term: Term) -> Int {
            let share = candidates.count / max(1, counts[term, default: 1])
            return 1 + Int.bitWidth - share.leadingZeroBitCount
        }
        // Words that stand in every candidate tell nothing apart.
        let scored = candidates.map { ($0, $0.matched.reduce(0) { $0 + weight($1) }) }
        return scored.sorted { left, right in
            let days = (floorDay(left.0.published), floorDay(right.0.published))
            if days.0 != days.1 { return days.0 > days.1 }
            if left.1 != right.1 { return left.1 > right.1 }
            if left.0.published != right.0.published { return left.0.published > right.0.published }
            return left.0.message < right.0.message
        }.map(\.0)
    }

    private static func floorDay(_ time: Int64) -> Int64 {
        time >= 0 ? time / day : (time - day + 1) / day
    }
}

internal import Cryptography
package import SearchProtocol

/// Compares the entries of profile `salted` with a cell of a lookup, as the search service does.
///
/// All it takes is what the lookup brings: the token of a term is the key of a pseudorandom function over the salt of an
/// entry. No key of a room is needed, and nothing can be opened with it. Codewords have 24 bits, so one in 16.7 million
/// comparisons is a false hit, which whoever asked removes. One value per thread.
package struct SaltedMatcher: ~Copyable {
    private var prf = CodewordPRF()

    package init() {}

    /// Which of the entries have a codeword of at least one token of each group; indices ascend.
    ///
    /// Give many entries at once: each token is set up once for all of them.
    package mutating func matches(
        of groups: [[SearchToken]], among entries: [(salt: [UInt8], codewords: [UInt32])]
    ) -> [Int] {
        var candidates = Array(entries.indices)
        for group in groups where !candidates.isEmpty {
            var salts: [UInt8] = []
            salts.reserveCapacity(candidates.count * SearchEntry.saltByteCount)
            for index in candidates { salts.append(contentsOf: entries[index].salt) }
            var found = [Bool](repeating: false, count: candidates.count)
            for token in group {
                prf.rekey(high: token.high, low: token.low)
                prf.codewords(for: salts) { position, codeword in
                    if !found[position], Self.contains(entries[candidates[position]].codewords, codeword) {
                        found[position] = true
                    }
                }
            }
            candidates = candidates.indices.filter { found[$0] }.map { candidates[$0] }
        }
        return candidates
    }

    /// The codewords of an entry ascend.
    private static func contains(_ codewords: [UInt32], _ wanted: UInt32) -> Bool {
        var (low, high) = (0, codewords.count)
        while low < high {
            let middle = (low + high) / 2
            if codewords[middle] < wanted { low = middle + 1 } else { high = middle }
        }
        return low < codewords.count && codewords[low] == wanted
    }
}

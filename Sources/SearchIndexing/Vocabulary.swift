internal import TextAnalysis

/// The words that a room's messages have, so that a part of a word can be looked for: kept sealed by the indexer.
///
/// Words are folded octets, grams of Chinese, Japanese, Korean and Thai among them, as `EntryBuilder.forEachWord` tells them.
package protocol SearchVocabulary {
    /// At most `limit` words of the room that match; `isComplete` is false when there are more.
    func words(of room: String, matching pattern: WordPattern, limit: Int) throws -> WordMatches
}

package struct WordMatches: Equatable, Sendable {
    package var words: [[UInt8]]
    package var isComplete: Bool
    package init(words: [[UInt8]], isComplete: Bool) {
        self.words = words
        self.isComplete = isComplete
    }
}

/// A part of a word, or a word that may be misspelt; over folded octets.
package enum WordPattern: Hashable, Sendable {
    case prefix([UInt8])
    /// `*` any characters, `?` one.
    case wildcard([UInt8])
    /// Words at most so many changes away: a letter more, less, other, or two neighbours swapped.
    case fuzzy([UInt8], distance: Int)
    /// Grams that have these characters in them.
    case containing([UInt8])

    /// How a word that matches starts, for a range in an index; empty if nothing is known.
    package var start: [UInt8] {
        switch self {
        case .prefix(let start): start
        case .wildcard(let pattern): Array(pattern.prefix { $0 != 0x2A && $0 != 0x3F })
        case .fuzzy, .containing: []
        }
    }

    package func matches(_ word: some Collection<UInt8>) -> Bool {
        let word = Array(word)
        let points = String(decoding: word, as: UTF8.self).unicodeScalars.map(\.value)
        guard let first = points.first else { return false }
        let isGram = TextAnalyser.gramLength(at: first) != nil
        switch self {
        case .prefix(let start): return !isGram && word.starts(with: start)
        case .wildcard(let pattern): return !isGram && Self.wildcard(Self.points(pattern), points)
        case .fuzzy(let wanted, let distance):
            return !isGram && Self.isWithin(distance, Self.points(wanted), points)
        case .containing(let part): return isGram && Self.contains(points, Self.points(part))
        }
    }

    private static func points(_ octets: [UInt8]) -> [UInt32] {
        String(decoding: octets, as: UTF8.self).unicodeScalars.map(\.value)
    }

    static func contains(_ whole: [UInt32], _ part: [UInt32]) -> Bool {
        guard part.count <= whole.count else { return false }
        return (0...(whole.count - part.count)).contains { whole[$0..<($0 + part.count)].elementsEqual(part) }
    }

    /// Without backtracking over more than the last star.
    private static func wildcard(_ pattern: [UInt32], _ word: [UInt32]) -> Bool {
        var (position, place) = (0, 0)
        var star: (position: Int, place: Int)?
        while place < word.count {
            if position < pattern.count, pattern[position] == 0x2A {
                star = (position, place)
                position += 1
            } else if position < pattern.count, pattern[position] == 0x3F || pattern[position] == word[place] {
                position += 1
                place += 1
            } else if let last = star {
                star = (last.position, last.place + 1)
                position = last.position + 1
                place = last.place + 1
            } else {
                return false
            }
        }
        return pattern[position...].allSatisfy { $0 == 0x2A }
    }

    /// Optimal string alignment: a pair is swapped once at most.
    private static func isWithin(_ distance: Int, _ left: [UInt32], _ right: [UInt32]) -> Bool {
        guard abs(left.count - right.count) <= distance, left.count <= 64, right.count <= 66 else { return false }
        var beforeLast = [Int](repeating: 0, count: right.count + 1)
        var last = Array(0...right.count)
        for row in 0..<left.count {
            var current = [row + 1]
            for column in 0..<right.count {
                var cost = min(
                    last[column + 1] + 1, current[column] + 1, last[column] + (left[row] == right[column] ? 0 : 1))
                if row > 0, column > 0, left[row] == right[column - 1], left[row - 1] == right[column] {
                    cost = min(cost, beforeLast[column - 1] + 1)
                }
                current.append(cost)
            }
            beforeLast = last
            last = current
        }
        return last[right.count] <= distance
    }
}

/// A vocabulary in memory: for tests, and the reference for the sealed one.
package struct MemoryVocabulary: SearchVocabulary {
    private var rooms: [String: Set<[UInt8]>] = [:]

    package init() {}

    package mutating func add(_ word: some Sequence<UInt8>, to room: String) {
        rooms[room, default: []].insert(Array(word))
    }

    package func words(of room: String, matching pattern: WordPattern, limit: Int) -> WordMatches {
        let found = (rooms[room] ?? []).filter { pattern.matches($0) }.sorted { $0.lexicographicallyPrecedes($1) }
        return WordMatches(words: Array(found.prefix(limit)), isComplete: found.count <= limit)
    }
}

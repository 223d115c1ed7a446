/// Finds in a text what a search probably meant, to show it: words that are those of the query, or begin alike.
///
/// For the eye only. Which messages are meant the indexer decides, with stems and vocabularies that a client does not have.
package struct MatchHighlighter: Sendable {
    private let words: [[Character]]

    package init(_ query: String) {
        words = query.split { $0.isWhitespace || "\"()*?~“”„".contains($0) }
            .filter { !$0.hasPrefix("-") && !["OR", "AND", "NOT"].contains($0) }
            .compactMap { part -> [Character]? in
                var word = part.lowercased()
                for name in ["from:", "in:", "type:", "after:", "before:"] where word.hasPrefix(name) { return nil }
                if word.hasPrefix("file:") { word = String(word.dropFirst(5)) }
                return word.isEmpty ? nil : Array(word)
            }
    }

    /// Parts of the text in their order, each with whether it is a match.
    package func parts(_ text: String) -> [(text: String, isMatch: Bool)] {
        var parts: [(text: String, isMatch: Bool)] = []
        var rest = Substring(text)
        while let first = rest.first {
            let isWord = Self.isWord(first)
            let piece = rest.prefix { Self.isWord($0) == isWord }
            rest = rest.dropFirst(piece.count)
            for (part, isMatch) in isWord ? divide(piece) : [(String(piece), false)] {
                if let last = parts.last, last.isMatch == isMatch {
                    parts[parts.count - 1].text += part
                } else {
                    parts.append((part, isMatch))
                }
            }
        }
        return parts
    }

    private static func isWord(_ character: Character) -> Bool { character.isLetter || character.isNumber }

    /// A word as a whole; of scripts without spaces the part that was looked for.
    private func divide(_ piece: Substring) -> [(String, Bool)] {
        let lower = piece.map { Character($0.lowercased().prefix(1).description) }
        for word in words {
            let bare = word.filter { Self.isWord($0) }
            guard !bare.isEmpty else { continue }
            if Self.beginAlike(bare, lower) { return [(String(piece), true)] }
            if bare.count < lower.count, !bare[0].isASCII, let start = Self.position(of: bare, in: lower) {
                let all = Array(piece)
                let end = start + bare.count
                return [(String(all[..<start]), false), (String(all[start..<end]), true), (String(all[end...]), false)]
                    .filter { !$0.0.isEmpty }
            }
        }
        return [(String(piece), false)]
    }

    /// The shorter one is the beginning of the longer, but for an ending of three letters at most.
    private static func beginAlike(_ left: [Character], _ right: [Character]) -> Bool {
        let shared = zip(left, right).prefix { $0 == $1 }.count
        return shared == left.count && left.count == right.count
            || shared >= 3 && shared >= max(left.count, right.count) - 3
    }

    private static func position(of part: [Character], in whole: [Character]) -> Int? {
        (0...(whole.count - part.count)).first { whole[$0..<($0 + part.count)].elementsEqual(part) }
    }
}

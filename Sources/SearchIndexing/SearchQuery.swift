/// What somebody looks for, as a tree.
///
/// ```swift
/// let query = try SearchQuery.parse("budget \"third quarter\" OR forecast* -draft").query
/// ```
package indirect enum SearchQuery: Equatable, Sendable {
    /// A word in any of its forms; of several parts, such as `ssh-server`, these next to each other as written.
    case word(String)
    /// These words next to each other as written.
    case phrase(String)
    /// Words that start like this.
    case prefix(String)
    /// `*` for any letters, `?` for one.
    case wildcard(String)
    /// Words that differ in one letter, from six letters on in two.
    case fuzzy(String)
    /// Words of the names of files.
    case fileName(String)
    case all([SearchQuery])
    case any([SearchQuery])
    case not(SearchQuery)
}

/// A query with the filters that stood beside it. Who is meant by `from` and `in` the indexer finds out.
package struct ParsedQuery: Equatable, Sendable {
    /// Nil if there are only filters.
    package var query: SearchQuery?
    package var from: [String] = []
    package var rooms: [String] = []
    package var types: [String] = []
    /// Days as written, `2026-11-27`: on or after, before.
    package var after: String?
    package var before: String?

    package init(query: SearchQuery? = nil) { self.query = query }
}

extension SearchQuery {
    /// At most so many words and operators; what follows is not looked at.
    static let maximumParts = 32

    /// Reads what people type: words, `"phrases"`, `start*`, `w?rd`, `word~`, `OR`, `-not`, brackets, `file:`, `from:`, `in:`,
    /// `type:`, `after:`, `before:`. Every text has a meaning: what does not fit is taken as words.
    package static func parse(_ text: String) -> ParsedQuery {
        var parser = QueryParser(text)
        return parser.parse()
    }

    /// Whether some message is found by having a word and not only by lacking one.
    package var isBounded: Bool {
        switch self {
        case .word, .phrase, .prefix, .wildcard, .fuzzy, .fileName: true
        case .all(let parts): parts.contains(where: \.isBounded)
        case .any(let parts): !parts.isEmpty && parts.allSatisfy(\.isBounded)
        case .not: false
        }
    }
}

private struct QueryParser {
    private enum Piece: Equatable {
        case opening, closing, or, minus
        case quoted(String)
        case plain(String)
    }

    private var pieces: ArraySlice<Piece>
    private var result = ParsedQuery()
    private var depth = 0

    init(_ text: String) { pieces = Self.divide(text).prefix(SearchQuery.maximumParts) }

    mutating func parse() -> ParsedQuery {
        var parts: [SearchQuery] = []
        while !pieces.isEmpty {
            if let part = alternatives() { parts.append(part) }
            // A bracket that closes nothing.
            if pieces.first == .closing { pieces.removeFirst() }
        }
        result.query = Self.combined(parts, SearchQuery.all)
        return result
    }

    private static func combined(_ parts: [SearchQuery], _ make: ([SearchQuery]) -> SearchQuery) -> SearchQuery? {
        parts.count > 1 ? make(parts) : parts.first
    }

    /// sequence (OR sequence)*
    private mutating func alternatives() -> SearchQuery? {
        var parts: [SearchQuery] = []
        while true {
            if let part = sequence() { parts.append(part) }
            guard pieces.first == .or else { break }
            pieces.removeFirst()
        }
        return Self.combined(parts, SearchQuery.any)
    }

    private mutating func sequence() -> SearchQuery? {
        var parts: [SearchQuery] = []
        while let piece = pieces.first, piece != .or, piece != .closing {
            if let part = single() { parts.append(part) }
        }
        return Self.combined(parts, SearchQuery.all)
    }

    private mutating func single() -> SearchQuery? {
        guard let piece = pieces.popFirst() else { return nil }
        switch piece {
        case .minus: return single().map(SearchQuery.not)
        case .opening:
            guard depth < 8 else { return nil }
            depth += 1
            defer { depth -= 1 }
            let inner = alternatives()
            if pieces.first == .closing { pieces.removeFirst() }
            return inner
        case .quoted(let text): return text.isEmpty ? nil : .phrase(text)
        case .plain(let text): return leaf(text)
        case .or, .closing: return nil
        }
    }

    private mutating func leaf(_ text: String) -> SearchQuery? {
        if let colon = text.firstIndex(of: ":"), colon != text.startIndex {
            let value = String(text[text.index(after: colon)...])
            if !value.isEmpty {
                switch text[..<colon].lowercased() {
                case "from": result.from.append(value)
                case "in": result.rooms.append(value)
                case "type": result.types.append(value)
                case "after": result.after = value
                case "before": result.before = value
                case "file": return .fileName(value)
                default: return word(text)
                }
                return nil
            }
        }
        return word(text)
    }

    private func word(_ text: String) -> SearchQuery? {
        if text.last == "~", text.count > 1 { return .fuzzy(String(text.dropLast())) }
        let stars = text.filter { $0 == "*" || $0 == "?" }
        guard stars.contains("*") || stars.contains("?") && text.last != "?" else { return .word(text) }
        // `what?` is a question and no pattern.
        let bare = text.filter { $0 != "*" && $0 != "?" }
        guard !bare.isEmpty else { return nil }
        if stars == "*", text.last == "*" { return .prefix(bare) }
        return .wildcard(text)
    }

    private static func divide(_ text: String) -> [Piece] {
        var pieces: [Piece] = []
        var current = ""
        var isQuoted = false
        func flush() {
            switch current {
            case "", "AND": break
            case "OR": pieces.append(.or)
            case "NOT": pieces.append(.minus)
            default: pieces.append(.plain(current))
            }
            current = ""
        }
        for character in text {
            switch character {
            case "\"", "\u{201C}", "\u{201D}", "\u{201E}":
                if isQuoted { pieces.append(.quoted(current)) } else { flush() }
                current = ""
                isQuoted.toggle()
            case _ where isQuoted: current.append(character)
            case "(":
                flush()
                pieces.append(.opening)
            case ")":
                flush()
                pieces.append(.closing)
            case "-" where current.isEmpty: pieces.append(.minus)
            case _ where character.isWhitespace: flush()
            default: current.append(character)
            }
        }
        if isQuoted { pieces.append(.quoted(current)) } else { flush() }
        return pieces
    }
}

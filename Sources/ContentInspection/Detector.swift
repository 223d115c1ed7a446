package import Diagnostics

/// Finds something in a text: how often it stands there.
package enum Detector: Sendable {
    case cardNumber
    case bankAccount
    case words(WordList)
    case pattern(TextPattern)

    package func count(in text: String) -> Int {
        switch self {
        case .cardNumber: CardNumber.count(in: Array(text.utf8))
        case .bankAccount: BankAccount.count(in: Array(text.utf8))
        case .words(let list): list.count(in: text)
        case .pattern(let pattern): pattern.count(in: text)
        }
    }
}

/// Words and phrases, without case, whole words only.
package struct WordList: Sendable {
    private let phrases: Set<[String]>
    private let longest: Int

    /// Empty ones are left out.
    package init(_ words: [String]) {
        phrases = Set(words.map(Self.words).filter { !$0.isEmpty })
        longest = phrases.map(\.count).max() ?? 0
    }

    package var isEmpty: Bool { phrases.isEmpty }

    package func count(in text: String) -> Int {
        let words = Self.words(text)
        var count = 0
        for start in words.indices {
            for length in 1...max(1, longest) where start + length <= words.count {
                if phrases.contains(Array(words[start..<(start + length)])) { count += 1 }
            }
        }
        return count
    }

    private static func words(_ text: String) -> [String] {
        text.lowercased().split { !($0.isLetter || $0.isNumber) }.map(String.init)
    }
}

/// What is looked for in each message, and what is done when it is found often enough.
package struct InspectionRule: Sendable {
    package enum Action: String, Sendable, CaseIterable {
        /// An event in the journal, and a finding for officers.
        case alert
        /// The message is destroyed here and at the core; what is held stays.
        case remove
    }

    package let name: String
    package let detectors: [Detector]
    package let atLeast: Int
    /// Ids of spaces; empty: all.
    package let spaces: Set<String>
    package let actions: Set<Action>

    package init(name: String, detectors: [Detector], atLeast: Int = 1, spaces: Set<String> = [], actions: Set<Action>)
    {
        (self.name, self.detectors, self.atLeast) = (name, detectors, max(1, atLeast))
        (self.spaces, self.actions) = (spaces, actions)
    }

    /// How often its detectors found something, when that is often enough; else nil.
    package func hits(in texts: [String], space: String) -> Int? {
        guard spaces.isEmpty || spaces.contains(space) else { return nil }
        let count = texts.reduce(0) { sum, text in
            // What is beyond is not looked at: a message is no book.
            let text =
                text.utf8.count > Self.longest ? String(decoding: text.utf8.prefix(Self.longest), as: UTF8.self) : text
            return sum + detectors.reduce(0) { $0 + $1.count(in: text) }
        }
        return count >= atLeast ? count : nil
    }

    package static let longest = 256 << 10
}

extension DiagnosedError.Code {
    package static let inspectionPattern: Self = "inspection-pattern"
}

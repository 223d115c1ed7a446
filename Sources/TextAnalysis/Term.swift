/// What kind of thing a term stands for: the first octet of the term.
package enum TermClass: UInt8, Sendable {
    /// A word as it is written: numbers, names of hosts, words in a script that the room has no language for.
    case surface = 0x77  // w
    case stem = 0x73  // s
    /// Two characters of Chinese, Japanese or Korean, three of Thai and its neighbours.
    case gram = 0x63  // c
    case mention = 0x6D  // m
    case hashtag = 0x68  // h
    /// Of the name of a file.
    case fileName = 0x66  // f
}

/// What a message is found by: class, 0x1f, language, 0x1f, octets of the folded text.
package struct Term: Hashable, Sendable, Comparable {
    package let octets: [UInt8]

    package init(octets: [UInt8]) { self.octets = octets }

    package init(_ termClass: TermClass, language: String = "", _ text: some Sequence<UInt8>) {
        var octets = [termClass.rawValue, Self.separator]
        octets.append(contentsOf: language.utf8)
        octets.append(Self.separator)
        octets.append(contentsOf: text)
        self.octets = octets
    }

    package static let separator: UInt8 = 0x1F

    package var termClass: TermClass? { octets.first.flatMap(TermClass.init(rawValue:)) }

    /// What stands behind class and language.
    package var text: ArraySlice<UInt8> {
        guard let second = octets.dropFirst(2).firstIndex(of: Self.separator) else { return [] }
        return octets[(second + 1)...]
    }

    package var language: Language? {
        guard let second = octets.dropFirst(2).firstIndex(of: Self.separator) else { return nil }
        return Language(code: String(decoding: octets[2..<second], as: UTF8.self))
    }

    package static func < (left: Self, right: Self) -> Bool { left.octets.lexicographicallyPrecedes(right.octets) }
}

/// A place in a text as phrases count them: a word, or one character where words are not written apart.
package enum TextUnit: Hashable, Sendable {
    case word([UInt8])
    case character(UInt32)
    /// Between two runs of characters, and between two texts of one message.
    case gap
}

/// What is to be searchable of a message.
package struct SearchableText: Sendable, Equatable {
    package var text: String
    package var fileNames: [String]
    /// What converters got out of its files.
    package var fileTexts: [String]

    package init(_ text: String, fileNames: [String] = [], fileTexts: [String] = []) {
        self.text = text
        self.fileNames = fileNames
        self.fileTexts = fileTexts
    }
}

/// What was over a limit of the analyser and is therefore not searchable; to be counted and told.
package struct AnalysisExcess: Equatable, Sendable {
    package var octets = 0
    package var terms = 0
    package var isEmpty: Bool { octets == 0 && terms == 0 }
    package init(octets: Int = 0, terms: Int = 0) {
        self.octets = octets
        self.terms = terms
    }
}

/// A message as the analyser sees it: for refinement, and the plaintext evaluation that the index is measured by.
package struct AnalysedText: Sendable {
    /// Each once, in the order in which they appear.
    package let terms: [Term]
    package let units: [TextUnit]
    package let excess: AnalysisExcess
    package let termSet: Set<Term>

    package init(terms: [Term], units: [TextUnit], excess: AnalysisExcess) {
        self.terms = terms
        self.units = units
        self.excess = excess
        termSet = Set(terms)
    }
}

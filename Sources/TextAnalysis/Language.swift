/// A language whose words are stemmed. The raw value and the code are part of the index format.
package enum Language: UInt8, CaseIterable, Sendable {
    case english, german, french, spanish, italian, portuguese, dutch, swedish, norwegian, danish, finnish, russian
    case hungarian, romanian, turkish, greek, arabic, hindi

    /// ISO 639-1, as it stands in a term.
    package var code: String {
        switch self {
        case .english: "en"
        case .german: "de"
        case .french: "fr"
        case .spanish: "es"
        case .italian: "it"
        case .portuguese: "pt"
        case .dutch: "nl"
        case .swedish: "sv"
        case .norwegian: "no"
        case .danish: "da"
        case .finnish: "fi"
        case .russian: "ru"
        case .hungarian: "hu"
        case .romanian: "ro"
        case .turkish: "tr"
        case .greek: "el"
        case .arabic: "ar"
        case .hindi: "hi"
        }
    }

    package init?(code: String) {
        guard let language = Self.allCases.first(where: { $0.code == code }) else { return nil }
        self = language
    }

    /// The name of the algorithm in libstemmer.
    package var algorithm: String { "\(self)" }

    /// The letters that its words are written in: words in others are not stemmed by it.
    var script: Script {
        switch self {
        case .russian: .cyrillic
        case .greek: .greek
        case .arabic: .arabic
        case .hindi: .devanagari
        default: .latin
        }
    }
}

/// The languages that a room's messages are stemmed in: fixed for an epoch, and never guessed from one message.
package struct LanguageSet: OptionSet, Hashable, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue & 0x3FFFF }

    package init(languages: some Sequence<Language>) {
        self.init(rawValue: languages.reduce(0) { $0 | 1 << UInt32($1.rawValue) })
    }

    /// Codes such as `en`; nil if one is unknown.
    package init?(codes: [String]) {
        let languages = codes.compactMap(Language.init(code:))
        guard languages.count == codes.count else { return nil }
        self.init(languages: languages)
    }

    package static let english = LanguageSet(languages: [.english])

    /// In the order of their raw values.
    package var languages: [Language] { Language.allCases.filter { rawValue & 1 << UInt32($0.rawValue) != 0 } }
}

/// What a word is written in, as far as the analyser has to know.
enum Script: UInt8, Sendable {
    case latin, cyrillic, greek, arabic, devanagari
    /// Han, Hiragana, Katakana, Hangul: grams of two.
    case cjk
    /// Thai, Lao, Khmer, Burmese, which are written without spaces: grams of three.
    case thai
    case other

    /// Of a letter, by fixed ranges: part of the index format.
    static func of(_ point: UInt32) -> Script {
        if point < 0x300 {
            return point < 0x80 ? .latin : (point >= 0xC0 || point == 0xAA || point == 0xBA ? .latin : .other)
        }
        switch point {
        case 0x370...0x3FF, 0x1F00...0x1FFF: return .greek
        case 0x400...0x52F, 0x1C80...0x1C8F, 0x2DE0...0x2DFF, 0xA640...0xA69F: return .cyrillic
        case 0x600...0x6FF, 0x750...0x77F, 0x870...0x8FF, 0xFB50...0xFDFF, 0xFE70...0xFEFF: return .arabic
        case 0x900...0x97F, 0xA8E0...0xA8FF: return .devanagari
        case 0x1E00...0x1EFF, 0x2C60...0x2C7F, 0xA720...0xA7FF, 0xFB00...0xFB06, 0xFF21...0xFF5A: return .latin
        case 0xE00...0xEFF, 0x1000...0x109F, 0x1780...0x17FF, 0x19E0...0x19FF, 0xA9E0...0xA9FF, 0xAA60...0xAA7F:
            return .thai
        case 0x1100...0x11FF, 0x2E80...0x2FDF, 0x3005...0x3007, 0x3021...0x3029, 0x3031...0x3035, 0x3038...0x303C,
            0x3041...0x3096, 0x309D...0x309F, 0x30A1...0x30FA, 0x30FC...0x30FF, 0x3105...0x312F, 0x3131...0x318E,
            0x31A0...0x31BF, 0x31F0...0x31FF, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xA960...0xA97F, 0xAC00...0xD7FF,
            0xF900...0xFAFF, 0xFF66...0xFFDC, 0x1AFF0...0x1AFFF, 0x1B000...0x1B16F, 0x20000...0x323AF:
            return .cjk
        default: return .other
        }
    }
}

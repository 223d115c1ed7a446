internal import TextAnalysis

/// How many tokens a term has in profile `padded`: a fixed public table, part of the index format.
///
/// A frequent word is spread over several tokens, of which each message gets one, so that counting tokens says less.
/// Frequency in a language is public knowledge; the table tells nothing about a room. What stands in no list is judged by
/// its length, for short words are frequent in every language.
package enum VariantTable {
    package static let most = 8

    package static func count(of term: ArraySlice<UInt8>) -> Int {
        guard term.count > 3 else { return 1 }
        let first = term[term.startIndex]
        if first == TermClass.gram.rawValue { return gram(term.dropFirst(3)) }
        guard first == TermClass.stem.rawValue || first == TermClass.surface.rawValue else { return 1 }
        let isEnglish = term.dropFirst(2).starts(with: english)
        guard let second = term.dropFirst(2).firstIndex(of: Term.separator) else { return 1 }
        let text = term[(second + 1)...]
        if isEnglish {
            if frequent.contains(Array(text)) { return 8 }
            if common.contains(Array(text)) { return 4 }
        }
        if first == TermClass.surface.rawValue { return text.count <= 2 ? 4 : 1 }
        // Letters outside of ASCII count twice at most.
        switch text.count {
        case ...3: return 4
        case 4...5: return 2
        default: return 1
        }
    }

    private static let english: [UInt8] = [0x65, 0x6E, Term.separator]

    /// Kana carry the grammar of Japanese: grams without a Chinese character are the frequent ones.
    private static func gram(_ text: ArraySlice<UInt8>) -> Int {
        let points = String(decoding: text, as: UTF8.self).unicodeScalars
        if points.allSatisfy({ (0x3041...0x3096).contains($0.value) }) { return 8 }
        if points.contains(where: { (0x3041...0x3096).contains($0.value) }) { return 4 }
        return points.allSatisfy { (0xE00...0xEFF).contains($0.value) } ? 4 : 2
    }

    private static let frequent = stems(
        """
        can just get no like what how use work know there not don't want i'm that it's try need thank ok yes problem file all up
        then out go see one about now think they when will some would instal run whi well which
        """)
    private static let common = stems(
        """
        time good make way look onli who them could more help than should ani new thing doe doesn't veri someth right here say
        has been question also too set after tell start chang read back other their use user system box anyon version open
        connect server window page name link sure mayb even most still page never first give come got same two off into where
        those can't command issu support default had did everi take let point need type packag without old person day mean
        he she his her him us our year team week meet call send
        """)

    private static func stems(_ text: String) -> Set<[UInt8]> {
        Set(text.split { $0 == " " || $0 == "\n" }.map { Array($0.utf8) })
    }
}

import TestServers
import TestVectors
import Testing

@testable import TextAnalysis

@Suite("Frozen Unicode 15")
struct UnicodeTests {
    @Test(
        "Word boundaries are those of WordBreakTest, all 1,823 lines",
        .enabled(if: SharedData.isAvailable("unicode-15/WordBreakTest.txt")))
    func wordBreakTest() throws {
        var failures: [Substring] = []
        let lines = try SharedData.dataLines("unicode-15/WordBreakTest.txt")
        for line in lines {
            var points: [UInt32] = []
            var wanted: [Int] = []
            for word in line.split(whereSeparator: \.isWhitespace) {
                switch word {
                case "÷": wanted.append(points.count)
                case "×": break
                default: points.append(try #require(UInt32(word, radix: 16)))
                }
            }
            if WordBreak.boundaries(of: points) != wanted { failures.append(line) }
        }
        #expect(failures.isEmpty, "\(failures.prefix(5))")
        #expect(lines.count == 1823)
    }

    private static func segments(_ text: String) -> [String] {
        let scalars = Array(text.unicodeScalars)
        let boundaries = WordBreak.boundaries(of: scalars.map(\.value))
        return zip(boundaries, boundaries.dropFirst()).map { start, end in
            String(String.UnicodeScalarView(scalars[start..<end]))
        }
    }

    @Test(
        "Hangul, colons, signs, flags and joined emoji stay what they are",
        arguments: [
            ("한국어 검색", ["한국어", " ", "검색"]),
            ("\u{1112}\u{1161}\u{11AB}\u{1100}", ["\u{1112}\u{1161}\u{11AB}\u{1100}"]),
            ("bob@example.com", ["bob", "@", "example.com"]),
            ("re:start 12:30", ["re:start", " ", "12", ":", "30"]),
            ("👩‍👩‍👧👍🏽", ["👩‍👩‍👧", "👍🏽"]),
            ("🇩🇪🇫🇷🇮🇹", ["🇩🇪", "🇫🇷", "🇮🇹"]),
            ("can't 3.14 a_b", ["can't", " ", "3.14", " ", "a_b"]),
            ("カタカナです", ["カタカナ", "で", "す"]),
            ("\r\n\u{308}a", ["\r\n", "\u{308}", "a"]),
            ("", []),
        ])
    func ownVectors(_ text: String, _ wanted: [String]) {
        #expect(Self.segments(text) == wanted)
    }

    private static func points(_ field: Substring) -> [UInt32] {
        field.split(separator: " ").compactMap { UInt32($0, radix: 16) }
    }

    @Test(
        "Normalization Form C is that of NormalizationTest",
        .enabled(if: SharedData.isAvailable("unicode-15/NormalizationTest.txt.gz")))
    func normalization() throws {
        var failures: [Substring] = []
        var count = 0
        for line in try SharedData.dataLines("unicode-15/NormalizationTest.txt.gz") where !line.hasPrefix("@") {
            count += 1
            // Half a minute in full.
            guard LongTests.areWanted || count % 5 == 0 else { continue }
            let fields = line.split(separator: ";").map(Self.points)
            let isSame =
                fields[0..<3].allSatisfy { CaseFolding.composed($0) == fields[1] }
                && fields[3..<5].allSatisfy { CaseFolding.composed($0) == fields[3] }
            // Texts that mean the same are folded to the same.
            let folded = CaseFolding.fold(fields[1])
            let foldsAlike = fields[0..<3].allSatisfy { CaseFolding.fold($0) == folded }
            if !isSame || !foldsAlike { failures.append(line) }
        }
        #expect(failures.isEmpty, "\(failures.count) of \(count): \(failures.prefix(5))")
        #expect(count > 18_000)
    }

    @Test(
        "What case folding makes of a character is folded to itself",
        .enabled(if: SharedData.isAvailable("unicode-15/CaseFolding.txt")))
    func caseFolding() throws {
        var failures: [Substring] = []
        for line in try SharedData.dataLines("unicode-15/CaseFolding.txt") {
            let fields = line.split(separator: ";").map { $0.drop(while: \.isWhitespace) }
            guard fields[1] == "C" || fields[1] == "F" else { continue }
            let folded = CaseFolding.fold(Self.points(fields[0]))
            if folded != CaseFolding.fold(Self.points(fields[2])) || CaseFolding.fold(folded) != folded {
                failures.append(line)
            }
        }
        #expect(failures.isEmpty, "\(failures.prefix(5))")
    }

    @Test(
        "Compatibility and case are folded away",
        arguments: [
            ("ＡＢＣ１２３", "abc123"), ("ﬁle", "file"), ("Straße", "strasse"), ("ΣΊΣΥΦΟΣ", "σίσυφοσ"), ("İ", "i\u{307}"),
            ("ｶﾞ", "ガ"), ("so\u{AD}ft", "soft"), ("e\u{301}", "é"), ("각", "각"), ("\u{1100}\u{1161}\u{11A8}", "각"),
            ("K", "k"), ("x²", "x2"),
        ])
    func folding(_ text: String, _ wanted: String) {
        #expect(CaseFolding.fold(text.unicodeScalars.map(\.value)) == wanted.unicodeScalars.map(\.value))
    }
}

import Cryptography
import Foundation

/// What the people of the story send each other.
enum Material {
    static let lines: [String] = [
        "The quarterly figures are worse than the press release says.",
        "",
        "Grüße aus Zürich, żółć i 漢字, العربية, and a family: 👩‍👩‍👧‍👦 with e\u{301}",
        String(repeating: "A very long line that goes on without an end in sight; ", count: 1600),
        "{\"status\": 200, \"looks\": \"like an answer\"}\t<b>and like HTML</b>\u{0}",
        "Meet at the old bridge at nine, tell nobody.",
    ]

    /// Pieces of the lines that stand out wherever they are.
    static let pieces: [String] = [
        "quarterly figures are worse", "Grüße aus Zürich", "żółć i 漢字", "goes on without an end in sight",
        "looks\": \"like an answer", "Meet at the old bridge",
    ]

    static let afterwards = "Now that we are alone: the figures were made up."

    /// Octets that nobody else has, with a beginning like that of a real format.
    static func binary(_ count: Int = 300_007) throws -> [UInt8] {
        Array("%PDF-1.7\n".utf8) + (try RandomBytes.bytes(count))
    }

    static func blocks(of binary: [UInt8]) -> [[UInt8]] {
        stride(from: 9, to: binary.count - 48, by: binary.count / 12).map { Array(binary[$0..<$0 + 32]) }
    }
}

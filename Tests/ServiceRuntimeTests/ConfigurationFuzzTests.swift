import Diagnostics
import Glibc
import Testing

@testable import ServiceRuntime

/// SplitMix64: the same numbers for the same seed everywhere.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

@Suite("Configuration fuzzing")
struct ConfigurationFuzzTests {
    private static let pieces = [
        "", " ", "\n", "\t", ":", "- ", "? ", "{", "}", "[", "]", ",", "&a ", "*a", "!!str ", "!", "|\n", ">", "'",
        "\"",
        "#", "%YAML 1.2\n", "---\n", "...\n", "<<: ", "~", "null", "\u{0}", "\u{FEFF}", "\u{2028}", "é", "\\x", "\r",
        "host", "store", "yes", "0x1F", "1e999", ".nan", "-", "_", "@", "`",
    ]

    private func outcome(_ bytes: [UInt8]) -> String {
        do {
            _ = try ConfigurationFile.decode(bytes, file: "f", as: SampleConfiguration.self)
            return "read"
        } catch {
            // Every refusal says something in every line it has.
            return error.problems.allSatisfy { !$0.summary.isEmpty } && !error.problems.isEmpty ? "refused" : "mute"
        }
    }

    @Test("mutated files are read or refused with words, never more", arguments: [UInt64(1), 2, 3, 4])
    func mutations(seed: UInt64) {
        var random = SeededGenerator(state: seed)
        let sample = Array(SampleConfiguration.text.utf8)
        var counts: [String: Int] = [:]
        // HDS_FUZZ_ROUNDS=100000 for a long search.
        let rounds = getenv("HDS_FUZZ_ROUNDS").flatMap { Int(String(cString: $0)) } ?? 400
        for _ in 0..<rounds {
            var bytes = sample
            for _ in 0...Int.random(in: 0...4, using: &random) {
                let place = Int.random(in: 0...bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes.insert(contentsOf: Self.pieces.randomElement(using: &random)!.utf8, at: place)
                case 1: if place < bytes.count { bytes[place] = UInt8.random(in: 0...255, using: &random) }
                case 2: bytes.removeSubrange(place..<min(bytes.count, place + Int.random(in: 0...12, using: &random)))
                default:
                    let from = Int.random(in: 0..<max(1, bytes.count), using: &random)
                    let slice = Array(bytes[from..<min(bytes.count, from + 30)])
                    bytes.insert(contentsOf: slice, at: place)
                }
            }
            counts[outcome(bytes), default: 0] += 1
        }
        #expect(counts["mute"] == nil, "seed \(seed)")
        #expect((counts["refused"] ?? 0) > rounds / 4 && (counts["read"] ?? 0) > 0, "seed \(seed): \(counts)")
    }

    @Test("nesting without end, long lines and many keys are refused")
    func floods() {
        let floods = [
            String(repeating: "[", count: 200_000), String(repeating: "{a: ", count: 50_000),
            String(repeating: "- ", count: 100_000), String(repeating: "? ", count: 100_000),
            (0..<3_000).map { String(repeating: " ", count: $0) + "a:\n" }.joined(),
            "host: " + String(repeating: "x", count: 500_000), "host: \"" + String(repeating: "\\", count: 100_001),
            (0..<20_000).map { "key\($0): 1\n" }.joined(), String(repeating: "a: 1\n", count: 5_000),
            String(repeating: "!", count: 100_000), String(repeating: "%", count: 100_000),
        ]
        for flood in floods { #expect(outcome(Array(flood.utf8)) == "refused", "\(flood.prefix(10))") }
    }

    @Test("an alias bomb is refused before it grows")
    func bomb() {
        let lines = (1...30).map {
            "a\($0): &b\($0) [\(Array(repeating: "*b\($0 - 1)", count: 9).joined(separator: ","))]"
        }
        #expect(outcome(Array(("a0: &b0 x\n" + lines.joined(separator: "\n")).utf8)) == "refused")
    }
}

import Glibc

/// SplitMix64: the same seed gives the same run. `HDS_SEED` repeats a run whose seed a failure printed.
package struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Fixed seeds, one that is new in every run, and the one that is asked for.
    package static var seeds: [UInt64] {
        if let text = getenv("HDS_SEED").map({ String(cString: $0) }), let seed = UInt64(text) { return [seed] }
        return [1, 2, 3, 20_260_101, UInt64.random(in: .min ... .max)]
    }
}

extension RandomNumberGenerator {
    package mutating func octets(upTo limit: Int) -> [UInt8] {
        (0..<Int.random(in: 0...limit, using: &self)).map { _ in UInt8.random(in: 0...255, using: &self) }
    }
}

/// The checksum of a share's words: three symbols of a Reed-Solomon code over GF(1024) (SLIP-39, "Checksum").
///
/// Any error in at most three words is found.
enum ReedSolomon1024 {
    static let checksumCount = 3
    private static let generator: [UInt32] = [
        0xE0E040, 0x1C1_C080, 0x383_8100, 0x707_0200, 0xE0E_0009, 0x1C0C_2412, 0x3808_6C24, 0x3090_FC48, 0x21B1_F890,
        0x3F3_F120,
    ]

    static func checksum(of symbols: some Sequence<UInt16>, customization: String) -> [UInt16] {
        var state = start(customization)
        for symbol in symbols { absorb(symbol, into: &state) }
        for _ in 0..<checksumCount { absorb(0, into: &state) }
        state ^= 1
        return (0..<checksumCount).reversed().map { UInt16(state >> UInt32(10 * $0) & 1023) }
    }

    static func isValid(_ symbols: some Sequence<UInt16>, customization: String) -> Bool {
        var state = start(customization)
        for symbol in symbols { absorb(symbol, into: &state) }
        return state == 1
    }

    private static func start(_ customization: String) -> UInt32 {
        var state: UInt32 = 1
        for octet in customization.utf8 { absorb(UInt16(octet), into: &state) }
        return state
    }

    private static func absorb(_ symbol: UInt16, into state: inout UInt32) {
        let top = state >> 20
        state = (state & 0xFFFFF) << 10 ^ UInt32(symbol)
        for (bit, term) in generator.enumerated() { state ^= term & (0 &- (top >> UInt32(bit) & 1)) }
    }
}

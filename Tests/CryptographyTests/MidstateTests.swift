import Cryptography
import SecretMemory
import Testing
import WireText

@Suite("HMAC from midstates and the PRF of codewords")
struct MidstateTests {
    @Test("Tags are those of HMAC-SHA-256, whatever the sizes of key and message")
    func tags() {
        for keyCount in [0, 1, 32, 63, 64, 65, 200] {
            let key = SymmetricKey(copying: (0..<keyCount).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ 3) })
            let midstate = HMACSHA256Midstate(key: key)
            for count in [0, 1, 16, 55, 56, 63, 64, 65, 119, 120, 1000] {
                let message = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 13 &+ 1) }
                let tag = HMACSHA256.code(for: message, key: key)
                #expect(midstate.code(for: message) == tag, "key \(keyCount), message \(count)")
                let (high, low) = midstate.prefix(for: message)
                let prefix = [high, low].flatMap { word in
                    (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(56 - 8 * $0)) }
                }
                #expect(prefix == Array(tag.prefix(16)))
            }
        }
    }

    @Test("A dump of a midstate shows nothing")
    func dump() {
        let midstate = HMACSHA256Midstate(key: SymmetricKey(copying: [UInt8](repeating: 7, count: 32)))
        #expect(Mirror(reflecting: midstate).children.isEmpty)
    }

    @Test("A codeword is the start of an AES-128 block (FIPS 197, appendix C.1)")
    func codeword() throws {
        var prf = CodewordPRF()
        prf.rekey(high: 0x0001_0203_0405_0607, low: 0x0809_0A0B_0C0D_0E0F)
        let block = try #require(Hexadecimal.decode("00112233445566778899aabbccddeeff"))
        #expect(prf.codeword(for: block) == 0x69C4E0)
        // Under another key another one, and the first again under the first.
        prf.rekey(high: 1, low: 2)
        #expect(prf.codeword(for: block) != 0x69C4E0)
        prf.rekey(high: 0x0001_0203_0405_0607, low: 0x0809_0A0B_0C0D_0E0F)
        #expect(prf.codeword(for: block) == 0x69C4E0)
    }

    @Test("Many inputs at once give what each gives alone")
    func many() {
        var prf = CodewordPRF()
        prf.rekey(high: 77, low: 78)
        for count in [1, 63, 64, 65, 200] {
            let inputs = (0..<(count * 16)).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
            var together = [UInt32](repeating: 0, count: count)
            prf.codewords(for: inputs) { together[$0] = $1 }
            let alone = (0..<count).map { prf.codeword(for: Array(inputs[($0 * 16)..<($0 * 16 + 16)])) }
            #expect(together == alone)
        }
    }
}

import Cryptography
import Encryption
import SecretMemory
import Testing
import WireText

@Suite("RFC 4231 and RFC 5869")
struct RFCTests {
    /// Key, data and tag of HMAC-SHA-256 (RFC 4231, section 4); of case 5 the tag is cut to 128 bits.
    static let macs: [(key: [UInt8], data: [UInt8], tag: String)] = [
        (
            [UInt8](repeating: 0x0B, count: 20), Array("Hi There".utf8),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        ),
        (
            Array("Jefe".utf8), Array("what do ya want for nothing?".utf8),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        ),
        (
            [UInt8](repeating: 0xAA, count: 20), [UInt8](repeating: 0xDD, count: 50),
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"
        ),
        (
            Array(1...25), [UInt8](repeating: 0xCD, count: 50),
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"
        ),
        (
            [UInt8](repeating: 0x0C, count: 20), Array("Test With Truncation".utf8),
            "a3b6167473100ee06e0c796c2955552b"
        ),
        (
            [UInt8](repeating: 0xAA, count: 131),
            Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        ),
        (
            [UInt8](repeating: 0xAA, count: 131),
            Array(
                ("This is a test using a larger than block-size key and a larger than block-size data. The key needs to "
                    + "be hashed before being used by the HMAC algorithm.").utf8),
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"
        ),
    ]

    @Test("the seven cases of RFC 4231")
    func hmac() {
        for (key, data, tag) in Self.macs {
            let code = HMACSHA256.code(for: data, key: SymmetricKey(copying: key))
            #expect(Hexadecimal.encode(code).hasPrefix(tag))
            #expect(HMACSHA256.isValid(code, for: data, key: SymmetricKey(copying: key)))
        }
    }

    @Test("the three cases of RFC 5869 for SHA-256, with the pseudorandom key between")
    func hkdf() throws {
        let long = (ikm: Array(UInt8(0)...0x4F), salt: Array(UInt8(0x60)...0xAF), info: Array(UInt8(0xB0)...0xFF))
        let cases: [(ikm: [UInt8], salt: [UInt8], info: [UInt8], count: Int, prk: String, okm: String)] = [
            (
                [UInt8](repeating: 0x0B, count: 22), Array(0...12), Array(0xF0...0xF9), 42,
                "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
            ),
            (
                long.ikm, long.salt, long.info, 82,
                "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
                "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
                    + "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
            ),
            (
                [UInt8](repeating: 0x0B, count: 22), [], [], 42,
                "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
                "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
            ),
        ]
        for (ikm, salt, info, count, prk, okm) in cases {
            let extracted = HKDFSHA256.extract(from: SymmetricKey(copying: ikm), salt: salt)
            #expect(extracted.isEqual(to: SymmetricKey(copying: try #require(Hexadecimal.decode(prk)))))
            let expanded = try HKDFSHA256.expand(extracted, info: info, count: count)
            #expect(expanded.isEqual(to: SymmetricKey(copying: try #require(Hexadecimal.decode(okm)))))
        }
    }
}

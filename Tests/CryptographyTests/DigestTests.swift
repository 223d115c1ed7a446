import Cryptography
import SecretMemory
import Testing
import WireText

@Suite("SHA-256")
struct DigestTests {
    /// FIPS 180-4 examples.
    @Test(
        "known digests",
        arguments: [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
            ),
        ])
    func known(text: String, digest: String) {
        #expect(Hexadecimal.encode(SHA256.hash(text.utf8)) == digest)
        #expect(Hexadecimal.encode(SHA256.hash(Array(text.utf8))) == digest)
        #expect(Hexadecimal.encode(SHA256.hash(text.utf8.lazy.map { $0 })) == digest)
    }

    @Test("in pieces is as at once", arguments: [1, 63, 64, 65, 1000])
    func pieces(size: Int) {
        let bytes = (0..<3000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        var hasher = SHA256Hasher()
        var rest = bytes[...]
        while !rest.isEmpty {
            hasher.update(rest.prefix(size))
            rest = rest.dropFirst(size)
        }
        hasher.update([UInt8]())
        #expect(hasher.finalize() == SHA256.hash(bytes))
    }

    @Test("an HMAC under the empty key is one")
    func emptyKey() {
        let tag = HMACSHA256.code(for: [UInt8](), key: SymmetricKey(copying: []))
        #expect(Hexadecimal.encode(tag) == "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad")
    }

    @Test("an HMAC in pieces is as at once; another message, key or size is refused")
    func macPieces() {
        let key = SymmetricKey(copying: Array(0..<32))
        let tag = HMACSHA256.code(for: Array("one two".utf8), key: key)
        let inPieces = [UInt8](unsafeUninitializedCapacity: 32) { buffer, count in
            var context = key.withUnsafeBytes { HMACSHA256Context(key: $0) }
            context.update(Array("one ".utf8))
            context.update([])
            context.update(Array("two".utf8))
            context.finalize(into: UnsafeMutableRawBufferPointer(buffer))
            count = 32
        }
        #expect(inPieces == tag)
        #expect(!HMACSHA256.isValid(tag, for: Array("one twp".utf8), key: key))
        #expect(!HMACSHA256.isValid(tag.dropLast(), for: Array("one two".utf8), key: key))
        #expect(!HMACSHA256.isValid(tag, for: Array("one two".utf8), key: SymmetricKey(copying: Array(1..<33))))
    }
}

import TestServers
import Testing
import WireText

@testable import SAMLServiceProvider

/// Raw DEFLATE as zlib makes it, and as nobody should.
@Suite("DEFLATE of the redirect binding")
struct InflateTests {
    private static let message = String(
        repeating: "<samlp:LogoutRequest xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\" ID=\"_a\">", count: 8)
    private static let mixed: [UInt8] = {
        let once: [UInt8] = (0..<600).map { (index: Int) -> UInt8 in
            let octet: Int = (index * index * 7 + index / 3) % 256
            return UInt8(octet % 23 + 65)
        }
        return once + once + once
    }()

    @Test("What zlib made is read: with codes of its own, with the fixed ones, and stored")
    func vectors() throws {
        let vectors: [(String, [UInt8])] = [
            (
                "sylOzM0psPLJT88vLQlKLSxNLS5RqMjNySu2AsvYKpUW5VnlJxZnFlvlJeamFluVJFsFO/r6WBnpGVgVFOWX5Cfn5y"
                    + "gpeLrYKsUnKtnZjJo3ah4J5gEA",
                Array(Self.message.utf8)
            ),
            (
                "sylOzM0psPLJT88vLQlKLSxNLS5RqMjNySu2AsvYKpUW5VnlJxZnFlvlJeamFluVJFsFO/r6WBnpGVgVFOWX5Cfn5y"
                    + "gpeLrYKsUnKtnZjJo3ah4J5gEA",
                Array(Self.message.utf8)
            ),
            (
                "7ZLZjWg5CAVjM3jDNtjghfwzmdutl8RI/Vk6fBUVat5vwe1cZWJ6uRxXf0PJdqHMPZbQ6MWX8oGdo7oimFtM61rC/X"
                    + "YqBw61kLH12OKyyv3ceTSmG0MbqVW94x/yrEs8XkSWthjiSTg3m1VKvToYBta+N3GeI2Zo9TvOefsG0D098JH3xp7h"
                    + "sgn43CsEvYp4cZfqJYyRqKqScgANlglyEiX5xUsjjX58+m4dud2gwccsUyDfmvab7zaua+YCgxxfTuqGsM54j9fY39"
                    + "q3EVczmt3OmHyPGLvLWZiOX6qQg0jq7TzRT+nG0P/hsVyBop5+Vq5OxY7cTQNHv2gR2MbW0iIP+BX+FgbR7o/k5x2D"
                    + "1reWNVNLMnNPc+WRTcts+/TFHvQopou3dShRZpXuMN1K/VCtq/ysn+G6GONBnNpspew12fuUtvF9B0sg+hUue/htUt"
                    + "fKLc8ZCbjjj2HI0DvWMBgIRWIva1Wmc5vKg/nsi+avq7+u/rr66+p/0tV/",
                Self.mixed
            ), ("AwA=", []), ("AQMA/P9hYmM=", Array("abc".utf8)),
        ]
        for (text, expected) in vectors {
            let packed = try #require(Base64.decode(text))
            #expect(Inflate.expand(packed, limit: 100_000) == expected)
            // Cut, or with something behind it.
            for count in 0..<packed.count {
                #expect(Inflate.expand(Array(packed.prefix(count)), limit: 100_000) == nil)
            }
            #expect(Inflate.expand(packed + [0], limit: 100_000) == nil)
            if !expected.isEmpty { #expect(Inflate.expand(packed, limit: expected.count - 1) == nil) }
        }
    }

    @Test("What is stored comes back, whatever its length", arguments: [0, 1, 65_534, 65_535, 65_536, 200_000])
    func stored(_ count: Int) {
        let octets = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        #expect(Inflate.expand(Inflate.stored(octets), limit: count) == octets)
        if count > 0 { #expect(Inflate.expand(Inflate.stored(octets), limit: count - 1) == nil) }
    }

    @Test("Nonsense is refused, and nothing grows beyond the bound")
    func nonsense() {
        var generator = SeededGenerator(seed: 4711)
        for _ in 0..<20_000 {
            let octets = (0..<Int.random(in: 0...60, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
            #expect((Inflate.expand(octets, limit: 1000) ?? []).count <= 1000)
        }
    }
}

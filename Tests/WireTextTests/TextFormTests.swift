import Testing
import WireText

@Suite("Text forms")
struct TextFormTests {
    @Test("RFC 4648 test vectors, with and without padding")
    func base64() {
        let vectors = [
            "": "", "f": "Zg", "fo": "Zm8", "foo": "Zm9v", "foob": "Zm9vYg", "fooba": "Zm9vYmE", "foobar": "Zm9vYmFy",
        ]
        for (plain, text) in vectors {
            #expect(Base64URL.encode(Array(plain.utf8)) == text)
            #expect(Base64URL.decode(text) == Array(plain.utf8))
            let padded = text + String(repeating: "=", count: (4 - text.count % 4) % 4)
            #expect(Base64.encode(Array(plain.utf8)) == padded)
            #expect(Base64.decode(padded) == Array(plain.utf8))
        }
        #expect(Base64URL.encode([0xFB, 0xFF]) == "-_8")
        #expect(Base64.encode([0xFB, 0xFF]) == "+/8=")
    }

    @Test("a text that is not the one form of its octets is refused")
    func strict() {
        for text in ["Zg==", "Zh", "Zm9", "A", "Zm 9v", "Zm+v", "Zm/v", "Zm9v\n", "Zé"] {
            #expect(Base64URL.decode(text) == nil, "\(text)")
        }
        for text in ["Zg", "Zg=", "Zh==", "Zm9=", "====", "Z===", "Zm-v", "Zm9v="] {
            #expect(Base64.decode(text) == nil, "\(text)")
        }
        #expect(Hexadecimal.decode("0g") == nil)
        #expect(Hexadecimal.decode("abc") == nil)
        #expect(Hexadecimal.decode("00fFA0") == [0, 255, 160])
    }

    @Test("octets of every length survive the round trip")
    func roundTrip() {
        var generator = SystemRandomNumberGenerator()
        for count in 0..<200 {
            let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
            #expect(Base64URL.decode(Base64URL.encode(bytes)) == bytes)
            #expect(Base64.decode(Base64.encode(bytes)) == bytes)
            #expect(Hexadecimal.decode(Hexadecimal.encode(bytes)) == bytes)
        }
    }

    @Test("dates are written with milliseconds and read with any fraction and offset")
    func dates() {
        #expect(Timestamp(milliseconds: 0).iso8601 == "1970-01-01T00:00:00.000Z")
        #expect(Timestamp(milliseconds: 1_534_237_200_000).iso8601 == "2018-08-14T09:00:00.000Z")
        #expect(Timestamp(milliseconds: -1).iso8601 == "1969-12-31T23:59:59.999Z")
        #expect(Timestamp(iso8601: "2018-08-14T09:00:00Z")?.milliseconds == 1_534_237_200_000)
        #expect(Timestamp(iso8601: "2018-08-14T11:30:00.123456789+02:30")?.milliseconds == 1_534_237_200_123)
        #expect(Timestamp(iso8601: "2018-08-14T09:00:00.5Z")?.milliseconds == 1_534_237_200_500)
        #expect(Timestamp(iso8601: "2024-02-29T00:00:00Z") != nil)
        for text in [
            "", "2018-08-14", "2018-08-14T09:00:00", "2018-13-14T09:00:00Z", "2023-02-29T00:00:00Z",
            "2018-08-14T24:00:00Z",
            "2018-08-14T09:00:00.Z", "2018-08-14T09:00:00.1234567890Z", "2018-08-14T09:00:00Zx", "x018-08-14T09:00:00Z",
            "2018-08-14T09:00:00+2:30", "2018-08-14 09:00:00Z",
        ] {
            #expect(Timestamp(iso8601: text) == nil, "\(text)")
        }
        for day in stride(from: Int64(-200_000), to: 200_000, by: 37) {
            let moment = Timestamp(milliseconds: day * 86_400_000 + 12_345)
            #expect(Timestamp(iso8601: moment.iso8601) == moment)
        }
        #expect(Timestamp(milliseconds: .max).adding(seconds: 1).milliseconds == .max)
    }

    @Test("random identifiers are version 4, lower case and different")
    func identifiers() {
        let many = (0..<1000).map { _ in UUIDText.random() }
        #expect(Set(many).count == 1000)
        for text in many {
            #expect(UUIDText.isValid(text))
            #expect(text == text.lowercased())
            let characters = Array(text)
            #expect(characters[14] == "4" && "89ab".contains(characters[19]))
        }
        #expect(!UUIDText.isValid("5b1e"))
        #expect(!UUIDText.isValid("5b1e0000-0000-4000-8000-00000000000g"))
        #expect(!UUIDText.isValid("5b1e0000-0000-4000-8000-0000000000000"))
    }
}

import Testing
import WireText

/// Strings are looked at eight octets at a time: what is special is found at every place of every length.
@Suite("Long JSON strings")
struct LongStringTests {
    private static let special: [(octets: [UInt8], isAllowed: Bool)] = [
        ([0x00], false), ([0x1F], false), ([0x20], true), ([0x21], true), ([0x23], true), ([0x5B], true),
        ([0x5D], true), ([0x7F], true), ([0x80], false), ([0xFF], false), (Array("\\\"".utf8), true),
        (Array("\\\\".utf8), true), (Array("\\".utf8) + [0x01], false), (Array("é".utf8), true),
        (Array("€".utf8), true), ([0xC3, 0x22], false),
    ]

    @Test("read, with what is special at each place")
    func read() throws {
        for length in 0...26 {
            for place in 0...length {
                for (octets, isAllowed) in Self.special {
                    let before = [UInt8](repeating: 0x61, count: place)
                    let behind = [UInt8](repeating: 0x7A, count: length - place)
                    let text = [0x22] + before + octets + behind + [0x22]
                    let string = try? JSONDocument(text).root.string
                    #expect((string != nil) == isAllowed, "\(octets) at \(place) of \(length)")
                    if let string { #expect(string.utf8.starts(with: before) && string.hasSuffix(text: behind)) }
                }
                let end = [UInt8(0x22)] + [UInt8](repeating: 0x61, count: place) + [0x22, 0x61]
                #expect(throws: (any Error).self) { try JSONDocument(end) }
            }
        }
    }

    @Test("written, and read back the same")
    func writtenAndRead() throws {
        for length in 0...26 {
            for place in 0...length {
                for special in ["\"", "\\", "\u{0}", "\u{1F}", "\n", " ", "!", "\u{7F}", "é", "€", "\u{1F600}"] {
                    let text =
                        String(repeating: "a", count: place) + special
                        + String(repeating: "z", count: length - place)
                    var json = JSONWriter()
                    json.value(text)
                    #expect(try JSONDocument(json.bytes()).root.string == text)
                }
            }
        }
    }

    @Test("octets that are not UTF-8 make no text, and those that are make the same one")
    func validUTF8() {
        func text(_ octets: [UInt8]) -> String? { octets.withUnsafeBytes { String(validUTF8: $0) } }
        for good in ["", "a", "kms://kms.example.com/keys/1", "é€\u{1F600}", "\u{FFFD}"] {
            #expect(text(Array(good.utf8)) == good)
        }
        for bad: [UInt8] in [
            [0x80], [0xC3], [0x61, 0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xEF, 0xBF, 0xBD, 0xFF],
        ] {
            #expect(text(bad) == nil, "\(bad)")
        }
    }

    @Test("octets as a key are equal when they are the same octets")
    func octetKeys() {
        let table = [OctetKey([1, 2]): "a", OctetKey([1, 2, 0]): "b", OctetKey([UInt8]()): "c"]
        #expect(table[OctetKey([1, 2])] == "a")
        #expect(table[OctetKey([1, 2, 0])] == "b")
        #expect([UInt8]().withUnsafeBytes { table[OctetKey($0)] } == "c")
        #expect(table[OctetKey([2, 1])] == nil)
    }
}

extension String {
    fileprivate func hasSuffix(text: [UInt8]) -> Bool { utf8.suffix(text.count).elementsEqual(text) }
}

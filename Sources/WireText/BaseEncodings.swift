/// Base64url without padding (RFC 4648, section 5), as JOSE uses it.
///
/// Decoding is strict: no padding, no white space, no character of the other alphabet, and the unused bits of the
/// last character are zero, so that every octet string has exactly one text.
package enum Base64URL {
    /// For most callers: what is generic is not specialised across modules.
    package static func encode(_ bytes: [UInt8]) -> String {
        String(unsafeUninitializedCapacity: encodedCount(bytes.count)) { text in
            if let start = text.baseAddress { bytes.withUnsafeBytes { Alphabet.url.encode($0, into: start) } }
            return encodedCount(bytes.count)
        }
    }

    package static func encode(_ bytes: some Collection<UInt8>) -> String {
        if let text = bytes.withContiguousStorageIfAvailable({ Alphabet.url.encode(UnsafeRawBufferPointer($0)) }) {
            return String(decoding: text, as: UTF8.self)
        }
        return encode(Array(bytes))
    }

    /// The text as ASCII octets.
    package static func encode(_ bytes: UnsafeRawBufferPointer) -> [UInt8] { Alphabet.url.encode(bytes) }

    /// Writes the text of `bytes` to `target`, which has room for `encodedCount(bytes.count)` octets.
    package static func encode(_ bytes: UnsafeRawBufferPointer, into target: UnsafeMutablePointer<UInt8>) {
        Alphabet.url.encode(bytes, into: target)
    }

    package static func encodedCount(_ count: Int) -> Int { (count * 4 + 2) / 3 }

    /// The octets, or nil when the text is not the one base64url form of any.
    package static func decode(_ text: some StringProtocol) -> [UInt8]? {
        var copy = String(text)
        return copy.withUTF8 { Alphabet.url.decode(UnsafeRawBufferPointer($0)) }
    }

    package static func decode(_ text: UnsafeRawBufferPointer) -> [UInt8]? { Alphabet.url.decode(text) }
}

/// Base64 with padding (RFC 4648, section 4), as `x5c` and PEM use it. Decoding is strict in the same way.
package enum Base64 {
    package static func encode(_ bytes: [UInt8]) -> String {
        var text = bytes.withUnsafeBytes { Alphabet.standard.encode($0) }
        while text.count % 4 != 0 { text.append(UInt8(ascii: "=")) }
        return String(decoding: text, as: UTF8.self)
    }

    package static func decode(_ text: some StringProtocol) -> [UInt8]? {
        var copy = String(text)
        return copy.withUTF8 { characters -> [UInt8]? in
            guard characters.count % 4 == 0 else { return nil }
            var count = characters.count
            while count > 0, characters.count - count < 2, characters[count - 1] == UInt8(ascii: "=") { count -= 1 }
            return Alphabet.standard.decode(UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: characters[..<count])))
        }
    }
}

/// Lower-case hexadecimal (RFC 4648, section 8). Decoding takes both cases.
package enum Hexadecimal {
    package static func encode(_ bytes: some Collection<UInt8>) -> String { encode(Array(bytes)) }

    /// For most callers: what is generic is not specialised across modules.
    package static func encode(_ bytes: [UInt8]) -> String {
        String(unsafeUninitializedCapacity: bytes.count * 2) { text in
            var position = 0
            for byte in bytes {
                text[position] = digit(byte >> 4)
                text[position + 1] = digit(byte & 15)
                position += 2
            }
            return position
        }
    }

    private static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }

    package static func decode(_ text: some StringProtocol) -> [UInt8]? {
        let characters = Array(text.utf8)
        guard characters.count % 2 == 0 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(characters.count / 2)
        for index in stride(from: 0, to: characters.count, by: 2) {
            guard let high = value(characters[index]), let low = value(characters[index + 1]) else { return nil }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    static func value(_ character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): character - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

/// The 64 characters of one alphabet with the reverse table.
private struct Alphabet {
    static let url = Alphabet("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    static let standard = Alphabet("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")

    private let characters: [UInt8]
    /// Value of each octet, 255 for those outside the alphabet.
    private let values: [UInt8]

    init(_ text: StaticString) {
        characters = text.withUTF8Buffer { Array($0) }
        var values = [UInt8](repeating: 255, count: 256)
        for (value, character) in characters.enumerated() { values[Int(character)] = UInt8(value) }
        self.values = values
    }

    func encode(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        let count = Base64URL.encodedCount(bytes.count)
        return [UInt8](unsafeUninitializedCapacity: count) { target, initialized in
            if let start = target.baseAddress { encode(bytes, into: start) }
            initialized = count
        }
    }

    func encode(_ bytes: UnsafeRawBufferPointer, into target: UnsafeMutablePointer<UInt8>) {
        characters.withUnsafeBufferPointer { characters in
            var out = target
            var index = 0
            while index + 2 < bytes.count {
                let word = UInt32(bytes[index]) << 16 | UInt32(bytes[index + 1]) << 8 | UInt32(bytes[index + 2])
                out[0] = characters[Int(word >> 18)]
                out[1] = characters[Int(word >> 12 & 63)]
                out[2] = characters[Int(word >> 6 & 63)]
                out[3] = characters[Int(word & 63)]
                out += 4
                index += 3
            }
            switch bytes.count - index {
            case 1:
                let word = UInt32(bytes[index]) << 16
                out[0] = characters[Int(word >> 18)]
                out[1] = characters[Int(word >> 12 & 63)]
            case 2:
                let word = UInt32(bytes[index]) << 16 | UInt32(bytes[index + 1]) << 8
                out[0] = characters[Int(word >> 18)]
                out[1] = characters[Int(word >> 12 & 63)]
                out[2] = characters[Int(word >> 6 & 63)]
            default: break
            }
        }
    }

    func decode(_ text: UnsafeRawBufferPointer) -> [UInt8]? {
        let rest = text.count % 4
        guard rest != 1 else { return nil }
        let count = text.count / 4 * 3 + (rest == 0 ? 0 : rest - 1)
        var valid = true
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { target, initialized in
            valid = values.withUnsafeBufferPointer { Self.decode(text, values: $0, into: target) }
            if !valid { target.initialize(repeating: 0) }
            initialized = count
        }
        return valid ? bytes : nil
    }

    private static func decode(
        _ text: UnsafeRawBufferPointer, values: UnsafeBufferPointer<UInt8>,
        into target: UnsafeMutableBufferPointer<UInt8>
    ) -> Bool {
        var invalid: UInt8 = 0
        var index = 0
        var out = 0
        while index + 3 < text.count {
            let a = values[Int(text[index])]
            let b = values[Int(text[index + 1])]
            let c = values[Int(text[index + 2])]
            let d = values[Int(text[index + 3])]
            invalid |= a | b | c | d
            target[out] = a << 2 | (b & 63) >> 4
            target[out + 1] = b << 4 | (c & 63) >> 2
            target[out + 2] = c << 6 | (d & 63)
            index += 4
            out += 3
        }
        switch text.count - index {
        case 2:
            let a = values[Int(text[index])]
            let b = values[Int(text[index + 1])]
            invalid |= a | b
            target[out] = a << 2 | (b & 63) >> 4
            return invalid & 0xC0 == 0 && b & 15 == 0
        case 3:
            let a = values[Int(text[index])]
            let b = values[Int(text[index + 1])]
            let c = values[Int(text[index + 2])]
            invalid |= a | b | c
            target[out] = a << 2 | (b & 63) >> 4
            target[out + 1] = b << 4 | (c & 63) >> 2
            return invalid & 0xC0 == 0 && c & 3 == 0
        default: return invalid & 0xC0 == 0
        }
    }
}

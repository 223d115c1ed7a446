/// Writes JSON (RFC 8259) into a buffer that is wiped on growth and at the end, for answers that carry keys.
///
/// Commas are placed by the writer; the caller opens and closes objects and arrays in order. No white space, no
/// escaped slash, members in the order written, control characters as `\u00XX`.
/// ```swift
/// var json = JSONWriter()
/// json.beginObject()
/// json.member("status", 200)
/// json.endObject()
/// ```
package struct JSONWriter: ~Copyable {
    private var buffer: WipedBuffer
    private var needsComma = false

    package init(reserving capacity: Int = 512) { buffer = WipedBuffer(capacity: capacity) }

    package var count: Int { buffer.count }

    package mutating func beginObject() { open(UInt8(ascii: "{")) }
    package mutating func endObject() { close(UInt8(ascii: "}")) }
    package mutating func beginArray() { open(UInt8(ascii: "[")) }
    package mutating func endArray() { close(UInt8(ascii: "]")) }

    package mutating func name(_ name: String) {
        separate()
        string(name)
        buffer.append(UInt8(ascii: ":"))
        needsComma = false
    }

    package mutating func value(_ text: String) {
        separate()
        string(text)
        needsComma = true
    }

    package mutating func value(_ number: Int64) { raw(String(number)) }
    package mutating func value(_ number: Int) { raw(String(number)) }
    package mutating func value(_ flag: Bool) { raw(flag ? "true" : "false") }
    package mutating func null() { raw("null") }

    /// One complete JSON text, taken as it is.
    package mutating func raw(_ json: String) {
        separate()
        var json = json
        json.withUTF8 { buffer.append(UnsafeRawBufferPointer($0)) }
        needsComma = true
    }

    /// A value as it was read.
    package mutating func member(_ name: String, _ node: JSONNode) {
        self.name(name)
        if let text = node.string { value(text) } else { raw(node.rawText) }
    }

    package mutating func member(_ name: String, _ text: String) {
        self.name(name)
        value(text)
    }
    package mutating func member(_ name: String, _ number: Int64) {
        self.name(name)
        value(number)
    }
    package mutating func member(_ name: String, _ number: Int) {
        self.name(name)
        value(number)
    }
    package mutating func member(_ name: String, _ flag: Bool) {
        self.name(name)
        value(flag)
    }
    /// The member is left out when there is no value.
    package mutating func member(_ name: String, ifPresent text: String?) {
        if let text { member(name, text) }
    }
    package mutating func member(_ name: String, _ texts: [String]) {
        self.name(name)
        beginArray()
        for text in texts { value(text) }
        endArray()
    }

    /// Octets as a base64url text, straight into the buffer: no other copy of a key's text is made.
    package mutating func base64URLMember(_ name: String, _ bytes: UnsafeRawBufferPointer) {
        self.name(name)
        buffer.append(UInt8(ascii: "\""))
        let count = Base64URL.encodedCount(bytes.count)
        buffer.reserve(count)
        Base64URL.encode(bytes, into: buffer.start + buffer.count)
        buffer.count += count
        buffer.append(UInt8(ascii: "\""))
        needsComma = true
    }

    package borrowing func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        try body(buffer.bytes)
    }

    /// A copy that nobody wipes: for texts without secrets.
    package borrowing func bytes() -> [UInt8] { Array(buffer.bytes) }
    package borrowing func text() -> String { String(decoding: buffer.bytes, as: UTF8.self) }

    private mutating func separate() {
        if needsComma { buffer.append(UInt8(ascii: ",")) }
        needsComma = false
    }
    private mutating func open(_ bracket: UInt8) {
        separate()
        buffer.append(bracket)
    }
    private mutating func close(_ bracket: UInt8) {
        buffer.append(bracket)
        needsComma = true
    }

    private mutating func string(_ text: String) {
        buffer.append(UInt8(ascii: "\""))
        var text = text
        text.withUTF8 { characters in
            let characters = UnsafeRawBufferPointer(characters)
            var plain = 0
            while true {
                let index = JSONCharacters.plainEnd(in: characters, from: plain, isASCII: false)
                buffer.append(UnsafeRawBufferPointer(rebasing: characters[plain..<index]))
                guard index < characters.count else { break }
                escape(characters[index])
                plain = index + 1
            }
        }
        buffer.append(UInt8(ascii: "\""))
    }

    private mutating func escape(_ character: UInt8) {
        buffer.append(UInt8(ascii: "\\"))
        switch character {
        case UInt8(ascii: "\n"): buffer.append(UInt8(ascii: "n"))
        case UInt8(ascii: "\r"): buffer.append(UInt8(ascii: "r"))
        case UInt8(ascii: "\t"): buffer.append(UInt8(ascii: "t"))
        case 0..<0x20:
            for byte in "u00".utf8 { buffer.append(byte) }
            for byte in Hexadecimal.encode([character]).utf8 { buffer.append(byte) }
        default: buffer.append(character)
        }
    }
}

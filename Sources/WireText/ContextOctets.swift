/// Octets that a seal or a derivation is bound to: numbers big endian, texts behind their length.
extension [UInt8] {
    package mutating func append(bigEndian number: UInt32) {
        Swift.withUnsafeBytes(of: number.bigEndian) { append(contentsOf: $0) }
    }

    package mutating func append(bigEndian number: Int64) {
        Swift.withUnsafeBytes(of: number.bigEndian) { append(contentsOf: $0) }
    }

    /// The text behind its length, so that no two sequences of texts look the same.
    package mutating func append(lengthPrefixed text: String) {
        append(bigEndian: UInt32(truncatingIfNeeded: text.utf8.count))
        append(contentsOf: text.utf8)
    }
}

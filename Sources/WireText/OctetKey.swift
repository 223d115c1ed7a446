/// Octets as the key of a table: an array hashes its elements one by one, this all in one piece.
package struct OctetKey: Hashable, Sendable {
    package let octets: [UInt8]

    package init(_ octets: [UInt8]) { self.octets = octets }
    package init(_ octets: UnsafeRawBufferPointer) { self.octets = Array(octets) }

    package static func == (left: OctetKey, right: OctetKey) -> Bool { left.octets == right.octets }

    package func hash(into hasher: inout Hasher) { octets.withUnsafeBytes { hasher.combine(bytes: $0) } }
}

extension String {
    /// Nil when the octets are not valid UTF-8. As the standard library's, which looks its types up at run time.
    package init?(validUTF8 octets: UnsafeRawBufferPointer) {
        // What is not valid is decoded as a replacement character, and then the octets differ.
        var text = String(decoding: octets, as: UTF8.self)
        let isSame = text.withUTF8 { decoded in
            decoded.count == octets.count && UnsafeRawBufferPointer(decoded).elementsEqual(octets)
        }
        guard isSame else { return nil }
        self = text
    }
}

/// The TLS exporter value of one connection (RFC 9266, `tls-exporter`): 32 octets that both of its ends know and nobody
/// between them, and that no other connection has.
///
/// Who signs it proves that he speaks on this very connection: with somebody between, both sides see different values.
/// It is no key, and does not belong into logs either, so it has no description.
package struct ChannelBinding: Sendable, Hashable, CustomStringConvertible, CustomReflectable {
    package static let label = "EXPORTER-Channel-Binding"
    package static let byteCount = 32

    package let octets: [UInt8]

    /// Nil unless there are 32 octets.
    package init?(octets: [UInt8]) {
        guard octets.count == Self.byteCount else { return nil }
        self.octets = octets
    }

    package var description: String { "[channel binding]" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}

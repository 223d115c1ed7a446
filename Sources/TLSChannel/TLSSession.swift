/// What the handshake agreed on.
package struct TLSSession: Sendable, Hashable {
    /// `TLSv1.3` or `TLSv1.2`.
    package let version: String
    package let cipherSuite: String
    /// The group of the key exchange by its name in TLS, such as `x25519` or `X25519MLKEM768`.
    package let keyExchange: String
    /// The protocol chosen by ALPN, if both sides offered any.
    package let applicationProtocol: String?
    /// Nil where TLS 1.2 has none that is safe.
    package let channelBinding: ChannelBinding?
    /// Of a client: the pins that stand on the validated path.
    package let matchedPins: [SPKIPin]
    /// Of a client: a device between opens the TLS, and the administrator lets it. Then nothing is pinned.
    package let inspection: TLSInspection.Seen?
}

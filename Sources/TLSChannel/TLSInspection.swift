package import Cryptography
package import WireText

/// An administrator's exception for a device that opens the TLS of one connection and closes it again towards the server
/// (rule 34 of the security model): by whose certification authority, and until when.
///
/// What is believed under it is the device, and through its eyes the server: pins and the demand on the issuing CA can not
/// hold. Whoever takes such a connection needs another proof of the server.
package struct TLSInspection: Sendable {
    /// How people call the device.
    package var name: String
    package var authorities: [Certificate]
    /// From this moment on its connections are refused.
    package var until: Timestamp
    package var now: @Sendable () -> Timestamp

    package init(
        name: String, authorities: [Certificate], until: Timestamp,
        now: @escaping @Sendable () -> Timestamp = { Timestamp.now() }
    ) {
        self.name = name
        self.authorities = authorities
        self.until = until
        self.now = now
    }

    /// What a session that was taken under an exception says of it.
    package struct Seen: Sendable, Hashable {
        package let name: String
        package let until: Timestamp

        package init(name: String, until: Timestamp) {
            self.name = name
            self.until = until
        }

        package init(_ inspection: TLSInspection) { self.init(name: inspection.name, until: inspection.until) }
    }
}

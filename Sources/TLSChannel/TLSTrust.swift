package import Cryptography
import WireText

/// Whom a client believes: the roots and what else must hold of the path to them.
///
/// Only these roots count, never the machine's own. A path that validates is then held against `pins` and
/// `requirePathLengthZero`; certificates that the server sent beside the path count for nothing.
package struct TLSTrust: Sendable {
    package var roots: [Certificate]
    /// At least one certificate of the validated path must have one of these keys; empty: any path to the roots.
    package var pins: [SPKIPin]
    /// The CA that issued the server's certificate must carry `pathLenConstraint` 0: it can issue no further CA, so a
    /// pinned CA can not be made to vouch for a stranger's.
    package var requirePathLengthZero: Bool
    /// Nil, but for the one connection that an administrator has named.
    package var inspection: TLSInspection?
    /// What the client shows to a server that asks for a certificate; nil: none.
    package var identity: TLSServerIdentity?

    package init(
        roots: [Certificate], pins: [SPKIPin] = [], requirePathLengthZero: Bool = false,
        inspection: TLSInspection? = nil, identity: TLSServerIdentity? = nil
    ) {
        self.identity = identity
        self.roots = roots
        self.pins = pins
        self.requirePathLengthZero = requirePathLengthZero
        self.inspection = inspection
    }
}

/// The SHA-256 of a SubjectPublicKeyInfo, written `sha256/BASE64` (RFC 7469 section 2.4).
package struct SPKIPin: Sendable, Hashable, CustomStringConvertible {
    /// 32 octets.
    package let digest: [UInt8]

    package init?(_ text: String) {
        let prefix = "sha256/"
        guard text.hasPrefix(prefix), let digest = Base64.decode(String(text.dropFirst(prefix.count))),
            digest.count == 32
        else { return nil }
        self.digest = digest
    }

    /// Nil unless there are 32 octets.
    package init?(digest: [UInt8]) {
        guard digest.count == 32 else { return nil }
        self.digest = digest
    }

    package var text: String { "sha256/" + Base64.encode(digest) }
    package var description: String { text }
}

/// What a server shows, or a client that is asked for it: its certificate, then the intermediates up to but without the root, and the key of the first.
package struct TLSServerIdentity: Sendable {
    package var certificateChain: [Certificate]
    package var privateKey: PrivateKey

    package init(certificateChain: [Certificate], privateKey: PrivateKey) {
        self.certificateChain = certificateChain
        self.privateKey = privateKey
    }
}

package enum TLSVersion: Sendable { case tls12, tls13 }

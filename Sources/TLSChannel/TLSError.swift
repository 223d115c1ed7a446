import Cryptography
package import Diagnostics

/// What can go wrong in TLS; every one closes the connection and none is ever worked around.
extension DiagnosedError.Code {
    /// No path from the server's certificate to the configured roots.
    package static let tlsUntrusted: DiagnosedError.Code = "tls-untrusted"
    package static let tlsExpired: DiagnosedError.Code = "tls-expired"
    package static let tlsNotYetValid: DiagnosedError.Code = "tls-not-yet-valid"
    package static let tlsNameMismatch: DiagnosedError.Code = "tls-name-mismatch"
    package static let tlsPinMismatch: DiagnosedError.Code = "tls-pin-mismatch"
    /// The issuing CA does not carry pathLenConstraint 0.
    package static let tlsPathLength: DiagnosedError.Code = "tls-path-length"
    /// A device between opens the TLS, and the exception for it is over.
    package static let tlsInspectionOver: DiagnosedError.Code = "tls-inspection-over"
    package static let tlsHandshakeFailed: DiagnosedError.Code = "tls-handshake-failed"
    /// The other side went away before the handshake was done: it may be back soon, and nothing was asked of it yet.
    package static let tlsHandshakeCut: DiagnosedError.Code = "tls-handshake-cut"
    package static let tlsHandshakeTimeout: DiagnosedError.Code = "tls-handshake-timeout"
    /// Octets that are no valid TLS record of this connection.
    package static let tlsRecordInvalid: DiagnosedError.Code = "tls-record-invalid"
    /// The connection ended without close_notify: what came before may not be all.
    package static let tlsTruncated: DiagnosedError.Code = "tls-truncated"
    /// The configuration itself can not be used: no roots, a key that does not fit its certificate.
    package static let tlsConfiguration: DiagnosedError.Code = "tls-configuration"
    /// Writing on a connection that is closing.
    package static let tlsClosed: DiagnosedError.Code = "tls-closed"
}

extension DiagnosedError.Code {
    /// The server is not proven to be the one that was configured: never worked around, and somebody has to look.
    package var isIdentityFault: Bool {
        switch self {
        case .tlsUntrusted, .tlsNameMismatch, .tlsPinMismatch, .tlsPathLength, .tlsInspectionOver: true
        default: false
        }
    }
}

/// What OpenSSL says of the last operation, which must have begun with an empty error queue.
func opensslReason() -> String { OpenSSLFailure.drainReasons() ?? "no reason given" }

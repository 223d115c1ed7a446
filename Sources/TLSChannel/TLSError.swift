import COpenSSL
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
    package static let tlsHandshakeFailed: DiagnosedError.Code = "tls-handshake-failed"
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

/// The oldest entry of this thread's OpenSSL error queue, which it empties. Call `ERR_clear_error` before the operation.
func opensslReason() -> String {
    let code = ERR_get_error()
    ERR_clear_error()
    guard code != 0 else { return "no reason given" }
    if let reason = unsafe ERR_reason_error_string(code) { return unsafe String(cString: reason) }
    return "error \(code)"
}

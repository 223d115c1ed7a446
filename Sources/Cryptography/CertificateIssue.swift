internal import COpenSSL

extension Certificate {
    /// Whether `issuer` is named as the issuer, may issue, and its key verifies the signature. Nothing else is judged:
    /// for trust there is `CertificatePath`.
    package func isIssued(by issuer: Certificate) -> Bool {
        let isIssued = unsafe withUnsafePointer { own in
            unsafe issuer.withUnsafePointer { other in
                let named = unsafe X509_check_issued(other, own) == X509_V_OK
                return named && (unsafe X509_verify(own, X509_get0_pubkey(other))) == 1
            }
        }
        if !isIssued { OpenSSLFailure.discard() }
        return isIssued
    }
}

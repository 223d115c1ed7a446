import Cryptography
import Diagnostics
import LinkProtocol
import TLSChannel

/// Whether a welcome comes from the core itself (rule 34 of the security model).
///
/// 1. A connection that TLS has proven by roots and pins needs no more, and a signature there is not looked at.
/// 2. Under an inspection the welcome carries a signature of the core's application key, which is pinned apart, over this
///    connection's nonce and all that the core agrees to. Without it, or with another one, the core counts as a stranger.
struct WelcomeProof: Sendable {
    let hello: LinkHello
    let inspection: TLSInspection.Seen?
    let key: PublicKey?

    func refusal(of welcome: LinkWelcome) -> DiagnosedError? {
        guard let inspection else { return nil }
        guard let key else { return .linkUnproven(inspection, found: "no key to hold it against") }
        guard let signature = welcome.signature else { return .linkUnproven(inspection, found: "no signature") }
        guard let signed = welcome.signedOctets(for: hello),
            key.isValidSignature(signature, for: signed, algorithm: .es256)
        else { return .linkUnproven(inspection, found: "a signature of another key, or over something else") }
        return nil
    }
}

import Cryptography
import JOSESignature
import KMSProtocol
import WireText

/// Tokens that are bound to a key of a service, and the sessions in which that key was proven.
///
/// Rules (docs/kms-extensions.md, "Services"):
/// 1. A bound token opens a session only with a proof by its key, and by the key that the request shows: its thumbprint
///    is the token's `cnf.jkt`, and a certificate beside it carries the same key.
/// 2. A proof with a token that is not bound is refused: the service believes in a protection that is not there.
/// 3. In a session, the token has the binding that the session has proven: a bound token that was stolen is worth nothing
///    in another session, and a session of a service takes no token without its key.
///
/// The certificate itself proves nothing here, and its path is not looked at: the authorization service said, signed,
/// which key is the service's.
enum KeyBinding {
    /// Rules 1 and 2: the thumbprint that the session proves, nil for an ordinary one.
    static func judge(
        _ request: KMSRequest, token: TokenIdentity, ephemeralX x: [UInt8], y: [UInt8], staticKey: String,
        now: Timestamp
    ) throws(KMSFailure) -> String? {
        guard let bound = token.confirmation else {
            guard request.credential.proof == nil else { throw TokenRule.badProof.failure }
            return nil
        }
        guard let proof = request.credential.proof else { throw TokenRule.keyNotProven.failure }
        guard let node = request.credential.jwk, let key = try? JWK(node).publicKey(),
            JWK.thumbprint(of: key) == bound
        else { throw TokenRule.badProof.failure }
        do {
            try ServiceProof.verify(
                proof, by: key,
                for: .init(ephemeralX: x, y: y, requestID: request.requestID, staticKey: staticKey), at: now)
        } catch {
            throw TokenRule.badProof.failure
        }
        return bound
    }

    /// Rule 3.
    static func check(_ token: TokenIdentity, session: SessionContent) throws(KMSFailure) {
        guard token.confirmation == session.confirmation else { throw TokenRule.keyNotProven.failure }
    }
}

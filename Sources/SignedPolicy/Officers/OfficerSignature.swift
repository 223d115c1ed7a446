package import Cryptography
import Diagnostics
import JOSESignature

/// An officer's compact JWS of one kind: the `typ` tells policy, request and confirmation apart, so that none of them can
/// be taken for another (security model, rule 25).
package enum OfficerSignature {
    package enum Kind: String, Sendable {
        case policy = "hds-policy"
        case request = "hds-officer-request"
        case confirmation = "hds-officer-confirmation"
    }

    package static func sign(_ payload: [UInt8], as kind: Kind, with key: PrivateKey) throws -> String {
        guard let kid = JWK.thumbprint(of: key.publicKey) else {
            throw DiagnosedError.policy(
                .officersMalformed, "this key can not sign as an officer's", expected: "P-256 or RSA")
        }
        return try JWS.sign(
            payload, with: key, algorithm: Officer.algorithm(of: key.publicKey), kid: kid, typ: kind.rawValue)
    }

    /// The thumbprint that a signed text names, unverified.
    package static func signer(of compact: String) throws -> String? { try JWS.peekHeader(compact).kid }

    /// Whose signature it is, and what was signed. The signer is one of the roster, whatever his duties.
    static func verify(_ compact: String, as kind: Kind, by roster: OfficerRoster) throws -> (Officer, [UInt8]) {
        var signer: Officer?
        let jws = try JWS.verify(compact, allowing: Officer.algorithms) { header in
            guard header.typ == kind.rawValue else {
                throw DiagnosedError.refusedJOSE(
                    "the signature is of another kind", expected: kind.rawValue,
                    found: header.typ?.quotedForError ?? "no 'typ'")
            }
            guard let officer = header.kid.flatMap({ roster[$0] }) else {
                throw DiagnosedError.policy(
                    .officerUnknown, "the signature is by a key that no enrolled officer has",
                    found: header.kid?.quotedForError ?? "no 'kid'",
                    hint: "enrol the officer in the service's file of officers, or let an enrolled one sign")
            }
            signer = officer
            return officer.publicKey
        }
        // The closure ran, else `verify` had thrown.
        guard let signer else { throw DiagnosedError.malformedJOSE("the signature names nobody") }
        return (signer, jws.payload)
    }
}

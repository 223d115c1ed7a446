package import Cryptography
import Diagnostics
import JOSESignature
import WireText

/// Which attestation keys a verifier believes: the pinned ones, and those that a believed one named its successor.
///
/// Key material may come from anywhere, also from the trail itself: it counts only when its fingerprint is believed.
package struct AttestationTrust: Sendable {
    private var believed: Set<String>
    private var keys: [String: PublicKey] = [:]

    /// - Parameter fingerprints: JWK thumbprints that came by a way of their own.
    package init(fingerprints: Set<String>) { believed = fingerprints }

    package init(keys: [PublicKey]) {
        self.init(fingerprints: Set(keys.map { Thumbprint.of($0) }))
        for key in keys { learn(key) }
    }

    /// - Parameter pins: fingerprints, or paths of files with a public or private key.
    package init(pins: [String]) throws {
        self.init(fingerprints: [])
        for pin in pins {
            guard !Thumbprint.isOne(pin) else {
                believed.insert(pin)
                continue
            }
            let key = try AttestationPublicKey(fromFile: pin)
            believed.insert(key.fingerprint)
            learn(key.key)
        }
    }

    /// Material only; does not make the key believed.
    package mutating func learn(_ key: PublicKey) { keys[Thumbprint.of(key)] = key }

    package func believes(_ fingerprint: String) -> Bool { believed.contains(fingerprint) }

    package struct Verified: Sendable {
        package let payload: [UInt8]
        /// Fingerprint of the key that signed.
        package let key: String
    }

    /// The payload of a statement of exactly this kind that a believed key signed.
    package func verify(_ jws: String, as type: StatementType) throws -> Verified {
        let verified = try JWS.verify(jws, allowing: [.es256, .ps256]) { header in
            guard header.typ == type.rawValue else {
                throw DiagnosedError(
                    .attestationTypeWrong, fault: .client, "a signed statement is of another kind",
                    expected: type.rawValue, found: header.typ?.quotedForError ?? "none")
            }
            guard let kid = header.kid, believed.contains(kid) else {
                throw DiagnosedError(
                    .attestationKeyUnknown, fault: .client, "a statement is signed by a key that is not believed",
                    expected: believed.sorted().joined(separator: " or "),
                    found: header.kid?.quotedForError ?? "no key named",
                    hint: "name the fingerprint of every key that signed and has no succession from another one")
            }
            guard let key = keys[kid] else {
                throw DiagnosedError(
                    .attestationKeyUnknown, fault: .client, "the key with the fingerprint is not at hand",
                    expected: kid, hint: "give the key's file instead of its fingerprint")
            }
            return key
        }
        guard let kid = verified.header.kid else { throw StatementReader.malformed("kid") }
        return Verified(payload: verified.payload, key: kid)
    }

    /// Believes the key that a believed key names; answers the fingerprints of both.
    @discardableResult
    package mutating func accept(succession jws: String) throws -> (from: String, to: String) {
        let verified = try verify(jws, as: .succession)
        let statement = try SuccessionStatement(verified.payload)
        guard statement.previous == verified.key else { throw StatementReader.malformed("previous") }
        learn(statement.key)
        let next = Thumbprint.of(statement.key)
        believed.insert(next)
        return (verified.key, next)
    }

    /// The kid that a statement names, unverified: to look for its key.
    static func claimedKey(_ jws: String) -> String? { (try? JWS.peekHeader(jws))?.kid }
}

package import Cryptography
package import Diagnostics
import JOSESignature
package import WireText

/// A service's proof that it holds the key its token is bound to (docs/kms-extensions.md, "Services").
///
/// A compact JWS of type `hds-service-proof` under ES256 or PS256, made once for each session. It names what it is for:
/// the client's half of the agreement, the request and the KMS. So it proves that whoever can read the answers of this
/// session has the key, and is worth nothing in another session, for another request or at another KMS.
package enum ServiceProof {
    package static let type = "hds-service-proof"
    /// Seconds by which the clocks of service and KMS may differ.
    package static let window: Int64 = 60

    /// What a proof is for.
    package struct Subject: Sendable, Equatable {
        /// Thumbprint of the ephemeral key in the request (RFC 7638).
        package let ephemeralKey: String
        package let requestID: String
        /// URI of the static key that the request is encrypted to.
        package let staticKey: String

        package init(ephemeralX x: [UInt8], y: [UInt8], requestID: String, staticKey: String) {
            ephemeralKey = JWK.thumbprint(p256X: x, y: y)
            self.requestID = requestID
            self.staticKey = staticKey
        }
    }

    package static func make(for subject: Subject, with key: PrivateKey, at time: Timestamp) throws -> String {
        var json = JSONWriter()
        json.beginObject()
        json.member("epk", subject.ephemeralKey)
        json.member("requestId", subject.requestID)
        json.member("kms", subject.staticKey)
        json.member("iat", time.seconds)
        json.endObject()
        return try JWS.sign(
            json.bytes(), with: key, algorithm: key.publicKey.kind == .p256 ? .es256 : .ps256, kid: nil, typ: type)
    }

    /// Throws unless the proof is by this key, for this subject and of now.
    package static func verify(
        _ proof: String, by key: PublicKey, for subject: Subject, at now: Timestamp
    ) throws {
        let jws = try JWS.verify(proof, allowing: [.es256, .ps256]) { _ in key }
        guard jws.header.typ == type else { throw refused("it is of another type") }
        let root = try JSONDocument(
            jws.payload, limits: .init(maximumDepth: 3, maximumNodes: 50, maximumBytes: 8 << 10)
        ).root
        guard root["epk"]?.string == subject.ephemeralKey else { throw refused("it is for another session key") }
        guard root["requestId"]?.string == subject.requestID else { throw refused("it is for another request") }
        guard root["kms"]?.string == subject.staticKey else { throw refused("it is for another KMS or static key") }
        guard let seconds = root["iat"]?.integer, seconds.magnitude < 100_000_000_000,
            abs(now.seconds - seconds) <= window
        else { throw refused("it is not of now") }
    }

    private static func refused(_ summary: String) -> DiagnosedError {
        DiagnosedError(.serviceProof, fault: .client, "the proof of the service's key is refused: \(summary)")
    }
}

extension DiagnosedError.Code {
    /// A proof that does not prove the key of a service.
    package static let serviceProof: Self = "service-proof"
}

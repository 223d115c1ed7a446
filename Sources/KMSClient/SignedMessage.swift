import Cryptography
package import Diagnostics
import JOSESignature
package import KMSProtocol
import WireText

/// What the KMS signs because it can not encrypt it: the answer that opens a session, its refusal, or a reset.
package enum SignedMessage: Sendable {
    case answer(KMSAnswer)
    case reset(KMSReset)

    /// Longest signed message that is looked at, in octets.
    static let maximumLength = 64 << 10

    /// Verifies a compact JWS: `alg` PS256 or RS256 and nothing else, `kid` that of the verified static key, signature
    /// by that key (protocol, section 4). A request that was sent back in signed form is refused.
    package init(_ text: String, signedBy key: VerifiedStaticKey) throws(DiagnosedError) {
        guard text.utf8.count <= Self.maximumLength else {
            throw .signature("it is too long", expected: "at most \(Self.maximumLength) octets")
        }
        let payload: [UInt8]
        do {
            let jws = try JWS.verify(text, allowing: [.ps256, .rs256]) { header in
                guard header.kid == key.kid else {
                    throw DiagnosedError.signature(
                        "it names another key", expected: key.kid, found: header.kid?.loggable ?? "no kid")
                }
                return key.publicKey
            }
            payload = jws.payload
        } catch {
            throw (error as? DiagnosedError).flatMap { $0.code == .kmsSignature ? $0 : nil }
                ?? .signature("its signature does not verify", found: (error as? DiagnosedError)?.summary)
        }
        let root: JSONNode
        do {
            root = try JSONDocument(payload, limits: .init(maximumDepth: 8, maximumNodes: 1000)).root
        } catch {
            throw .malformedAnswer("a signed message is not JSON")
        }
        if root["method"] == nil, let reset = KMSReset(root) {
            self = .reset(reset)
        } else {
            self = .answer(try KMSClientSession.answer(root))
        }
    }

    /// Whether a message of the cloud is a signed one, by its form: three parts. Encrypted ones have five.
    package static func hasForm(_ text: String) -> Bool { text.utf8.count(where: { $0 == UInt8(ascii: ".") }) == 2 }

    /// The key id that a signed message names, unverified: to fetch the details document again when it is not known.
    package static func claimedKeyID(_ text: String) -> String? {
        guard text.utf8.count <= maximumLength else { return nil }
        return (try? JWS.peekHeader(text))?.kid
    }
}

extension DiagnosedError {
    fileprivate static func signature(_ summary: String, expected: String? = nil, found: String? = nil)
        -> DiagnosedError
    {
        DiagnosedError(
            .kmsSignature, fault: .peer, "a signed message of the KMS is refused: \(summary)", expected: expected,
            found: found)
    }
}

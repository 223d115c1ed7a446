import Cryptography
import Diagnostics
import JOSESignature
import WireText

/// The signature over an export's statement, as the KMS makes it for an eDiscovery service (docs/kms-extensions.md, Signatures): a JWS
/// whose payload has the statement's SHA-256.
enum ExportSignature {
    private static let algorithms: Set<SignatureAlgorithm> = [.es256, .ps256, .ps384, .ps512, .rs256, .rs384, .rs512]

    /// The digest that a payload speaks of; nil of another form.
    static func digest(_ payload: [UInt8]) -> [UInt8]? {
        guard let root = try? JSONDocument(payload).root, root["type"]?.string == "hds-ediscovery-export" else {
            return nil
        }
        return root["digest"]?.string.flatMap { Base64URL.decode($0) }
    }

    static func header(_ compact: String) throws -> JOSEHeader { try JWS.peekHeader(compact) }

    /// Whether the key has signed these octets, and meant an export.
    static func verify(_ compact: String, of octets: [UInt8], with key: JWK) throws -> Bool {
        let jws = try JWS.verify(compact, allowing: algorithms) { try key.verificationKey(for: $0) }
        guard jws.header.typ == ExportStatement.type else {
            throw DiagnosedError(
                .exportSignature, fault: .client, "the signature is one of something else",
                expected: ExportStatement.type, found: jws.header.typ?.quotedForError ?? "no 'typ'")
        }
        return Self.digest(jws.payload) == SHA256.hash(octets)
    }
}

import Cryptography
import Diagnostics
import JOSESignature

/// The signature over an export's statement.
enum ExportSignature {
    private static let algorithms: Set<SignatureAlgorithm> = [.es256, .ps256, .ps384, .ps512, .rs256, .rs384, .rs512]

    static func header(_ compact: String) throws -> JOSEHeader { try JWS.peekHeader(compact) }

    /// The octets that were signed, when the key made the signature and meant an export.
    static func verify(_ compact: String, with key: JWK) throws -> [UInt8] {
        let jws = try JWS.verify(compact, allowing: algorithms) { try key.verificationKey(for: $0) }
        guard jws.header.typ == ExportStatement.type else {
            throw DiagnosedError(
                .exportSignature, fault: .client, "the signature is one of something else",
                expected: ExportStatement.type, found: jws.header.typ?.quotedForError ?? "no 'typ'")
        }
        return jws.payload
    }
}

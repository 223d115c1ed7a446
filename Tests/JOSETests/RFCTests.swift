import Cryptography
import JOSEEncryption
import JOSESignature
import SecretMemory
import Testing
import WireText

@Suite("RFC 7515, 7516, 7520")
struct RFCTests {
    private func verify(
        _ text: String, _ key: String, _ algorithm: SignatureAlgorithm
    ) throws -> String {
        let jws = try JWS.verify(text, allowing: [algorithm]) { try JWK(jsonText: key).verificationKey(for: $0) }
        return String(decoding: jws.payload, as: UTF8.self)
    }

    @Test("RFC 7515 A.2: RS256")
    func rs256() throws {
        #expect(try verify(RFCTexts.rs256, RFCTexts.rs256Key, .rs256) == RFCTexts.claims)
    }

    @Test("RFC 7515 A.3: ES256")
    func es256() throws {
        #expect(try verify(RFCTexts.es256, RFCTexts.es256Key, .es256) == RFCTexts.claims)
    }

    @Test("RFC 7520 4.1 and 4.2: RS256 and PS384")
    func cookbookSignatures() throws {
        #expect(try verify(RFCTexts.cookbookRS256, RFCTexts.cookbookKey, .rs256) == RFCTexts.cookbookPayload)
        #expect(try verify(RFCTexts.cookbookPS384, RFCTexts.cookbookKey, .ps384) == RFCTexts.cookbookPayload)
    }

    @Test("RFC 7516 A.1 and RFC 7520 5.2: RSA-OAEP with A256GCM")
    func encryption() throws {
        for (text, key, expected) in [
            (RFCTexts.oaep, RFCTexts.oaepKey, RFCTexts.oaepPlaintext),
            (RFCTexts.cookbookOAEP, RFCTexts.cookbookOAEPKey, RFCTexts.cookbookOAEPPlaintext),
        ] {
            let privateKey = try PrivateKey(jwk: JSONDocument(text: key).root)
            let plain = try JWE.decryptRSAOAEP(JWE.parse(Array(text.utf8)), with: privateKey)
            #expect(plain.withUnsafeBytes { String(decoding: $0, as: UTF8.self) } == expected)
        }
    }
}

import Diagnostics
import JOSESignature
import WireText

/// A certificate as it is handed out: `{"certificate":"JWS","key":JWK}`, the statement and the key that signed it, so that
/// somebody who has only the key's fingerprint can check it.
enum CertificateFile {
    static func text(_ payload: [UInt8], as type: StatementType, signedBy key: AttestationKey) throws -> String {
        var json = JSONWriter(reserving: 4096)
        json.beginObject()
        json.member("certificate", try key.sign(payload, as: type))
        json.name("key")
        json.raw(key.jwk)
        json.endObject()
        return json.text()
    }

    /// The payload in a file's content, when a believed key has signed exactly it as that type, and the key's fingerprint.
    ///
    /// - Parameter what: such as "a rotation", for the error.
    static func verify(
        _ text: String, as type: StatementType, of what: String, upTo maximumBytes: Int, trust: AttestationTrust
    ) throws -> (payload: [UInt8], key: String) {
        let root = try? JSONDocument(text: text, limits: .init(maximumBytes: maximumBytes)).root
        guard let root, root.members?.map(\.name) == ["certificate", "key"], let jws = root["certificate"]?.string,
            let key = root["key"]
        else {
            throw DiagnosedError(
                .attestationInvalid, fault: .client, "this is no certificate of \(what)",
                expected: #"{"certificate":"JWS","key":JWK}"#, hint: "give the whole file as hdsctl wrote it")
        }
        var trust = trust
        trust.learn(try JWK(key).publicKey())
        let verified = try trust.verify(jws, as: type)
        return (verified.payload, verified.key)
    }
}

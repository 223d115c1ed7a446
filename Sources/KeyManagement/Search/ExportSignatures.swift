import KMSProtocol
import SignedPolicy
import WireText

// What the KMS vouches for when an eDiscovery worker makes an export: that this service, by this organisation's consent, presented
// this digest at this time. The worker's own word for its package would be worth as much as the worker's machine.
extension KeyManagement {
    /// Type of the signed text.
    package static let exportSignatureType = "hds-ediscovery-export+jws"

    /// create /signatures: of a digest, under the static key. It says nothing of what the digest is of.
    func createSignature(_ request: KMSRequest, _ caller: Caller, _ now: Timestamp) throws -> Outcome {
        let consent = try demandConsent(ofType: "ediscovery", caller, space: nil, now)
        let digest = try request.signedDigest()
        guard let key = staticKeys?.present else {
            throw KMSFailure(KMSStatus.internalError, "internal error")
        }
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "hds-ediscovery-export")
        json.member("kms", names.cluster)
        json.member("service", caller.tokenUser)
        json.member("consent", consent.name)
        json.member("digest", Base64URL.encode(digest))
        json.member("time", now.iso8601)
        json.endObject()
        let jws = try key.sign(json, typ: Self.exportSignatureType, withChain: true)
        return Outcome(
            KMSStatus.created, .signature(String(decoding: jws, as: UTF8.self)), path: .service(consent.name))
    }
}

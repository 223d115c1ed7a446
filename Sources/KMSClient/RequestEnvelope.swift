import Cryptography
import Diagnostics
import JOSESignature
import KMSProtocol
import WireText

/// Writes the envelope of a request (protocol, section 5) into a buffer that is wiped.
enum RequestEnvelope {
    /// Counter and time, which protect against requests that the cloud held back (docs/kms-extensions.md).
    struct Stamp {
        let counter: Int64
        let time: Timestamp
    }

    static func json(
        requestID: String, method: KMSRequest.Method, uri: String, credential: KMSCredential, stamp: Stamp?,
        proof: String? = nil, members: (inout JSONWriter) -> Void
    ) -> JSONWriter {
        var json = JSONWriter(reserving: 2048)
        json.beginObject()
        json.member("requestId", requestID)
        json.member("method", method.rawValue)
        json.member("uri", uri)
        json.name("client")
        json.beginObject()
        json.member("clientId", credential.clientID)
        json.name("credential")
        json.beginObject()
        json.member("userId", credential.userID)
        credential.bearer?.reveal { json.member("bearer", $0) }
        credential.assertion?.reveal { json.member("assertion", $0) }
        json.member("onBehalfOf", ifPresent: credential.onBehalfOf)
        json.member("matter", ifPresent: credential.matter)
        if let proof, let key = credential.serviceKey {
            json.name("jwk")
            JWK(publicKey: key.privateKey.publicKey, kid: nil, x5c: key.chain.map(\.der)).write(to: &json)
            json.member("proof", proof)
        }
        json.endObject()
        if let stamp {
            json.member("counter", stamp.counter)
            json.member("time", stamp.time.iso8601)
        }
        json.endObject()
        members(&json)
        json.endObject()
        return json
    }
}

import Diagnostics
import JOSESignature
package import WireText

/// The asked KMS's half: a request of another KMS to open a session, verified (protocol, section 10).
///
/// Rules, after those of `FederationTrust`:
///
/// 1. It is a request: an object with `method` and without `status`. (A signed answer that was sent back is none.)
/// 2. It creates `/ecdhe`, and `uri` is absolute with the asked KMS's own host: a request to another KMS counts nowhere
///    else.
/// 3. `client.time`, where it is sent, lies within `timeWindow` of the clock: a kept request opens nothing later.
/// 4. The key is of type EC on P-256. Whether its point is on the curve, the agreement tells.
package struct FederationRequest: Sendable {
    /// Of the asking KMS, as its certificate proves.
    package let host: String
    package let requestID: String
    package let clientID: String
    /// Coordinates, 1 to 32 octets each.
    package let x: [UInt8]
    package let y: [UInt8]

    /// Seconds.
    package static let timeWindow: Int64 = 300

    /// The host in whose name a text comes, when it has the form of a request of another KMS: a JWS with a static key of
    /// a foreign host as `kid`. Says nothing about who made it.
    package static func claimedHost(of text: [UInt8], asked: KMSNames) -> String? {
        guard text.count <= FederationTrust.maximumLength, text.count(where: { $0 == UInt8(ascii: ".") }) == 2,
            let compact = String(validating: text, as: UTF8.self),
            let kid = (try? JWS.peekHeader(compact))?.kid.flatMap({ KMSURI($0) }), case .staticKey = kid.object,
            let host = kid.host, host != asked.host
        else { return nil }
        return host
    }

    /// Throws a `DiagnosedError` when the partner did not sign it, a `KMSFailure` for what is wrong in what it signed.
    package init(_ text: [UInt8], trust: FederationTrust, asked: KMSNames, at now: Timestamp) throws {
        try self.init(verified: trust.verify(text, at: now), of: trust.host, asked: asked, at: now)
    }

    /// From what `FederationTrust` of that host has verified.
    package init(
        verified root: JSONNode, of host: String, asked: KMSNames, at now: Timestamp
    ) throws(KMSFailure) {
        self.host = host
        let request = try KMSRequest(root, needsBearer: false)
        requestID = request.requestID
        clientID = request.clientID
        guard request.method == .create, request.uri.object == .sessions, request.uri.host == asked.host else {
            throw KMSFailure.malformed("under a static key only create \(asked.cluster)/ecdhe is possible")
        }
        if let node = root["client"]?["time"] {
            guard let time = node.string.flatMap({ Timestamp(iso8601: $0) }),
                abs(now.milliseconds - time.milliseconds) <= Self.timeWindow * 1000
            else {
                throw KMSFailure(
                    KMSStatus.conflict, "client.time is more than \(Self.timeWindow) s from the clock of this KMS",
                    errorCode: KMSFailure.staleTimeCode)
            }
        }
        guard let jwk = root["jwk"], jwk["kty"]?.string == "EC", jwk["crv"]?.string == "P-256",
            let x = jwk["x"]?.string.flatMap({ Base64URL.decode($0) }), (1...32).contains(x.count),
            let y = jwk["y"]?.string.flatMap({ Base64URL.decode($0) }), (1...32).contains(y.count)
        else { throw KMSFailure.malformed("request does not contain a key of type EC on P-256 curve") }
        self.x = x
        self.y = y
    }
}

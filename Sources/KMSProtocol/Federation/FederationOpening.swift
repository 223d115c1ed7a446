import Cryptography
import Diagnostics
import Encryption
package import SecretMemory
package import WireText

/// The asking KMS's half of opening a session with another KMS (protocol, section 10).
///
/// The request is a JWS under the own static key; the answer is one under the partner's, held against `FederationTrust`.
/// What binds them: the answer repeats the request's fresh id and names the asking KMS, so that neither an old answer
/// nor one that was made for somebody else counts. Pure; each value is for one attempt and has its own key pair.
package struct FederationOpening: Sendable {
    package let requestID: String
    /// The compact JWS.
    package let text: [UInt8]
    private let own: String
    private let agreement: P256Agreement

    /// Life that a session may have, in seconds: what clients of the protocol take.
    static let lifeRange: ClosedRange<Int64> = 60...(24 * 86_400)

    /// - Parameter host: of the KMS that is asked.
    package init(from own: KMSStaticKey, to host: String, at now: Timestamp) throws {
        agreement = try P256Agreement.generate()
        requestID = UUIDText.random()
        self.own = own.names.host
        var json = JSONWriter()
        json.beginObject()
        json.member("requestId", requestID)
        json.member("method", "create")
        json.member("uri", KMSNames(host: host).cluster + "/ecdhe")
        json.name("jwk")
        json.beginObject()
        json.member("kty", "EC")
        json.member("crv", "P-256")
        json.member("x", Base64URL.encode(agreement.publicX))
        json.member("y", Base64URL.encode(agreement.publicY))
        json.endObject()
        json.name("client")
        json.beginObject()
        json.member("clientId", own.names.cluster)
        json.name("credential")
        json.beginObject()
        json.member("userId", own.names.host)
        json.endObject()
        json.member("time", now.iso8601)
        json.endObject()
        json.endObject()
        text = try own.sign(json, withChain: true)
    }

    /// What was agreed. A refusal that the partner signed is thrown as `KMSFailure`; everything else that is not the
    /// answer to this request is a `DiagnosedError`.
    package func finish(_ message: [UInt8], trust: FederationTrust, at now: Timestamp) throws -> FederationAgreement {
        let root = try trust.verify(message, at: now)
        guard let answer = KMSAnswer(root), answer.requestID == requestID else {
            // The partner can not read whose request it is when it does not believe it.
            let reason = KMSAnswer(root)?.reason.map { ": " + String($0.filter(\.isASCII).prefix(200)) } ?? ""
            throw Self.refused(trust.host, "the answer does not name the request\(reason)")
        }
        guard answer.status == KMSStatus.created, case .ephemeralKey(let offered) = answer.body else {
            throw KMSFailure(answer.status, answer.reason ?? "no reason given", errorCode: answer.errorCode)
        }
        guard let uri = KMSURI(offered.uri), uri.host == trust.host, case .session = uri.object else {
            throw Self.refused(trust.host, "its URI is no session of the partner")
        }
        guard offered.userID.lowercased() == own else {
            throw Self.refused(trust.host, "the session is for somebody else")
        }
        let (life, overflow) = offered.expirationDate.milliseconds.subtractingReportingOverflow(
            offered.createDate.milliseconds)
        guard !overflow, (Self.lifeRange.lowerBound * 1000...Self.lifeRange.upperBound * 1000).contains(life) else {
            throw Self.refused(trust.host, "the life of the session is out of bounds")
        }
        guard let z = try? agreement.sharedSecret(withX: offered.x, y: offered.y) else {
            throw Self.refused(trust.host, "its point is not on the curve")
        }
        return FederationAgreement(
            uri: offered.uri, key: try KMSHandshake.sessionKey(from: z), created: offered.createDate,
            expires: offered.expirationDate)
    }

    private static func refused(_ host: String, _ what: String) -> DiagnosedError {
        DiagnosedError(
            .federationAnswer, fault: .peer, "the session that \(host) offers is refused: \(what)",
            hint: "the core may mix up or keep back messages; if it goes on, ask the partner's administrator")
    }
}

/// A session with another KMS.
package struct FederationAgreement: Sendable {
    /// `kms://HOST/ecdhe/UUID`
    package let uri: String
    package let key: SymmetricKey
    package let created: Timestamp
    package let expires: Timestamp
}

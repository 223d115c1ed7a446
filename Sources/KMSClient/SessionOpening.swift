import Diagnostics
import Encryption
import JOSEEncryption
package import KMSProtocol
import PostQuantum
import SecretMemory
package import WireText

/// One attempt to open a session (protocol, section 4): the request to send and what its answer needs to become a session.
///
/// The private half of the key pair lives as long as this value. Each attempt has its own key pair and request id.
package final class SessionOpening: Sendable {
    package let requestID: String
    /// The compact JWE to the static key.
    package let text: String
    private let host: String
    private let credential: KMSCredential
    private let agreement: P256Agreement
    /// The offer of ML-KEM-768 beside it, and whether a session without it is refused.
    private let encapsulation: MLKEM768KeyPair?
    private let postQuantum: PostQuantumUse
    /// The local clock when the request was wrapped.
    private let started: Timestamp

    /// Life that a session may have, in seconds: 60 s to 24 days, as deployed clients demand.
    static let lifeRange: ClosedRange<Int64> = 60...(24 * 86_400)
    /// How old the answer's request may be. A cloud that held the answer back would else shift the agreed clock.
    static let maximumAge: Int64 = 45

    package init(
        to key: VerifiedStaticKey, as credential: KMSCredential, at local: Timestamp,
        postQuantum: PostQuantumUse = .preferred
    ) throws {
        let agreement = try P256Agreement.generate()
        let encapsulation = postQuantum == .off ? nil : try MLKEM768KeyPair.generate()
        let id = UUIDText.random()
        let uri = KMSNames(host: key.host).cluster + "/ecdhe"
        let proof = try credential.serviceKey.map { service in
            try ServiceProof.make(
                for: .init(
                    ephemeralX: agreement.publicX, y: agreement.publicY, requestID: id, staticKey: key.kid),
                with: service.privateKey, at: local)
        }
        let json = RequestEnvelope.json(
            requestID: id, method: .create, uri: uri, credential: credential, stamp: nil, proof: proof
        ) { json in
            json.name("jwk")
            json.beginObject()
            json.member("kty", "EC")
            json.member("crv", "P-256")
            json.member("x", Base64URL.encode(agreement.publicX))
            json.member("y", Base64URL.encode(agreement.publicY))
            json.endObject()
            if let encapsulation { KMSPostQuantum.write(encapsulationKey: encapsulation.publicKey, to: &json) }
        }
        let text = try json.withUnsafeBytes { try JWE.encryptRSAOAEP($0, to: key.publicKey, kid: key.kid) }
        requestID = id
        self.text = String(decoding: text, as: UTF8.self)
        host = key.host
        self.credential = credential
        self.agreement = agreement
        self.encapsulation = encapsulation
        self.postQuantum = postQuantum
        started = local
    }

    /// The session, from the verified answer. A refusal of the KMS is thrown as such.
    package func finish(_ answer: KMSAnswer, at local: Timestamp) throws -> KMSClientSession {
        guard answer.requestID == requestID else {
            throw DiagnosedError(
                .kmsMismatch, fault: .peer, "the answer belongs to another request", expected: "request \(requestID)",
                found: answer.requestID?.loggable ?? "no requestId")
        }
        guard (200...299).contains(answer.status) else { throw KMSRefusal(answer) }
        guard answer.status == KMSStatus.created, case .ephemeralKey(let offered) = answer.body else {
            throw Self.refused("the answer holds no session key", expected: "status 201 with an EC key")
        }
        guard let uri = KMSURI(offered.uri), uri.isSession(at: host) else {
            throw Self.refused(
                "its URI is no session of the KMS", expected: "kms://\(host)/ecdhe/…", found: offered.uri.loggable)
        }
        guard offered.userID.lowercased() == credential.userID.lowercased() else {
            throw Self.refused(
                "it is for another user", expected: credential.userID, found: offered.userID.loggable)
        }
        guard offered.clientID == credential.clientID || offered.clientID.isEmpty else {
            throw Self.refused(
                "it is for another device", expected: credential.clientID, found: offered.clientID.loggable)
        }
        let (life, overflow) = offered.expirationDate.milliseconds.subtractingReportingOverflow(
            offered.createDate.milliseconds)
        guard !overflow, (Self.lifeRange.lowerBound * 1000...Self.lifeRange.upperBound * 1000).contains(life) else {
            throw Self.refused(
                "its life is out of bounds", expected: "60 s to 24 days",
                found: "from \(offered.createDate) to \(offered.expirationDate)")
        }
        guard local >= started, local.milliseconds - started.milliseconds <= Self.maximumAge * 1000 else {
            throw Self.refused("the answer is late", expected: "within \(Self.maximumAge) s")
        }
        let z: SymmetricKey
        do {
            z = try agreement.sharedSecret(withX: offered.x, y: offered.y)
        } catch {
            throw Self.refused("its point is not on the curve", expected: "a point of P-256")
        }
        // The answer was on its way for a while, so this is at most the true offset: times on the wire are never ahead of
        // the KMS's clock, and a held back answer only narrows the window for requests.
        let (offset, offsetOverflow) = offered.createDate.milliseconds.subtractingReportingOverflow(local.milliseconds)
        guard !offsetOverflow, abs(offset) < 100 * 366 * 86_400_000 else {
            throw Self.refused("its creation date can not be", found: "\(offered.createDate)")
        }
        return KMSClientSession(
            uri: offered.uri, host: host, userID: credential.userID, key: try sessionKey(z, offered),
            created: offered.createDate, expires: offered.expirationDate, clockOffset: offset)
    }

    /// The key of the session. The KMS signed what it sent, and the offer came to it unread: who stands between can take
    /// neither the offer nor its acceptance away.
    private func sessionKey(_ z: SymmetricKey, _ offered: KMSEphemeralKey) throws -> SymmetricKey {
        guard let ciphertext = offered.ciphertext else {
            guard postQuantum != .required else {
                throw Self.refused(
                    "it is not protected against quantum computers", expected: KMSPostQuantum.algorithm,
                    found: "P-256 alone",
                    hint: "let the key management service take part (policy.post-quantum: true), or set the client to "
                        + "prefer instead of require")
            }
            return try KMSHandshake.sessionKey(from: z)
        }
        guard let encapsulation else {
            throw Self.refused("it answers an offer that was not made", found: KMSPostQuantum.algorithm)
        }
        return try KMSHandshake.sessionKey(
            from: z, and: encapsulation.secret(from: ciphertext),
            transcript: .init(
                clientX: agreement.publicX, clientY: agreement.publicY, encapsulationKey: encapsulation.publicKey,
                serverX: offered.x, serverY: offered.y, ciphertext: ciphertext))
    }

    private static func refused(
        _ summary: String, expected: String? = nil, found: String? = nil, hint: String? = nil
    ) -> DiagnosedError {
        DiagnosedError(
            .kmsSession, fault: .peer, "the offered session is refused: \(summary)", expected: expected, found: found,
            hint: hint)
    }
}

import Cryptography
import JOSEEncryption
import KMSProtocol
import KeyStore
import SecretMemory
import WireText

// The handshake (protocol, section 4).
extension RequestHandler {
    /// Opens a session. The same string again gets its first answer, before any costly operation.
    func openSession(
        _ message: JWECompact, text: [UInt8], key: KMSStaticKey, source: String, now: Timestamp
    ) async -> PendingReply {
        let digest = SHA256.hash(text)
        var entry = RequestLogEntry(at: now, lease: keyManagement.lease)
        do {
            if let earlier = try await store.ledgerEntry(digest) {
                try await audit?.settle()
                return again(earlier.sealedAnswer, entry)
            }
            guard budgets.takeOpening(now: now) else { return .drop("too many session openings") }
            guard let plain = try? key.open(message) else {
                return reset("Request could not be decrypted", source: source, now: now)
            }
            guard let root = try? plain.withUnsafeBytes({ try JSONDocument($0, limits: KMSRequest.jsonLimits).root })
            else {
                return .ready(
                    refuse(KMSFailure(KMSStatus.malformed, "the request is not valid JSON"), key, &entry, now))
            }
            entry.requestID = KMSRequest.requestID(of: root)
            let opening: Opening
            do throws(KMSFailure) {
                opening = try await judgeOpening(root, key, &entry, now)
            } catch {
                return .ready(refuse(error, key, &entry, now))
            }
            let agreement: KMSHandshake.Agreement
            do {
                agreement = try KMSHandshake.agree(
                    withX: opening.x, y: opening.y, encapsulationKey: opening.encapsulationKey)
            } catch {
                return .ready(
                    refuse(opening.encapsulationKey == nil ? Opening.badKey : Opening.badKeys, key, &entry, now))
            }
            let id = UUIDText.random()
            entry.session = id
            let content = SessionContent(
                key: agreement.sessionKey, userID: opening.userID, clientID: opening.clientID, created: now,
                expires: now.adding(seconds: policy.sessionLife), holder: opening.holder)
            let ephemeral = KMSEphemeralKey(
                uri: keyManagement.names.session(id), x: agreement.x, y: agreement.y, userID: content.userID,
                clientID: content.clientID, createDate: content.created, expirationDate: content.expires,
                ciphertext: agreement.ciphertext)
            let answer = KMSAnswer(
                status: KMSStatus.created, requestID: entry.requestID, body: .ephemeralKey(ephemeral))
            if let blocked = audit?.blocked { throw blocked }
            let signedAnswer = try key.sign(answer.json())
            entry.rule = "session-opened"
            let record = try auditRecord(entry, answer, now)
            // A conflict: the key of the day was destroyed between sealing and writing; the next one is taken.
            for _ in 0..<3 {
                var change = StoreChange(writes: [
                    .insertSession(try await sessions.record(content, id: id, now: now)),
                    .insertLedger(
                        LedgerRecord(
                            digest: digest, session: id, expires: content.expires, sealedAnswer: signedAnswer,
                            audit: try record.flatMap { try audit?.ledgerForm(of: $0) } ?? [])),
                ])
                let claimants: [String]
                if case .user = opening.holder {
                    claimants = try await homes.noteOwn(content.userID, domain: opening.domain, in: &change)
                } else {
                    claimants = []
                }
                let (result, ticket) = try await commit(change, record: record)
                switch result {
                case .committed:
                    if !claimants.isEmpty { federation?.observer.contested(content.userID, claimants) }
                    sessions.remember(content, id: id)
                    if case .user = opening.holder { noteDevice(content.clientID, of: content.userID, now) }
                    return leave(signedAnswer, answer, when: ticket, entry) { [self, entry] error in
                        if let reason = reasonForOthers(error) { return .decline(reason) }
                        var entry = entry
                        entry.renewAuditID(at: now)
                        return refuse(KMSFailure(KMSStatus.internalError, "internal error"), key, &entry, now)
                    }
                case .duplicate:
                    guard let earlier = try await store.ledgerEntry(digest) else { continue }
                    try await audit?.settle()
                    return again(earlier.sealedAnswer, entry)
                case .conflict: continue
                }
            }
            return .ready(refuse(KMSFailure(KMSStatus.internalError, "internal error"), key, &entry, now))
        } catch {
            log.failure(error, while: "opening a session")
            if let reason = reasonForOthers(error) { return .decline(reason) }
            entry.renewAuditID(at: now)
            return .ready(refuse(KMSFailure(KMSStatus.internalError, "internal error"), key, &entry, now))
        }
    }

    private struct Opening {
        static let badKey = KMSFailure(
            KMSStatus.malformed, "request does not contain a key of type EC on P-256 curve")

        static let badKeys = KMSFailure(
            KMSStatus.malformed,
            "request does not contain a key of type EC on P-256 curve, or its key of ML-KEM-768 is none")
        static let badOffer = KMSFailure(
            KMSStatus.malformed,
            "postQuantum is not {\"alg\":\"ML-KEM-768\",\"encapsulationKey\":1184 octets in base64url}")

        let x: [UInt8]
        let y: [UInt8]
        /// Of ML-KEM-768, where it was offered and is to be used.
        let encapsulationKey: [UInt8]?
        let userID: String
        let clientID: String
        let holder: SessionHolder
        /// Of the user, where a token of the customer's own issuer tells it.
        let domain: String?
    }

    /// Form, key, bearer, its binding and the cap of sessions, in this order; the costly ones last.
    private func judgeOpening(
        _ root: JSONNode, _ key: KMSStaticKey, _ entry: inout RequestLogEntry, _ now: Timestamp
    ) async throws(KMSFailure) -> Opening {
        let request = try KMSRequest(root)
        entry.note(request)
        guard request.method == .create, request.uri.object == .sessions, keyManagement.names.owns(request.uri) else {
            throw KMSFailure(KMSStatus.malformed, "under the static key only create /ecdhe is possible")
        }
        guard let jwk = root["jwk"], jwk["kty"]?.string == "EC", jwk["crv"]?.string == "P-256",
            let x = jwk["x"]?.string.flatMap({ Base64URL.decode($0) }), (1...32).contains(x.count),
            let y = jwk["y"]?.string.flatMap({ Base64URL.decode($0) }), (1...32).contains(y.count)
        else { throw Opening.badKey }
        var encapsulationKey: [UInt8]?
        switch KMSPostQuantum.offer(in: root) {
        case .none, .other: break
        case .key(let key): encapsulationKey = policy.takesPostQuantum ? key : nil
        case .malformed: throw Opening.badOffer
        }
        let (token, holder) = try await identity(of: request.credential.bearer, now: now)
        entry.user = token.userID
        if let named = request.credential.userID, named.lowercased() != token.userID.lowercased() {
            throw KMSFailure(KMSStatus.forbidden, "userId does not match the bearer token")
        }
        try callers.takeOpening(device: request.clientID, keyManagement.inForce.current.values, now: now)
        let confirmation = try KeyBinding.judge(
            request, token: token, ephemeralX: x, y: y, staticKey: key.kid, now: now)
        let live: Int
        do {
            live = try await sessions.count(ofUser: token.userID, now: now)
        } catch {
            log.failure(error, while: "counting sessions")
            throw KMSFailure(KMSStatus.internalError, "internal error")
        }
        guard live < policy.sessionsPerUser else {
            throw KMSFailure(
                KMSStatus.tooManyRequests,
                "user \(token.userID) has \(live) sessions, which is the most allowed; keep and use one of them")
        }
        let end: SessionHolder = if case .user = holder { .user(confirmation: confirmation) } else { holder }
        return Opening(
            x: x, y: y, encapsulationKey: encapsulationKey, userID: token.userID, clientID: request.clientID,
            holder: end, domain: token.isCustomerControlled ? token.domain : nil)
    }

    private func refuse(
        _ failure: KMSFailure, _ key: KMSStaticKey, _ entry: inout RequestLogEntry, _ now: Timestamp
    ) -> Reply {
        entry.rule = failure.rule
        noteRefusal(entry, KMSAnswer(failure, requestID: entry.requestID), now)
        log.request(entry, status: failure.status, reason: failure.reason)
        do {
            return .answer(try key.sign(KMSAnswer(failure, requestID: entry.requestID).json()))
        } catch {
            log.failure(error, while: "signing an answer")
            return .decline("internal error")
        }
    }
}

import Diagnostics
package import KMSClient
import KMSProtocol
import WireText

// Opening the session, and the static key that it starts from.
extension KMSConnection {
    /// The session that all calls share; callers that come while it is being opened wait for the same one.
    package func session() async throws -> KMSClientSession {
        if let session = try usableSession() { return session }
        if let opening { return try await opening.value }
        let task = Task { try await open() }
        opening = task
        defer { opening = nil }
        return try await task.value
    }

    private func usableSession() throws -> KMSClientSession? {
        let state = try store.current()
        guard let session = state.session, session.isUsable(at: now()), session.host == trust.host,
            session.userID == state.account?.id
        else { return nil }
        return session
    }

    /// Opens a session, alone among all processes of the state folder: who waited finds the other's.
    private func open() async throws -> KMSClientSession {
        let lock = try await FileLock.patient(store.folder + "/session.lock", seconds: 90, sleep: sleep)
        if let session = try usableSession() {
            lock.release()
            return session
        }
        let session = try await handshake()
        try store.update { $0.session = session }
        lock.release()
        return session
    }

    private func handshake() async throws -> KMSClientSession {
        var isRenewed = false
        while true {
            do {
                return try await handshake(renewed: isRenewed)
            } catch let refusal as KMSRefusal where refusal.status == KMSStatus.unauthorized && !isRenewed {
                isRenewed = true
            }
        }
    }

    private func handshake(renewed: Bool) async throws -> KMSClientSession {
        let key = try await fetchKey()
        let credential = try await carrier.credential(renewed: renewed)
        let answered = Awaited<OpeningAnswer>()
        var ids: [String] = []
        defer { for id in ids { openings[id] = nil } }
        for patience in Self.patience {
            try Task.checkCancellation()
            let opening = try SessionOpening(to: key, as: credential, at: now(), postQuantum: postQuantum)
            ids.append(opening.requestID)
            openings[opening.requestID] = (opening, answered)
            var wait = patience
            if case .failure(let error)? = await outbox.enqueue(opening.text).value() {
                guard (error as? DiagnosedError)?.code == .cloudUnavailable else { throw error }
                // The core may have taken it all the same: then the answer comes.
                wait = min(patience, 1000)
            }
            if let answer = await answered.value(within: wait, sleep: sleep) {
                return try answer.opening.finish(answer.answer, at: now())
            }
        }
        throw DiagnosedError(
            .kmsNoAnswer, fault: .peer, "the key management service did not answer the opening of a session",
            expected: "an answer within \(Self.patience.reduce(0, +) / 1000) s",
            hint: "it may be down or cut off from the cloud; try again later")
    }

    /// The static key by the details document of now, proved against the pins.
    private func fetchKey() async throws -> VerifiedStaticKey {
        let document = try await carrier.details()
        let key = try trust.verify(details: document, at: now())
        staticKey = key
        lastDetails = now()
        return key
    }

    /// The verified key that a signed message names. A key id that is not known makes the client look once for a renewed
    /// certificate, not more often than every 20 s: the cloud could send such messages endlessly.
    func verifiedKey(claimed: String?) async throws -> VerifiedStaticKey {
        if let staticKey, staticKey.kid == claimed { return staticKey }
        if let staticKey, let lastDetails, now() < lastDetails.adding(seconds: 20), now() >= lastDetails {
            return staticKey
        }
        return try await fetchKey()
    }
}

import Diagnostics
import WireText

/// Access tokens that are good now: read from the state, renewed before they expire or when a server refused one.
///
/// A refresh token may be used once: using it again, but for an answer that was lost, ends the login. So one process of a state folder renews at a time,
/// the others take what it stored, and the new tokens are on the disk before they are used.
actor TokenSource {
    private let store: StateStore
    private let authorization: AuthorizationClient
    private let now: @Sendable () -> Timestamp
    private let sleep: Sleep
    private var server: AuthorizationServer?
    private var renewal: Task<Tokens, any Error>?
    /// When it was asked because the core said so: one that says it without end makes nobody ask without end.
    private var asked: [Timestamp] = []
    /// In a minute.
    static let mostAsked = 3
    /// By audience; without a text: the issuer says nothing to that one.
    private var assertions: [String: (text: Redacted<String>?, until: Timestamp)] = [:]

    init(
        store: StateStore, authorization: AuthorizationClient, now: @escaping @Sendable () -> Timestamp, sleep: Sleep
    ) {
        self.store = store
        self.authorization = authorization
        self.now = now
        self.sleep = sleep
    }

    /// - Parameter refused: tokens that a server did not take; others are given.
    func tokens(insteadOf refused: Tokens? = nil) async throws -> Tokens {
        guard let tokens = try store.current().tokens else { throw Self.notLoggedIn() }
        if tokens.isFresh(at: now()), refused.map({ !Self.areSame($0, tokens) }) ?? true { return tokens }
        if let renewal { return try await renewal.value }
        let task = Task { try await renew(tokens) }
        renewal = task
        defer { renewal = nil }
        return try await task.value
    }

    private func renew(_ old: Tokens) async throws -> Tokens {
        let lock = try await FileLock.patient(store.folder + "/token.lock", seconds: 60, sleep: sleep)
        guard let present = try store.current().tokens else { throw Self.notLoggedIn() }
        if !Self.areSame(present, old) {
            lock.release()
            return present
        }
        guard let refresh = present.refresh else { throw Self.notLoggedIn() }
        let answer: TokenAnswer
        do {
            answer = try await authorization.refresh(refresh, try await knownServer())
        } catch let error as DiagnosedError where error.code == .wipeOrdered {
            try store.wipe(proof: refresh, now: now())
            lock.release()
            await WipeMark.settle(store.folder, now: now)
            throw WipeMark.error(at: now())
        } catch let error as DiagnosedError where error.code == .tokenRefused && error.fault == .client {
            try store.update { $0.tokens = nil }
            throw Self.notLoggedIn(found: error.found)
        }
        guard answer.account.id == (try store.current().account?.id) else {
            throw DiagnosedError(
                .tokenRefused, fault: .peer, "the authorization service gave a token of another user",
                hint: "log in again")
        }
        let used = now()
        try store.update { state in
            state.tokens = answer.tokens
            state.policy = answer.policy
            state.lastUsed = used
        }
        lock.release()
        return answer.tokens
    }

    /// Somebody says that there is an order for this client: the authorization service is asked, and believed alone.
    func askForOrders() async {
        let now = now()
        asked = asked.filter { abs(now.milliseconds - $0.milliseconds) < 60_000 }
        guard asked.count < Self.mostAsked else { return }
        asked.append(now)
        _ = try? await tokens(insteadOf: try store.current().tokens)
    }

    /// What the issuer says to another organisation's KMS (`kms://HOST`); nil when it says nothing, or can not now: that
    /// KMS may have the user in a list, and if not it says what is missing.
    func assertion(for audience: String) async -> Redacted<String>? {
        if let known = assertions[audience], now() < known.until { return known.text }
        do {
            // The refresh token must not be replaced while it asks: a used one could end the login.
            let lock = try await FileLock.patient(store.folder + "/token.lock", seconds: 20, sleep: sleep)
            // Another call may have asked meanwhile.
            if let known = assertions[audience], now() < known.until {
                lock.release()
                return known.text
            }
            guard let refresh = try store.current().tokens?.refresh else { return nil }
            let found = try await authorization.assertion(for: audience, by: refresh, try await knownServer())
            lock.release()
            if assertions.count >= 100 { assertions.removeAll() }
            assertions[audience] = (
                found?.text, found?.expires.adding(seconds: -Tokens.margin) ?? now().adding(seconds: 300)
            )
            return found?.text
        } catch {
            return nil
        }
    }

    private func knownServer() async throws -> AuthorizationServer {
        if let server { return server }
        let found = try await authorization.server()
        server = found
        return found
    }

    private static func areSame(_ left: Tokens, _ right: Tokens) -> Bool {
        left.cloud.reveal { left in right.cloud.reveal { left == $0 } }
    }

    static func notLoggedIn(found: String? = nil) -> DiagnosedError {
        DiagnosedError(
            .notLoggedIn, fault: .client, "you are not logged in", found: found, hint: "run 'hds login EMAIL'")
    }
}

import CoreLink
import Diagnostics
package import KMSClient
package import KMSProtocol
import LinkProtocol
package import WireText

/// The KMS of the own organisation, as a service asks it: over the link and through the core, in a session of its own
/// (docs/link-protocol.md, calls).
///
/// One request is under way at a time, in the order in which they were asked for. What passes is tried again: a session that
/// is gone, a token that has ended, a counter or a clock that is behind. A refusal is thrown as `KMSRefusal`; `kmsNoAnswer`
/// when the KMS can not be reached, for the caller to try again later.
package actor KMSCaller {
    private let links: LinkHolder
    private let key: @Sendable () -> VerifiedStaticKey
    private let account: Account
    private let tokens: @Sendable () -> ServiceTokens
    private let now: @Sendable () -> Timestamp
    private var session: KMSClientSession?
    private var isBusy = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    /// Who the service is to the KMS.
    package struct Account: Sendable {
        /// Stored on what it makes: its kind and node.
        let clientID: String
        /// `sub` of its tokens.
        let subject: String
        /// What its tokens are bound to; nil for tokens that are not.
        let key: ServiceKey?

        package init(clientID: String, subject: String, key: ServiceKey?) {
            self.clientID = clientID
            self.subject = subject
            self.key = key
        }
    }

    /// Less than the core gives a call, which then says so itself.
    private static let patience = Duration.seconds(6)

    /// - Parameter key: the static key of the KMS by the service's own configuration (security model, rule 3).
    package init(
        _ links: LinkHolder, key: @escaping @Sendable () -> VerifiedStaticKey, account: Account,
        tokens: @escaping @Sendable () -> ServiceTokens, now: @escaping @Sendable () -> Timestamp = { .now() }
    ) {
        self.links = links
        self.key = key
        self.account = account
        self.tokens = tokens
        self.now = now
    }

    /// Whose rights count for a request, and for which compliance officer and matter it is made (docs/kms-extensions.md).
    package struct Behalf: Sendable, Hashable {
        package let person: String
        package let officer: String
        package let matter: String?

        package init(of person: String, officer: String, matter: String?) {
            self.person = person
            self.officer = officer
            self.matter = matter
        }
    }

    /// The answer to a request; a refusal is thrown.
    @discardableResult
    package func perform(_ operation: KMSOperation) async throws -> KMSAnswer {
        try await perform(operation, on: nil)
    }

    @discardableResult
    package func perform(_ operation: KMSOperation, on behalf: Behalf?) async throws -> KMSAnswer {
        await take()
        defer { give() }
        var renewsToken = false
        for _ in 0..<5 {
            try Task.checkCancellation()
            if renewsToken { tokens().discard(.kms) }
            renewsToken = false
            let session = try await liveSession()
            var credential = try await credential()
            if let behalf {
                credential.userID = behalf.officer
                credential.onBehalfOf = behalf.person
                credential.matter = behalf.matter
            }
            let request = try session.wrap(operation, as: credential, at: now())
            let text = try await call(request.text)
            if SignedMessage.hasForm(text) {
                guard case .reset(let reset) = try SignedMessage(text, signedBy: key()) else {
                    throw DiagnosedError(.kmsForeignAnswer, fault: .peer, "the KMS signed what it should have sealed")
                }
                try session.accept(reset, at: now())
                self.session = nil
                continue
            }
            let answer = try session.open(text)
            try request.check(answer, host: key().host)
            guard !(200...299).contains(answer.status) else { return answer }
            let refusal = KMSRefusal(answer)
            if refusal.isStaleCounter {
                session.raiseCounter()
            } else if refusal.isStaleTime {
                self.session = nil
            } else if refusal.status == KMSStatus.unauthorized {
                renewsToken = true
            } else {
                throw refusal
            }
        }
        throw DiagnosedError(
            .kmsNoAnswer, fault: .peer, "the key management service does not take a request",
            hint: "compare the clocks of both machines, and the service's account with the KMS's issuers")
    }

    // MARK: - Order

    private func take() async {
        guard isBusy else { return isBusy = true }
        await withCheckedContinuation { waiting.append($0) }
    }

    private func give() {
        if waiting.isEmpty { isBusy = false } else { waiting.removeFirst().resume() }
    }

    // MARK: - Session

    private func credential() async throws -> KMSCredential {
        KMSCredential(
            clientID: account.clientID, userID: account.subject, bearer: Redacted(try await tokens().token(for: .kms)),
            serviceKey: account.key)
    }

    private func liveSession() async throws -> KMSClientSession {
        if let session, session.isUsable(at: now()), session.host == key().host { return session }
        var renewed = false
        while true {
            let key = key()
            let opening = try SessionOpening(to: key, as: try await credential(), at: now())
            let text = try await call(opening.text)
            guard case .answer(let answer) = try SignedMessage(text, signedBy: key) else {
                throw DiagnosedError(
                    .kmsNoAnswer, fault: .peer, "the key management service opens no session for this service",
                    hint: "compare kms.certificate with the certificate of its static key")
            }
            do {
                let made = try opening.finish(answer, at: now())
                session = made
                return made
            } catch let refusal as KMSRefusal where refusal.status == KMSStatus.unauthorized && !renewed {
                tokens().discard(.kms)
                renewed = true
            }
        }
    }

    private func call(_ text: String) async throws -> String {
        let destination = KMSNames(host: key().host).cluster
        let outcome = await links.link?.call(destination, text: Array(text.utf8), within: Self.patience)
        switch outcome {
        case .answered(let octets)?:
            guard let text = String(validating: octets, as: UTF8.self) else {
                throw DiagnosedError(.kmsForeignAnswer, fault: .peer, "an answer is no text")
            }
            return text
        case .refused(let reason)?:
            throw DiagnosedError(
                .kmsNoAnswer, fault: .peer, "the key management service can not be reached through the core",
                found: reason.rawValue, hint: "see that hds-kms runs and is linked")
        case nil:
            throw DiagnosedError(
                .kmsNoAnswer, fault: .peer, "the key management service can not be reached",
                found: "no link to the core")
        }
    }
}

import Cryptography
import Diagnostics
import JOSESignature
import KMSClient
import KMSProtocol
import SecretMemory
package import WireText

/// The asking side of federation: retrieves for an own user what another KMS holds (protocol, section 10).
///
/// One session with each partner, opened when it is first needed, shared by all users, opened again when its life is over
/// and when the partner says by a verified reset that it is gone. Every release is decided by the partner, now: what is
/// kept here are octets that it confirmed, and without its answer there is none (security model, rule 16). An own user
/// waits at most `patience`, less than the 6 s after which clients send anew; a partner that did not answer is left
/// alone for a moment, so that one that is away does not hold up what users ask of this KMS behind it.
package actor FederationClient {
    /// Milliseconds that one request may take, with the opening of a session if need be.
    package static let patience: Int64 = 5_000
    /// Milliseconds for which a partner that did not answer in time is not asked.
    package static let pause: Int64 = 3_000

    /// A call of the link has a bound of its own that must not be met.
    static let maximumAssertionLength = 16 << 10

    private let keys: StaticKeysInForce
    private var own: KMSStaticKey { keys.present }
    private let carrier: any FederationCarrier
    private let observer: FederationObserver
    private let clock: @Sendable () -> Timestamp
    private var sessions: [String: KMSClientSession] = [:]
    private var openings: [String: Task<KMSClientSession, any Error>] = [:]
    private var pausedUntil: [String: Timestamp] = [:]
    private var away: Set<String> = []
    /// By what each partner was believed when its session was opened.
    private var trusts: [String: FederationTrust] = [:]
    private var cache = FederationCache()

    /// - Parameter own: of them the present one, under which partners know this KMS.
    package init(
        own: StaticKeysInForce, carrier: any FederationCarrier,
        observer: FederationObserver = FederationObserver(),
        clock: @escaping @Sendable () -> Timestamp = { Timestamp.now() }
    ) {
        keys = own
        self.carrier = carrier
        self.observer = observer
        self.clock = clock
    }

    /// Answers a request for an object of another KMS, in the name of `user`; the object comes as the partner gave it.
    func answer(
        _ request: KMSRequest, user: String, partners: [String: FederationPartner]
    ) async throws(KMSFailure) -> (status: Int, body: KMSAnswer.Body) {
        guard let host = request.uri.host, let partner = partners[host], partner.weMayAsk else {
            throw KMSFailure(KMSStatus.notImplemented, "no federation with \(request.uri.host ?? "") is configured")
        }
        if trusts[host] != partner.trust {
            // What another anchor vouched for counts no more.
            sessions[host] = nil
            cache.drop(host: host)
            trusts[host] = partner.trust
        }
        let operation = try operation(request, host)
        // The user's own issuer may have given the client an assertion for the partner.
        let assertion = request.body["client"]?["credential"]?["assertion"]?.string
        guard assertion?.utf8.count ?? 0 <= Self.maximumAssertionLength else {
            throw .malformedRequest("client.credential.assertion is longer than \(Self.maximumAssertionLength) octets")
        }
        let credential = KMSCredential(
            clientID: own.names.cluster, userID: user, bearer: assertion.map { Redacted($0) })
        let deadline = clock().adding(milliseconds: Self.patience)
        if let until = pausedUntil[host], clock() < until { throw Self.unreachable(host, "it did not answer just now") }
        let answer: KMSAnswer
        do {
            answer = try await ask(operation, of: partner, as: credential, until: deadline)
        } catch let failure as KMSFailure {
            throw failure
        } catch {
            note(host, problem: (error as? DiagnosedError)?.description ?? "an error of type \(type(of: error))")
            throw Self.unreachable(host, "its answer is not believed")
        }
        return try conclude(answer, operation, partner)
    }

    /// Drops octets whose time is over. To be called every minute or so.
    package func sweep() { cache.sweep(clock()) }

    /// Keys that are kept, for tests.
    var cachedKeys: Int { cache.count }

    // MARK: What is asked

    private func operation(_ request: KMSRequest, _ host: String) throws(KMSFailure) -> KMSOperation {
        guard request.method == .retrieve else {
            throw KMSFailure(KMSStatus.forbidden, "objects of \(host) can only be read here")
        }
        let names = KMSNames(host: host)
        switch request.uri.object {
        case .key(let id):
            let uri = names.key(id)
            return cache.entry(uri, at: clock()).map { .confirmKey(uri, known: $0.digest) } ?? .retrieveKey(uri)
        case .resourceKeys(let id):
            return .retrieveKeys(
                resource: names.resource(id), boundAfter: try request.date("boundAfter"),
                boundBefore: try request.date("boundBefore"), count: try request.keyLimit())
        case .resource(let id): return .retrieveResource(names.resource(id))
        case .resourceAuthorizations(let id):
            return .retrieveAuthorizations(resource: names.resource(id), id: request.uri.authID)
        default: throw KMSFailure(KMSStatus.notFound, "no such object")
        }
    }

    private func ask(
        _ operation: KMSOperation, of partner: FederationPartner, as credential: KMSCredential,
        until deadline: Timestamp
    ) async throws -> KMSAnswer {
        for isLast in [false, true] {
            let session = try await session(with: partner, until: deadline)
            let request = try session.wrap(operation, as: credential, at: clock())
            let reply = try await carry(Array(request.text.utf8), partner.host, until: deadline)
            guard reply.count(where: { $0 == UInt8(ascii: ".") }) == 2 else {
                let answer = try session.open(String(decoding: reply, as: UTF8.self))
                try request.check(answer, host: partner.host)
                note(partner.host, problem: nil)
                // The clocks were compared when the session was opened, and nowhere else.
                if answer.errorCode == KMSFailure.staleTimeCode, !isLast {
                    forget(session)
                    continue
                }
                return answer
            }
            // Signed: the partner has lost the session, or does not take what it was sent.
            let root = try partner.trust.verify(reply, at: clock())
            guard root["method"] == nil, let reset = KMSReset(root) else { throw Self.answer(partner.host) }
            try session.accept(reset, at: clock())
            forget(session)
        }
        throw Self.unreachable(partner.host, "it loses each session at once")
    }

    /// The partner's decision as this KMS tells it: a refusal of the user is passed on, everything else is a 502.
    private func conclude(
        _ answer: KMSAnswer, _ operation: KMSOperation, _ partner: FederationPartner
    ) throws(KMSFailure) -> (status: Int, body: KMSAnswer.Body) {
        guard (200...299).contains(answer.status) else {
            if [KMSStatus.forbidden, KMSStatus.notFound].contains(answer.status) { cache.drop(operation.uri) }
            let reason = (answer.reason ?? "no reason given").plain
            switch answer.status {
            case KMSStatus.malformed, KMSStatus.forbidden, KMSStatus.notFound, KMSStatus.tooManyRequests:
                throw KMSFailure(answer.status, reason)
            // The user's token for this KMS is good; what lacks is a proof for the partner.
            case KMSStatus.unauthorized: throw KMSFailure(KMSStatus.forbidden, "\(partner.host): \(reason)")
            default: throw KMSFailure(KMSStatus.badGateway, "\(partner.host) answered \(answer.status): \(reason)")
            }
        }
        switch (operation, answer.body) {
        case (.confirmKey(let uri, let known), .none):
            guard let entry = cache.entry(uri, at: clock()), entry.digest == known else {
                throw Self.unreachable(partner.host, "what it confirmed is not kept here any more")
            }
            return (answer.status, .key(entry.key))
        case (_, .key(let key)):
            // Only what belongs to a space: an unbound key may still change.
            if key.bindDate != nil { cache.keep(key, for: partner.cacheSeconds, at: clock()) }
            return (answer.status, answer.body)
        default: return (answer.status, answer.body)
        }
    }

    // MARK: The session

    private func session(with partner: FederationPartner, until deadline: Timestamp) async throws -> KMSClientSession {
        if let session = sessions[partner.host], session.isUsable(at: clock()) { return session }
        if let opening = openings[partner.host] { return try await opening.value }
        let opening = Task { try await open(partner, until: deadline) }
        openings[partner.host] = opening
        defer { openings[partner.host] = nil }
        return try await opening.value
    }

    private func forget(_ session: KMSClientSession) {
        if sessions[session.host]?.uri == session.uri { sessions[session.host] = nil }
    }

    private func open(_ partner: FederationPartner, until deadline: Timestamp) async throws -> KMSClientSession {
        let opening = try FederationOpening(from: own, to: partner.host, at: clock())
        let reply = try await carry(opening.text, partner.host, until: deadline)
        let agreement: FederationAgreement
        do {
            agreement = try opening.finish(reply, trust: partner.trust, at: clock())
        } catch let refusal as KMSFailure where refusal.status == KMSStatus.forbidden {
            throw KMSFailure(KMSStatus.forbidden, refusal.reason.plain)
        } catch let refusal as KMSFailure {
            note(partner.host, problem: "it refuses a session: \(refusal.status) \(refusal.reason.plain)")
            throw Self.unreachable(partner.host, "it refuses a session: \(refusal.reason.plain)")
        }
        let session = KMSClientSession(
            uri: agreement.uri, host: partner.host, userID: own.names.host, key: agreement.key,
            created: agreement.created, expires: agreement.expires,
            clockOffset: agreement.created.milliseconds - clock().milliseconds)
        sessions[partner.host] = session
        return session
    }

    private func carry(_ text: [UInt8], _ host: String, until deadline: Timestamp) async throws -> [UInt8] {
        let left = deadline.milliseconds - clock().milliseconds
        guard left > 0 else { throw Self.unreachable(host, "it takes too long") }
        do {
            return try await carrier.send(text, to: host, within: left)
        } catch {
            let reason =
                switch error {
                case .away(let why): why
                case .timeout: "it does not answer"
                }
            if error == .timeout { pausedUntil[host] = clock().adding(milliseconds: Self.pause) }
            note(host, problem: reason)
            throw Self.unreachable(host, reason)
        }
    }

    /// Tells the observer of changes only.
    private func note(_ host: String, problem: String?) {
        if problem == nil {
            pausedUntil[host] = nil
            if away.remove(host) != nil { observer.partner(host, nil) }
        } else if away.insert(host).inserted {
            observer.partner(host, problem)
        }
    }

    private static func unreachable(_ host: String, _ why: String) -> KMSFailure {
        KMSFailure(KMSStatus.badGateway, "the key management service \(host) can not be asked now: \(why)")
    }

    private static func answer(_ host: String) -> DiagnosedError {
        DiagnosedError(
            .federationAnswer, fault: .peer, "\(host) answered a request by a signed message that is no reset")
    }
}

extension String {
    /// Text of a partner for an own client and the journal: printable ASCII, and not long.
    fileprivate var plain: String {
        String(decoding: utf8.prefix(400).map { (0x20..<0x7F).contains($0) ? $0 : 0x3F }, as: UTF8.self)
    }
}

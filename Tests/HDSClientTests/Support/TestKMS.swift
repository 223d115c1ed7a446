import Cryptography
import Diagnostics
import JOSEEncryption
import JOSESignature
import KMSClient
import KMSProtocol
import SecretMemory
import Synchronization
import Testing
import WireText

/// A small KMS of one user's point of view, built from the protocol's own half with real cryptography.
///
/// It keeps keys, resources and sessions in memory and judges no rights but removal; what it is told to do wrong it does
/// wrong. Thread-safe.
final class TestKMS: Sendable {
    static let user = "5b1e0000-0000-4000-8000-000000000001"
    static let device = "https://core.example.com/devices/77"
    static let bearer = "kms-token-1"

    struct State {
        var sessions: [String: SymmetricKey] = [:]
        var keys: [String: KMSKey] = [:]
        var resources: [String: (resource: KMSResource, members: [String: String])] = [:]
        var requests: [KMSRequest] = []
        var handshakes = 0
        var acceptedBearers: Set<String> = [TestKMS.bearer]
        /// Whoever asks is believed: the tokens are those of a real authorization service.
        var acceptsEveryBearer = false
        var highestCounter: Int64 = 0
        var enforcesCounters = false
        /// Answers every request with this failure until it is used up.
        var failures: [KMSFailure] = []
        var tellsRemovals = true
        var takesPostQuantum = true

        func accepts(_ bearer: String) -> Bool { acceptsEveryBearer || acceptedBearers.contains(bearer) }
    }

    let names = KMSNames(host: TestPKI.host)
    let staticKey: KMSStaticKey
    let clock: TestClock
    let state = Mutex(State())

    init(clock: TestClock, leaf: String = "kms", algorithm: SignatureAlgorithm = .ps256) throws {
        let pki = try TestPKI.shared.get()
        self.clock = clock
        staticKey = try KMSStaticKey(
            privateKey: pki.key(leaf), chain: [pki.certificate(leaf), pki.certificate("issuing")], host: TestPKI.host,
            algorithm: algorithm, now: Timestamp.now())
    }

    static func trust() throws -> StaticKeyTrust {
        try StaticKeyTrust(cluster: "kms://\(TestPKI.host)", roots: [try TestPKI.shared.get().certificate("root")])
    }

    static func credential(bearer: String = TestKMS.bearer) -> KMSCredential {
        KMSCredential(clientID: device, userID: user, bearer: Redacted(bearer))
    }

    var details: [UInt8] { Array(staticKey.detailsDocument(machineAccountID: "4d0c").utf8) }

    func verifiedKey() throws -> VerifiedStaticKey { try Self.trust().verify(details: details, at: Timestamp.now()) }

    /// Opens a session the way clients do.
    func openSession() throws -> KMSClientSession {
        let opening = try SessionOpening(to: verifiedKey(), as: Self.credential(), at: clock.now)
        let message = try SignedMessage(try #require(try answer(opening.text)), signedBy: verifiedKey())
        guard case .answer(let answer) = message else { throw TestFailure("a reset") }
        return try opening.finish(answer, at: clock.now)
    }

    // MARK: - Answering

    /// The wrapped answer to a wrapped request.
    func answer(_ text: String) throws -> String? {
        let message = try JWE.parse(Array(text.utf8))
        guard message.header.alg == "dir" else {
            let plain = try staticKey.open(message)
            return try openSession(plain.withUnsafeBytes { try JSONDocument($0).root })
        }
        let kid = try #require(message.header.kid)
        guard let key = state.withLock({ $0.sessions[kid] }) else { return try reset(session: kid) }
        let plain = try JWE.decryptDirect(message, key: key)
        let root = try plain.withUnsafeBytes { try JSONDocument($0).root }
        let request = try KMSRequest(root)
        return try wrap(judge(request), key: key, kid: kid)
    }

    func wrap(_ answer: KMSAnswer, key: SymmetricKey, kid: String) throws -> String {
        try wrap(text: answer.json().text(), key: key, kid: kid)
    }

    func wrap(text: String, key: SymmetricKey, kid: String?) throws -> String {
        try Array(text.utf8).withUnsafeBytes {
            String(decoding: try JWE.encryptDirect($0, key: key, kid: kid), as: UTF8.self)
        }
    }

    func sign(_ json: borrowing JSONWriter) throws -> String {
        String(decoding: try staticKey.sign(json), as: UTF8.self)
    }

    func reset(session: String?, time: Timestamp? = nil, requestID: String = UUIDText.random()) throws -> String {
        try sign(
            KMSReset(
                reason: "Ephemeral key is unknown or has expired", requestID: requestID, session: session,
                time: time ?? clock.now
            ).json())
    }

    func forgetSessions() { state.withLock { $0.sessions = [:] } }

    private func openSession(_ root: JSONNode) throws -> String {
        let request = try KMSRequest(root)
        guard state.withLock({ $0.accepts(request.credential.bearer) }) else {
            return try sign(KMSAnswer(KMSFailure(401, "bad bearer"), requestID: request.requestID).json())
        }
        let jwk = try #require(root["jwk"])
        let x = try #require(jwk["x"]?.string.flatMap { Base64URL.decode($0) })
        let y = try #require(jwk["y"]?.string.flatMap { Base64URL.decode($0) })
        var encapsulationKey: [UInt8]?
        if case .key(let offered) = KMSPostQuantum.offer(in: root), state.withLock({ $0.takesPostQuantum }) {
            encapsulationKey = offered
        }
        let agreement = try KMSHandshake.agree(withX: x, y: y, encapsulationKey: encapsulationKey)
        let uri = names.session(UUIDText.random())
        state.withLock { state in
            state.sessions[uri] = agreement.sessionKey
            state.handshakes += 1
        }
        let key = KMSEphemeralKey(
            uri: uri, x: agreement.x, y: agreement.y, userID: Self.user, clientID: request.clientID,
            createDate: clock.now, expirationDate: clock.now.adding(seconds: 86_400),
            ciphertext: agreement.ciphertext)
        return try sign(KMSAnswer(status: 201, requestID: request.requestID, body: .ephemeralKey(key)).json())
    }

    private func judge(_ request: KMSRequest) -> KMSAnswer {
        let now = clock.now
        return state.withLock { state in
            state.requests.append(request)
            func refused(_ status: Int, _ reason: String, _ code: Int? = nil) -> KMSAnswer {
                KMSAnswer(KMSFailure(status, reason, errorCode: code), requestID: request.requestID)
            }
            guard state.accepts(request.credential.bearer) else { return refused(401, "bad bearer") }
            if state.enforcesCounters, request.isMutating, request.counter ?? 0 <= state.highestCounter {
                return refused(409, "stale", KMSFailure.staleCounterCode)
            }
            state.highestCounter = max(state.highestCounter, request.counter ?? 0)
            if !state.failures.isEmpty {
                return KMSAnswer(state.failures.removeFirst(), requestID: request.requestID)
            }
            let (status, body) = self.perform(request, &state, now)
            return status < 300
                ? KMSAnswer(status: status, requestID: request.requestID, body: body)
                : refused(status, "User \(Self.user) is refused \(request.uriText)")
        }
    }

    private func perform(_ request: KMSRequest, _ state: inout State, _ now: Timestamp) -> (Int, KMSAnswer.Body) {
        switch (request.method, request.uri.object) {
        case (.update, .ping): return (200, .none)
        case (.delete, .session): return (204, .none)
        case (.create, .keys):
            var keys: [KMSKey] = []
            for _ in 0..<((try? request.keyCount()) ?? 1) {
                let uri = names.key(UUIDText.random())
                guard let secret = try? SymmetricKey.random() else { return (500, .none) }
                keys.append(
                    KMSKey(
                        uri: uri, key: secret, userID: Self.user, clientID: request.clientID, createDate: now,
                        expirationDate: now.adding(seconds: 86_400)))
            }
            for key in keys { state.keys[key.uri] = key }
            return (201, .keys(keys))
        case (.retrieve, .key(let id)):
            guard let key = state.keys[names.key(id)] else { return (404, .none) }
            if let resource = key.resourceURI, state.resources[resource]?.members[Self.user] == nil {
                return (403, .none)
            }
            return (200, .key(key))
        case (.update, .key(let id)):
            guard var key = state.keys[names.key(id)], let resource = try? request.resourceURI(),
                case .resource(let resourceID) = resource.object,
                var entry = state.resources[names.resource(resourceID)]
            else { return (404, .none) }
            key.resourceURI = entry.resource.uri
            // A KMS orders what it binds after what it removed, in however short a time.
            key.bindDate = max(now, entry.resource.lastRemovalDate?.adding(milliseconds: 1) ?? now)
            key.expirationDate = now.adding(seconds: 365 * 86_400)
            state.keys[key.uri] = key
            if !entry.resource.keyURIs.contains(key.uri) { entry.resource.keyURIs.append(key.uri) }
            state.resources[entry.resource.uri] = entry
            return (200, .key(key))
        case (.create, .resources):
            let uri = names.resource(UUIDText.random())
            let keys = (try? request.keyURIs()) ?? []
            for key in keys {
                state.keys[key]?.resourceURI = uri
                state.keys[key]?.bindDate = now
                state.keys[key]?.expirationDate = now.adding(seconds: 365 * 86_400)
            }
            var members: [String: String] = [:]
            for id in [Self.user] + ((try? request.ids()) ?? []) where members[id] == nil {
                members[id] = names.authorization(UUIDText.random())
            }
            let resource = KMSResource(uri: uri, keyURIs: keys, authorizationURIs: members.values.sorted())
            state.resources[uri] = (resource, members)
            return (201, .resource(resource))
        case (.retrieve, .resource(let id)):
            guard let entry = state.resources[names.resource(id)] else { return (404, .none) }
            return (200, .resource(entry.resource))
        case (.retrieve, .resourceKeys(let id)):
            let keys = state.keys.values.filter { $0.resourceURI == names.resource(id) }
                .sorted { ($0.bindDate ?? now) > ($1.bindDate ?? now) }
            return (200, .keys(Array(keys.prefix((try? request.keyLimit()) ?? .max))))
        case (.create, .authorizations):
            guard let resource = try? request.resourceURI(), case .resource(let id) = resource.object,
                var entry = state.resources[names.resource(id)]
            else { return (404, .none) }
            var list: [KMSAuthorization] = []
            for id in (try? request.ids()) ?? [] {
                let uri = entry.members[id] ?? names.authorization(UUIDText.random())
                entry.members[id] = uri
                list.append(KMSAuthorization(uri: uri, authID: id, resourceURI: entry.resource.uri))
            }
            entry.resource.authorizationURIs = entry.members.values.sorted()
            state.resources[entry.resource.uri] = entry
            return (201, .authorizations(list))
        case (.retrieve, .resourceAuthorizations(let id)):
            guard let entry = state.resources[names.resource(id)] else { return (404, .none) }
            return (
                200,
                .authorizations(
                    entry.members.sorted { $0.key < $1.key }.map {
                        KMSAuthorization(uri: $0.value, authID: $0.key, resourceURI: entry.resource.uri)
                    })
            )
        case (.delete, .resourceAuthorizations(let id)):
            guard var entry = state.resources[names.resource(id)], let user = request.uri.authID,
                let uri = entry.members.removeValue(forKey: user)
            else { return (404, .none) }
            entry.resource.authorizationURIs = entry.members.values.sorted()
            if state.tellsRemovals { entry.resource.lastRemovalDate = now }
            state.resources[entry.resource.uri] = entry
            return (200, .removed([KMSAuthorization(uri: uri, authID: user, resourceURI: entry.resource.uri)]))
        default: return (405, .none)
        }
    }
}

struct TestFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// The code of the diagnosed error that `body` throws; nil when it throws none.
func code(of body: () async throws -> Void) async -> DiagnosedError.Code? {
    do {
        try await body()
        return nil
    } catch {
        return (error as? DiagnosedError)?.code ?? (error as? KMSRefusal)?.diagnosed.code ?? "another-error"
    }
}

func code(of body: () throws -> Void) -> DiagnosedError.Code? {
    do {
        try body()
        return nil
    } catch {
        return (error as? DiagnosedError)?.code ?? (error as? KMSRefusal)?.diagnosed.code ?? "another-error"
    }
}

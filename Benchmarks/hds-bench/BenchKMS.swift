import AuditTrail
import Cryptography
import Encryption
import Foundation
import JOSEEncryption
import JOSESignature
import KMSProtocol
import KeyManagement
import KeyStore
import KeyStoreSQLite
import MasterKey
import SecretMemory
import WireText

/// A KMS in this process: the real handler over a real SQLite file, tokens that are real JWTs.
struct BenchKMS: Sendable {
    static let host = "kms.bench.example.com"

    let host: String
    let handler: RequestHandler
    let staticKey: KMSStaticKey
    let privateKey: PrivateKey
    let store: any KeyStore
    /// Of the SQLite store that it made itself.
    let file: String?
    let audit: DecisionAudit?
    let ring: SealRing
    private let kek: KeyEncryptionKey
    private let tokenKey: PrivateKey

    /// - Parameters:
    ///   - trail: nil: decisions are not kept.
    ///   - keepsIdentity: key and certificate of an earlier one of that host.
    ///   - store: instead of a SQLite file in the folder.
    ///   - federation: the partners of a KMS whose static key this is.
    init(
        folder: URL, host: String = BenchKMS.host, trail: AuditTrail? = nil, keepsIdentity: Bool = false,
        store other: (any KeyStore)? = nil,
        federation: (KMSStaticKey) throws -> Federation? = { _ in nil }
    ) async throws {
        self.host = host
        let certificate = folder.appending(path: host + ".pem")
        let key = folder.appending(path: host + ".key")
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/openssl")
        process.arguments = [
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key.path, "-out", certificate.path, "-days",
            "2",
            "-subj", "/CN=\(host)", "-addext", "subjectAltName=DNS:\(host)", "-addext",
            "basicConstraints=critical,CA:FALSE",
        ]
        process.standardError = FileHandle.nullDevice
        if !keepsIdentity {
            try process.run()
            process.waitUntilExit()
        }
        let now = Timestamp.now()
        privateKey = try PrivateKey(pem: String(contentsOf: key, encoding: .utf8))
        let chain = try Certificate.all(inPEM: String(contentsOf: certificate, encoding: .utf8))
        staticKey = try KMSStaticKey(privateKey: privateKey, chain: chain, host: host, now: now.adding(seconds: 1))
        // Nobody has the key-encryption key of an earlier one.
        let name = "\(host)-\(UUIDText.random()).sqlite"
        file = other == nil ? folder.appending(path: name).path : nil
        store = try other ?? SQLiteKeyStore(path: folder.appending(path: name).path)
        kek = try KeyEncryptionKey.create()
        let ring = try await SealRing.open(kek: kek, store: store, now: now)
        self.ring = ring
        tokenKey = try PrivateKey.generateP256()
        audit = trail.map { [store] in DecisionAudit(trail: $0, ring: ring, store: store) }
        try await audit?.prepare(now: now)
        handler = try Self.handler(
            host, store, ring, tokenKey, staticKey, audit: audit,
            partners: try federation(staticKey).map { PartnersInForce($0) })
    }

    /// The same KMS over another store, which has everything that the first one had.
    init(_ other: BenchKMS, store: any KeyStore) async throws {
        (host, staticKey, privateKey) = (other.host, other.staticKey, other.privateKey)
        (kek, tokenKey, audit, file) = (other.kek, other.tokenKey, nil, nil)
        self.store = store
        ring = try await SealRing.open(kek: kek, store: store, now: .now())
        handler = try Self.handler(host, store, ring, tokenKey, staticKey)
    }

    private static func handler(
        _ host: String, _ store: any KeyStore, _ ring: SealRing, _ tokenKey: PrivateKey, _ staticKey: KMSStaticKey,
        audit: DecisionAudit? = nil, partners: PartnersInForce? = nil
    ) throws -> RequestHandler {
        let vault = RecordVault(ring: ring, store: store)
        let keySet = try BenchTokens.keySet(tokenKey)
        let issuer = JWTBearerVerifier(
            policy: TokenPolicy(issuer: BenchTokens.issuer, isCustomerControlled: true), keys: { _ in keySet })
        var policy = KMSPolicy()
        policy.sessionsPerUser = 1_000_000
        policy.sessionOpeningsPerSecond = 1_000_000
        policy.requestsPerUserAndMinute = 100_000_000
        policy.requestsPerDeviceAndMinute = 100_000_000
        return RequestHandler(
            keyManagement: KeyManagement(names: KMSNames(host: host), store: store, vault: vault, policy: policy),
            sessions: SessionTable(
                store: store, ring: SessionSealRing(store: store, ring: ring), vault: vault),
            verifier: BearerDirectory(issuers: [issuer]), staticKeys: StaticKeysInForce([staticKey]), log: SilentLog(),
            audit: audit,
            partners: partners)
    }

    func token(_ user: String) throws -> String { try BenchTokens.token(user, key: tokenKey) }

    /// A handshake request and the client's half of the agreement.
    func opening(_ user: String, token: String) throws -> (text: [UInt8], own: P256Agreement) {
        try Self.opening(user, token: token, key: staticKey.chain[0].publicKey, kid: staticKey.kid)
    }

    static func opening(
        _ user: String, token: String, key: PublicKey, kid: String
    ) throws -> (text: [UInt8], own: P256Agreement) {
        let own = try P256Agreement.generate()
        var json = JSONWriter()
        json.beginObject()
        json.member("requestId", UUIDText.random())
        json.member("method", "create")
        json.member("uri", "/ecdhe")
        json.name("jwk")
        json.beginObject()
        json.member("kty", "EC")
        json.member("crv", "P-256")
        json.member("x", Base64URL.encode(own.publicX))
        json.member("y", Base64URL.encode(own.publicY))
        json.endObject()
        client(&json, user, token)
        json.endObject()
        return (try json.withUnsafeBytes { try JWE.encryptRSAOAEP($0, to: key, kid: kid) }, own)
    }

    func session(_ user: String, token: String) async throws -> BenchSession {
        let (text, own) = try opening(user, token: token)
        guard case .answer(let reply) = await handler.reply(to: text, source: user) else {
            throw BenchFailure("no answer")
        }
        return try Self.session(
            reply: reply, own: own, key: staticKey.chain[0].publicKey, user: user, token: token)
    }

    static func session(
        reply: [UInt8], own: P256Agreement, key: PublicKey, user: String, token: String
    ) throws -> BenchSession {
        let jws = try JWS.verify(String(decoding: reply, as: UTF8.self), allowing: [.ps256]) { _ in key }
        guard let answer = KMSAnswer(try JSONDocument(jws.payload).root),
            case .ephemeralKey(let ephemeral) = answer.body
        else { throw BenchFailure("the session was refused: \(String(decoding: jws.payload, as: UTF8.self))") }
        let z = try own.sharedSecret(withX: ephemeral.x, y: ephemeral.y)
        return BenchSession(
            uri: ephemeral.uri, key: try KMSHandshake.sessionKey(from: z), user: user, token: token)
    }

    static func client(_ json: inout JSONWriter, _ user: String, _ token: String) {
        json.name("client")
        json.beginObject()
        json.member("clientId", "https://wdm.cloud.example/devices/\(user)")
        json.name("credential")
        json.beginObject()
        json.member("userId", user)
        json.member("bearer", token)
        json.endObject()
        json.endObject()
    }
}

struct BenchSession: Sendable {
    let uri: String
    let key: SymmetricKey
    let user: String
    let token: String

    func wrapped(_ method: String, _ uri: String, _ members: (inout JSONWriter) -> Void = { _ in }) throws -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("requestId", UUIDText.random())
        json.member("method", method)
        json.member("uri", uri)
        BenchKMS.client(&json, user, token)
        members(&json)
        json.endObject()
        return try json.withUnsafeBytes { try JWE.encryptDirect($0, key: key, kid: self.uri) }
    }

    func open(_ reply: RequestHandler.Reply) throws -> KMSAnswer {
        guard case .answer(let text) = reply else { throw BenchFailure("declined: \(reply)") }
        return try open(text)
    }

    func open(_ text: [UInt8]) throws -> KMSAnswer {
        let plain = try JWE.decryptDirect(JWE.parse(text), key: key)
        guard let answer = KMSAnswer(try plain.withUnsafeBytes { try JSONDocument($0).root }), answer.status < 300
        else {
            throw BenchFailure("refused: \(plain.withUnsafeBytes { String(decoding: $0.prefix(300), as: UTF8.self) })")
        }
        return answer
    }
}

struct BenchFailure: Error, CustomStringConvertible {
    let description: String
    init(_ text: String) { description = text }
}

/// Counts nothing and writes nothing: logging is measured over the link, with the real service.
struct SilentLog: RequestLog {
    func request(_ entry: RequestLogEntry, status: Int?, reason: String?) {}
    func unusual(_ anomaly: Anomaly, user: String, count: Int) {}
    func reset(reason: String, session: String?) {}
    func failure(_ error: any Error, while doing: String) {}
}

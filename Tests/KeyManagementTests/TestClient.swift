import Cryptography
import Encryption
import JOSEEncryption
import JOSESignature
import KMSProtocol
import KeyManagement
import SecretMemory
import Testing
import WireText

/// One client's session with a `TestKMS`: wraps requests by hand, so that a test can wrap wrong ones too.
struct TestClient: Sendable {
    let kms: TestKMS
    let user: String
    let session: String
    let key: SymmetricKey
    /// The bearer of its requests.
    let token: String

    struct Refused: Error {
        let answer: KMSAnswer
    }

    /// Opens a session; throws `Refused` with the signed answer otherwise.
    static func open(_ kms: TestKMS, _ user: String, token: String? = nil) async throws -> TestClient {
        let own = try P256Agreement.generate()
        let text = try opening(kms, user, token: token, x: own.publicX, y: own.publicY)
        // Each client is a device of its own.
        let answer = try kms.openSigned(await kms.handler.reply(to: text, source: UUIDText.random()))
        guard case .ephemeralKey(let ephemeral) = answer.body else { throw Refused(answer: answer) }
        let z = try own.sharedSecret(withX: ephemeral.x, y: ephemeral.y)
        return TestClient(
            kms: kms, user: user, session: ephemeral.uri, key: try KMSHandshake.sessionKey(from: z),
            token: token ?? TestTokens.token(user))
    }

    /// The wrapped string of a handshake request.
    static func opening(
        _ kms: TestKMS, _ user: String, token: String? = nil, x: [UInt8], y: [UInt8], curve: String = "P-256",
        kty: String = "EC"
    ) throws -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("requestId", UUIDText.random())
        json.member("method", "create")
        json.member("uri", "/ecdhe")
        json.name("jwk")
        json.beginObject()
        json.member("kty", kty)
        json.member("crv", curve)
        json.member("x", Base64URL.encode(x))
        json.member("y", Base64URL.encode(y))
        json.endObject()
        writeClient(&json, user, token ?? TestTokens.token(user))
        json.endObject()
        return try json.withUnsafeBytes {
            try JWE.encryptRSAOAEP($0, to: kms.staticPublicKey, kid: kms.staticKey.kid)
        }
    }

    static func writeClient(
        _ json: inout JSONWriter, _ user: String, _ token: String, onBehalfOf: String? = nil, counter: Int64? = nil,
        time: Timestamp? = nil
    ) {
        json.name("client")
        json.beginObject()
        json.member("clientId", "https://wdm.cloud.example/devices/\(user)")
        json.name("credential")
        json.beginObject()
        json.member("userId", user)
        json.member("bearer", token)
        json.member("onBehalfOf", ifPresent: onBehalfOf)
        json.endObject()
        if let counter { json.member("counter", counter) }
        json.member("time", ifPresent: time?.iso8601)
        json.endObject()
    }

    /// The wrapped string of a request.
    func wrapped(
        _ method: String, _ uri: String, token: String? = nil, onBehalfOf: String? = nil, counter: Int64? = nil,
        time: Timestamp? = nil, requestID: String = UUIDText.random(), _ members: (inout JSONWriter) -> Void = { _ in }
    ) throws -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("requestId", requestID)
        json.member("method", method)
        json.member("uri", uri)
        Self.writeClient(
            &json, user, token ?? self.token, onBehalfOf: onBehalfOf, counter: counter, time: time)
        members(&json)
        json.endObject()
        return try json.withUnsafeBytes { try JWE.encryptDirect($0, key: key, kid: session) }
    }

    func wrap(text: String) throws -> [UInt8] {
        try Array(text.utf8).withUnsafeBytes { try JWE.encryptDirect($0, key: key, kid: session) }
    }

    /// Sends a wrapped string and opens the answer.
    func send(_ text: [UInt8]) async throws -> KMSAnswer { try open(await kms.handler.reply(to: text, source: user)) }

    func open(_ reply: RequestHandler.Reply) throws -> KMSAnswer {
        guard case .answer(let text) = reply else { throw TestKMS.Unexpected(reply: "\(reply)") }
        let message = try JWE.parse(text)
        #expect(message.header.kid == session)
        let plain = try JWE.decryptDirect(message, key: key)
        let root = try plain.withUnsafeBytes { try JSONDocument($0).root }
        return try #require(KMSAnswer(root))
    }

    func ask(
        _ method: String, _ uri: String, onBehalfOf: String? = nil, counter: Int64? = nil, time: Timestamp? = nil,
        _ members: (inout JSONWriter) -> Void = { _ in }
    ) async throws -> KMSAnswer {
        try await send(wrapped(method, uri, onBehalfOf: onBehalfOf, counter: counter, time: time, members))
    }

    // MARK: Short forms

    func createKeys(_ count: Int = 1) async throws -> [KMSKey] {
        guard case .keys(let keys) = try await ask("create", "/keys", { $0.member("count", count) }).body else {
            return []
        }
        return keys
    }

    func createSpace(_ keys: [KMSKey], with users: [String] = []) async throws -> KMSResource {
        let answer = try await ask("create", "/resources") {
            $0.member("keyUris", keys.map(\.uri))
            $0.member("userIds", users)
        }
        guard case .resource(let resource) = answer.body else { throw Refused(answer: answer) }
        return resource
    }

    func add(_ ids: [String], to resource: String) async throws -> KMSAnswer {
        try await ask("create", "/authorizations") {
            $0.member("resourceUri", resource)
            $0.member("userIds", ids)
        }
    }

    func remove(_ id: String, from resource: String) async throws -> KMSAnswer {
        try await ask("delete", "\(resource)/authorizations?authId=\(KMSURI.percentEncoded(id))")
    }

    func status(retrieving uri: String) async throws -> Int { try await ask("retrieve", uri).status }
}

extension TestKMS {
    struct Unexpected: Error {
        let reply: String
    }

    var staticPublicKey: PublicKey { staticKey.chain[0].publicKey }

    /// The payload of a signed answer or reset.
    func openJWS(_ reply: RequestHandler.Reply) throws -> JSONNode {
        guard case .answer(let text) = reply else { throw Unexpected(reply: "\(reply)") }
        let jws = try JWS.verify(String(decoding: text, as: UTF8.self), allowing: [.ps256]) { header in
            #expect(header.kid == staticKey.kid)
            return staticPublicKey
        }
        return try JSONDocument(jws.payload).root
    }

    func openSigned(_ reply: RequestHandler.Reply) throws -> KMSAnswer {
        let root = try openJWS(reply)
        return try #require(KMSAnswer(root))
    }

    func openReset(_ reply: RequestHandler.Reply) throws -> KMSReset { try #require(KMSReset(try openJWS(reply))) }
}

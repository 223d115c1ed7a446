import Cryptography
import Diagnostics
import Encryption
import KMSProtocol
import SecretMemory
import Testing
import WireText

/// Both halves of the handshake between two KMSs; B asks, A is asked.
@Suite("Handshake between KMSs")
struct FederationHandshakeTests {
    private let a: PartnerIdentity
    private let b: PartnerIdentity
    private let c: PartnerIdentity
    private let now = Timestamp.now().adding(seconds: 60)

    init() throws {
        a = try .of("kms.a.example.com")
        b = try .of("kms.b.example.org")
        c = try .of("kms.c.example.net")
    }

    private func request(_ text: [UInt8], at time: Timestamp? = nil) throws -> FederationRequest {
        try FederationRequest(text, trust: b.trust(), asked: KMSNames(host: a.host), at: time ?? now)
    }

    /// The answer of A as its parts say.
    private func answer(
        _ request: FederationRequest, to user: String? = nil, uri: String? = nil, requestID: String? = nil,
        life: Int64 = 86_400, x: [UInt8]? = nil, status: Int = 201
    ) throws -> (text: [UInt8], key: SymmetricKey) {
        let agreement = try KMSHandshake.agree(withX: request.x, y: request.y)
        let key = KMSEphemeralKey(
            uri: uri ?? KMSNames(host: a.host).session(UUIDText.random()), x: x ?? agreement.x, y: agreement.y,
            userID: user ?? request.host, clientID: request.clientID, createDate: now,
            expirationDate: now.adding(seconds: life))
        let json = KMSAnswer(status: status, requestID: requestID ?? request.requestID, body: .ephemeralKey(key)).json()
        return (try a.staticKey(now: now).sign(json, withChain: true), agreement.sessionKey)
    }

    @Test("what B asks A takes, and both have the same key afterwards", arguments: [SignatureAlgorithm.ps256, .rs256])
    func agreement(_ algorithm: SignatureAlgorithm) throws {
        let opening = try FederationOpening(from: b.staticKey(algorithm, now: now), to: a.host, at: now)
        #expect(FederationRequest.claimedHost(of: opening.text, asked: KMSNames(host: a.host)) == b.host)
        let request = try request(opening.text)
        #expect(request.host == b.host && request.requestID == opening.requestID)
        let answer = try answer(request)
        let agreed = try opening.finish(answer.text, trust: a.trust(), at: now)
        #expect(agreed.key.isEqual(to: answer.key))
        #expect(KMSURI(agreed.uri)?.host == a.host && agreed.expires == now.adding(seconds: 86_400))
    }

    @Test("only a signed text with a foreign static key as kid is taken for a request of another KMS")
    func recognised() throws {
        let names = KMSNames(host: a.host)
        #expect(FederationRequest.claimedHost(of: try a.sign("{}"), asked: names) == nil, "the own key")
        #expect(
            FederationRequest.claimedHost(of: try b.sign("{}", kid: "kms://\(b.host)/ecdhe/1"), asked: names) == nil)
        #expect(FederationRequest.claimedHost(of: try b.sign("{}", kid: "/statickeys/1"), asked: names) == nil)
        for text in ["", "a", "a.b", "a.b.c", "a.b.c.d", "..", String(repeating: "a.", count: 40_000)] {
            #expect(FederationRequest.claimedHost(of: Array(text.utf8), asked: names) == nil)
        }
        #expect(FederationRequest.claimedHost(of: [0xFF, 0x2E, 0x2E], asked: names) == nil)
    }

    static let members: [(String, String, Int)] = [
        ("a status: it is an answer that was sent back", #""method":"create","status":201"#, 400),
        ("no method", #""x":1"#, 400),
        ("another method", #""method":"retrieve""#, 400),
    ]

    private func text(
        uri: String? = nil, members: String = #""method":"create""#, time: String? = nil, jwk: String? = nil
    ) throws -> [UInt8] {
        let own = try P256Agreement.generate()
        let point = #""x":"\#(Base64URL.encode(own.publicX))","y":"\#(Base64URL.encode(own.publicY))""#
        return try b.sign(
            """
            {"requestId":"r1","uri":"\(uri ?? "kms://\(a.host)/ecdhe")",\(members),
            "jwk":\(jwk ?? "{\"kty\":\"EC\",\"crv\":\"P-256\",\(point)}"),
            "client":{"clientId":"c","credential":{"userId":"\(b.host)"}\(time.map { ",\"time\":\"\($0)\"" } ?? "")}}
            """)
    }

    private func refusal(_ text: [UInt8]) -> Int? {
        do {
            _ = try request(text)
            return nil
        } catch {
            return (error as? KMSFailure)?.status ?? -1
        }
    }

    @Test("what B signed is no request when it has a status, or no method, or asks for something else")
    func reflected() throws {
        #expect(refusal(try text()) == nil, "the control")
        for (what, members, status) in Self.members {
            #expect(refusal(try text(members: members)) == status, "\(what)")
        }
    }

    @Test("uri has to be absolute, with the host of the KMS that is asked")
    func uri() throws {
        for uri in [
            "/ecdhe", "kms://\(c.host)/ecdhe", "kms://\(b.host)/ecdhe", "kms://\(a.host)", "kms://\(a.host)/keys",
            "ecdhe",
        ] {
            #expect(refusal(try text(uri: uri)) == 400, "\(uri)")
        }
        #expect(refusal(try text(uri: "kms://\(a.host.uppercased())/ecdhe")) == nil)
    }

    @Test("a request that was kept back opens nothing; one without a time, as other servers send it, does")
    func time() throws {
        #expect(refusal(try text(time: now.adding(seconds: -299).iso8601)) == nil)
        #expect(refusal(try text(time: now.adding(seconds: -301).iso8601)) == 409)
        #expect(refusal(try text(time: now.adding(seconds: 301).iso8601)) == 409)
        #expect(refusal(try text(time: "yesterday")) == 409)
    }

    @Test("a key that is not of P-256 is refused")
    func keys() throws {
        for jwk in [
            "{}", #"{"kty":"RSA"}"#, #"{"kty":"EC","crv":"P-384","x":"AA","y":"AA"}"#,
            #"{"kty":"EC","crv":"P-256","x":"","y":"AA"}"#, #"{"kty":"EC","crv":"P-256","x":"AA"}"#,
        ] {
            #expect(refusal(try text(jwk: jwk)) == 400, "\(jwk)")
        }
    }

    @Test("a forged kid, and a request of a KMS whose anchors are others, are not believed")
    func forged() throws {
        let json = #"{"requestId":"r","method":"create","uri":"kms://\#(a.host)/ecdhe"}"#
        for text in [try c.sign(json), try c.sign(json, kid: b.kid), try c.sign(json, kid: b.kid, chain: b.chain)] {
            #expect(refusal(text) == -1)
        }
    }

    @Test("B refuses an answer that is not to its request, not for it, not of A, or out of bounds")
    func answers() throws {
        let opening = try FederationOpening(from: b.staticKey(now: now), to: a.host, at: now)
        let asked = try request(opening.text)
        func isTaken(_ text: [UInt8], trust: FederationTrust? = nil) throws -> Bool {
            let trust = try trust ?? a.trust()
            return (try? opening.finish(text, trust: trust, at: now)) != nil
        }
        #expect(try isTaken(answer(asked).text), "the control")
        #expect(try !isTaken(answer(asked, requestID: "another").text))
        // Another KMS has sent B's point under its own name: the session would be that one's.
        #expect(try !isTaken(answer(asked, to: c.host).text))
        #expect(try !isTaken(answer(asked, uri: KMSNames(host: c.host).session(UUIDText.random())).text))
        #expect(try !isTaken(answer(asked, uri: "/ecdhe/\(UUIDText.random())").text))
        #expect(try !isTaken(answer(asked, life: 59).text))
        #expect(try !isTaken(answer(asked, life: 24 * 86_400 + 1).text))
        #expect(try !isTaken(answer(asked, x: [UInt8](repeating: 7, count: 32)).text))
        #expect(try !isTaken(answer(asked, status: 200).text))
        #expect(try !isTaken(answer(asked).text, trust: c.trust()))
        #expect(try !isTaken(opening.text, trust: b.trust()), "its own request, sent back")
        // Another answer of A, made for another request.
        let other = try FederationOpening(from: b.staticKey(now: now), to: a.host, at: now)
        #expect(try !isTaken(answer(request(other.text)).text))
    }

    @Test("a refusal that A signed is told with status and reason")
    func refused() throws {
        let opening = try FederationOpening(from: b.staticKey(now: now), to: a.host, at: now)
        let failure = KMSFailure(403, "no federation")
        func text(_ requestID: String?) throws -> [UInt8] {
            try a.staticKey(now: now).sign(KMSAnswer(failure, requestID: requestID).json(), withChain: true)
        }
        let own = try text(opening.requestID)
        #expect(throws: failure) { try opening.finish(own, trust: a.trust(), at: now) }
        // One that the core has kept, or that A gave without reading the request, decides nothing.
        for other in [try text("another"), try text(nil)] {
            #expect(throws: DiagnosedError.self) { try opening.finish(other, trust: a.trust(), at: now) }
        }
    }
}

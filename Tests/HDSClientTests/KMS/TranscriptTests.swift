import Cryptography
import Encryption
import JOSEEncryption
import JOSESignature
import KMSClient
import KMSProtocol
import SecretMemory
import TestVectors
import Testing
import WireText

/// The recorded traffic of genuine clients, from the client's side: what they got, this client opens.
@Suite("Recorded traffic, client's direction", .enabled(if: SharedData.isAvailable("kms-transcript.json")))
struct ClientTranscriptTests {
    let root: JSONNode
    let clients = ["nodeKms", "javaKmsSdk", "pythonWebexMessageHandler"]

    init() throws {
        root = try JSONDocument(
            SharedData.bytes("kms-transcript.json"), limits: .init(maximumDepth: 32, maximumNodes: 100_000)
        ).root
    }

    private func bytes(_ node: JSONNode?, _ name: String) throws -> [UInt8] {
        try #require(node?[name]?.string.flatMap { Base64URL.decode($0) })
    }

    /// The recorded static key, proved from the recorded details document against the recorded root.
    private func staticKey() throws -> VerifiedStaticKey {
        let root = try Certificate.all(inPEM: #require(self.root["pki"]?["root"]?.string))
        let leaf = try Certificate.all(inPEM: #require(self.root["pki"]?["leaf"]?.string))[0]
        let host = try #require(self.root["host"]?.string)
        let trust = try StaticKeyTrust(cluster: "kms://\(host)", roots: root)
        return try trust.verify(details: #require(self.root["details"]), at: leaf.notBefore.adding(seconds: 3600))
    }

    private func session(_ node: JSONNode) throws -> KMSClientSession {
        var json = JSONWriter()
        json.beginObject()
        json.member("uri", try #require(node["uri"]?.string))
        json.member("userId", "recorded")
        json.member("created", "2026-11-23T00:00:00.000Z")
        json.member("expires", "2026-11-24T00:00:00.000Z")
        json.member("clockOffset", 0)
        json.member("lastCounter", 0)
        json.member("key", try #require(node["derivedKey"]?.string))
        json.endObject()
        return try KMSClientSession(restoring: JSONDocument(json.bytes()).root)
    }

    @Test("The recorded details document is proved from its leaf to the recorded root")
    func details() throws {
        let key = try staticKey()
        #expect(key.kid == root["staticPrivateJwk"]?["kid"]?.string)
        #expect(key.publicKey.rsaModulus == (try bytes(root["staticPrivateJwk"], "n")))
    }

    @Test("Every recorded answer opens with its session, and every signed one verifies")
    func answers() throws {
        let key = try staticKey()
        var count = 0
        for client in clients {
            let sessions = try #require(root[client]?["sessions"]?.elements).map { try session($0) }
            for exchange in try #require(root[client]?["exchanges"]?.elements) {
                let text = try #require(exchange["wrappedResponse"]?.string)
                let recorded = try #require(exchange["response"])
                let answer: KMSAnswer
                if exchange["key"]?.string == "static" {
                    guard case .answer(let signed) = try SignedMessage(text, signedBy: key) else {
                        throw TestFailure("a reset")
                    }
                    answer = signed
                } else {
                    let session = try #require(sessions.first { $0.uri == exchange["key"]?.string })
                    answer = try session.open(text)
                    for other in sessions where other.uri != session.uri {
                        #expect(throws: (any Error).self) { try other.open(text) }
                    }
                }
                #expect(answer.status == recorded["status"]?.integer.map { Int($0) })
                #expect(answer.requestID == recorded["requestId"]?.string)
                #expect(answer.reason == recorded["reason"]?.string)
                try check(answer, recorded)
                count += 1
            }
        }
        #expect(count == 60)
    }

    private func check(_ answer: KMSAnswer, _ recorded: JSONNode) throws {
        switch answer.body {
        case .key(let key):
            #expect(key.uri == recorded["key"]?["uri"]?.string)
            let k = try bytes(recorded["key"]?["jwk"], "k")
            #expect(key.key.isEqual(to: SymmetricKey(copying: k)))
        case .keys(let keys): #expect(keys.map(\.uri) == recorded["keys"]?.elements?.compactMap { $0["uri"]?.string })
        case .resource(let resource), .resourceWithHolders(let resource, _):
            #expect(resource.uri == recorded["resource"]?["uri"]?.string)
        case .authorizations(let list), .removed(let list):
            #expect(list.map(\.authID) == recorded["authorizations"]?.elements?.map { $0["authId"]?.string ?? "" })
        case .ephemeralKey(let key): #expect(key.uri == recorded["key"]?["uri"]?.string)
        case .searchKeys, .memberships, .sealingKey, .signature:
            Issue.record("recorded clients ask for nothing of the sort")
        case .none: #expect(recorded["key"] == nil && recorded["keys"] == nil && recorded["resource"] == nil)
        }
    }

    @Test("The recorded resets verify, and end no session: they say neither which nor when")
    func resets() throws {
        let key = try staticKey()
        let clock = TestClock()
        let session = try TestKMS(clock: clock).openSession()
        let resets = try #require(root["nodeKms"]?["resets"]?.elements)
        #expect(!resets.isEmpty)
        for reset in resets {
            guard case .reset(let opened) = try SignedMessage(#require(reset["wrapped"]?.string), signedBy: key) else {
                throw TestFailure("no reset")
            }
            #expect(opened.requestID == reset["body"]?["requestId"]?.string)
            #expect(code { try session.accept(opened, at: clock.now) } == .kmsReset)
        }
    }

    @Test("From each client's own key pair comes the recorded session key, leading zero octets included")
    func agreements() throws {
        var pairs: [(client: JSONNode, x: [UInt8], y: [UInt8], z: [UInt8]?, key: [UInt8])] = []
        for entry in try #require(root["nodeKms"]?["clientKeys"]?.elements) {
            let session = try #require(
                root["nodeKms"]?["sessions"]?.elements?.first { $0["uri"]?.string == entry["ephemeralKeyUri"]?.string })
            let server = session["serverEcPrivateJwk"]
            pairs.append(
                (
                    try #require(entry["clientEcPrivateJwk"]), try bytes(server, "x"), try bytes(server, "y"),
                    try bytes(session, "sharedSecretZ"), try bytes(entry["derivedJwk"], "k")
                ))
        }
        for entry in try #require(root["edge"]?.elements) {
            let server = entry["serverEcPrivateJwk"]
            pairs.append(
                (
                    try #require(entry["clientEcPrivateJwk"]), try bytes(server, "x"), try bytes(server, "y"),
                    try bytes(entry, "sharedSecretZ"), try bytes(entry, "derivedKey")
                ))
        }
        #expect(pairs.count == 9)
        for pair in pairs {
            let agreement = try P256Agreement(privateScalar: bytes(pair.client, "d"))
            #expect(agreement.publicX == (try bytes(pair.client, "x")))
            let z = try agreement.sharedSecret(withX: pair.x, y: pair.y)
            if let recorded = pair.z { #expect(z.isEqual(to: SymmetricKey(copying: recorded))) }
            // Leading zero octets that a sender leaves out change nothing.
            let bare = try agreement.sharedSecret(
                withX: Array(pair.x.drop { $0 == 0 }), y: Array(pair.y.drop { $0 == 0 }))
            #expect(bare.isEqual(to: z))
            #expect(try KMSHandshake.sessionKey(from: z).isEqual(to: SymmetricKey(copying: pair.key)))
        }
    }

    @Test("Recorded texts and files decrypt, and what is encrypted here has the recorded form")
    func content() throws {
        let entries = try #require(root["nodeKms"]?["content"]?.elements)
        #expect(entries.compactMap { $0["note"]?.string } == ["content", "scr"])
        for entry in entries {
            let key = SymmetricKey(copying: try bytes(entry["jwk"], "k"))
            let text = EncryptedText(received: try #require(entry["jwe"]?.string))
            if let plain = entry["plaintext"]?.string {
                #expect(try text.text(with: key) == plain)
                let again = try EncryptedText(encrypting: plain, under: key)
                #expect(again != text)
                #expect(try again.text(with: key) == plain)
                let header = try JOSEHeader.parse(again.jwe)
                #expect(header.alg == "dir" && header.enc == "A256GCM" && header.kid == nil)
            } else {
                let record = try SecureContentRecord(opening: text, with: key)
                #expect(record.location == entry["scr"]?["loc"]?.string)
                #expect(record.aad == entry["scr"]?["aad"]?.string)
                var opener = try FileOpener(record)
                let plain = try opener.update(bytes(entry, "ciphertextB64u"))
                try opener.finish()
                #expect(plain == (try bytes(entry, "plaintextB64u")))
                let again = try SecureContentRecord(opening: record.encrypted(under: key), with: key)
                #expect(again.location == record.location && again.iv == record.iv && again.tag == record.tag)
                #expect(again.key.isEqual(to: record.key))
            }
        }
    }
}

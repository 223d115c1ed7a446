import Cryptography
import Encryption
import JOSEEncryption
import JOSESignature
import SecretMemory
import TestVectors
import Testing
import WireText

/// The cryptography of recorded traffic of genuine clients, byte for byte; what the messages mean is tested elsewhere.
@Suite("Recorded messages", .enabled(if: SharedData.isAvailable("kms-transcript.json")))
struct RecordedMessagesTests {
    static let clients = ["nodeKms", "javaKmsSdk", "pythonWebexMessageHandler"]
    let root: JSONNode

    init() throws {
        root = try JSONDocument(
            SharedData.bytes("kms-transcript.json"), limits: .init(maximumNodes: 100_000, maximumBytes: 1 << 24)
        ).root
    }

    @Test("the certificates lead from the leaf to the root, and the static key is the leaf's")
    func certificates() throws {
        func certificate(_ name: String) throws -> Certificate {
            let text = try #require(root["pki"]?[name]?.string)
            return try #require(try Certificate.all(inPEM: text).first)
        }
        let (leaf, intermediate, top) = try (certificate("leaf"), certificate("intermediate"), certificate("root"))
        let path = try CertificatePath.validate(
            leaf: leaf, intermediates: [intermediate], roots: [top], at: leaf.notBefore.adding(seconds: 60),
            purpose: .kms)
        #expect(path == [leaf, intermediate, top])
        #expect(leaf.commonName == root["host"]?.string)
        #expect(try staticKey().publicKey == leaf.publicKey)
        let kid = try #require(root["staticPrivateJwk"]?["kid"]?.string)
        #expect(kid.hasSuffix("/statickeys/" + leaf.serialNumberDecimal))
    }

    @Test("every session's Z and key come out of both private halves")
    func sessions() throws {
        var count = 0
        for client in Self.clients {
            let part = try #require(root[client])
            let handshakes = try #require(part["exchanges"]?.elements).filter { $0["key"]?.string == "static" }
            for session in try #require(part["sessions"]?.elements) {
                let recorded = SymmetricKey(copying: try session.octets("sharedSecretZ"))
                let key = try HKDFSHA256.derive(from: recorded)
                #expect(key.isEqual(to: SymmetricKey(copying: try session.octets("derivedKey"))))
                let uri = try #require(session["uri"]?.string)
                // Some sessions were opened before the recording began.
                guard let handshake = handshakes.first(where: { $0["response"]?["key"]?["uri"]?.string == uri }) else {
                    continue
                }
                let jwk = try #require(handshake["request"]?["jwk"])
                let server = try P256Agreement(
                    privateScalar: try #require(session["serverEcPrivateJwk"]).octets("d"))
                #expect(try server.sharedSecret(withX: jwk.octets("x"), y: jwk.octets("y")).isEqual(to: recorded))
                count += 1
            }
            for own in part["clientKeys"]?.elements ?? [] {
                let uri = own["ephemeralKeyUri"]?.string
                let session = try #require(part["sessions"]?.elements?.first { $0["uri"]?.string == uri })
                let server = try #require(session["serverEcPrivateJwk"])
                let client = try P256Agreement(privateScalar: try #require(own["clientEcPrivateJwk"]).octets("d"))
                let secret = try client.sharedSecret(withX: server.octets("x"), y: server.octets("y"))
                #expect(secret.isEqual(to: SymmetricKey(copying: try session.octets("sharedSecretZ"))))
                count += 1
            }
        }
        #expect(count == 10)
    }

    @Test("leading zero octets are kept in Z and accepted when missing in coordinates")
    func edges() throws {
        let edges = try #require(root["edge"]?.elements)
        #expect(edges.count == 3)
        for edge in edges {
            let name = edge["name"]?.string ?? ""
            let client = try #require(edge["clientEcPrivateJwk"])
            let server = try #require(edge["serverEcPrivateJwk"])
            let expected = SymmetricKey(copying: try edge.octets("sharedSecretZ"))
            #expect(expected.count == 32)
            let ours = try P256Agreement(privateScalar: server.octets("d"))
            let theirs = try P256Agreement(privateScalar: client.octets("d"))
            for strip in [false, true] {
                func coordinate(_ node: JSONNode, _ member: String) throws -> [UInt8] {
                    let octets = try node.octets(member)
                    return strip ? Array(octets.drop { $0 == 0 }) : octets
                }
                let first = try ours.sharedSecret(withX: coordinate(client, "x"), y: coordinate(client, "y"))
                let second = try theirs.sharedSecret(withX: coordinate(server, "x"), y: coordinate(server, "y"))
                #expect(first.isEqual(to: expected) && second.isEqual(to: expected), "\(name)")
                let derived = SymmetricKey(copying: try edge.octets("derivedKey"))
                #expect(try HKDFSHA256.derive(from: first).isEqual(to: derived), "\(name)")
            }
        }
    }

    @Test("every request and answer opens with its key and is the recorded JSON", arguments: clients)
    func exchanges(client: String) throws {
        let part = try #require(root[client])
        var keys: [String: SymmetricKey] = [:]
        for session in try #require(part["sessions"]?.elements) {
            keys[try #require(session["uri"]?.string)] = SymmetricKey(copying: try session.octets("derivedKey"))
        }
        let staticKey = try staticKey()
        let exchanges = try #require(part["exchanges"]?.elements)
        for exchange in exchanges {
            let message = try JWE.parse(Array(try #require(exchange["wrappedRequest"]?.string).utf8))
            let name = try #require(exchange["key"]?.string)
            let request =
                name == "static"
                ? try JWE.decryptRSAOAEP(message, with: staticKey)
                : try JWE.decryptDirect(message, key: try #require(keys[name]))
            #expect(message.header.kid == exchange["requestHeader"]?["kid"]?.string)
            #expect(try same(request, exchange["request"]))
            let wrapped = try #require(exchange["wrappedResponse"]?.string)
            if wrapped.split(separator: ".", omittingEmptySubsequences: false).count == 3 {
                let jws = try JWS.verify(wrapped, allowing: [.ps256]) { _ in staticKey.publicKey }
                #expect(jws.header.kid == root["staticPrivateJwk"]?["kid"]?.string)
                #expect(try same(SecretBytes(copying: jws.payload), exchange["response"]))
            } else {
                let answer = try JWE.parse(Array(wrapped.utf8))
                let key = try #require(answer.header.kid.flatMap { keys[$0] })
                #expect(try same(JWE.decryptDirect(answer, key: key), exchange["response"]))
            }
        }
        #expect(!exchanges.isEmpty)
    }

    @Test("resets verify and say what was recorded; texts and files open")
    func resetsAndContent() throws {
        let part = try #require(root["nodeKms"])
        let publicKey = try staticKey().publicKey
        for reset in try #require(part["resets"]?.elements) {
            let jws = try JWS.verify(try #require(reset["wrapped"]?.string), allowing: [.ps256]) { _ in publicKey }
            #expect(try same(SecretBytes(copying: jws.payload), reset["body"]))
        }
        for content in try #require(part["content"]?.elements) {
            guard let text = content["jwe"]?.string, let expected = content["plaintext"]?.string else { continue }
            let key = SymmetricKey(copying: try #require(content["jwk"]).octets("k"))
            let plain = try JWE.decryptDirect(JWE.parse(Array(text.utf8)), key: key)
            #expect(plain.withUnsafeBytes { Array($0) } == Array(expected.utf8))
        }
        let file = try #require(part["content"]?.elements?.first { $0["scr"] != nil })
        let key = SymmetricKey(copying: try #require(file["jwk"]).octets("k"))
        let wrapped = try JWE.parse(Array(try #require(file["jwe"]?.string).utf8))
        let record = try JWE.decryptDirect(wrapped, key: key).withUnsafeBytes { try JSONDocument($0) }.root
        var opener = try AESGCM.Opener(
            key: SymmetricKey(copying: record.octets("key")), nonce: record.octets("iv"),
            aad: Array(try #require(record["aad"]?.string).utf8))
        let ciphertext = try file.octets("ciphertextB64u")
        let plain = try opener.update(Array(ciphertext.prefix(7))) + opener.update(Array(ciphertext.dropFirst(7)))
        try opener.finish(tag: record.octets("tag"))
        #expect(try plain == file.octets("plaintextB64u"))
    }

    private func staticKey() throws -> PrivateKey {
        try PrivateKey(jwk: try #require(root["staticPrivateJwk"]))
    }

    /// Whether the octets are this JSON, whatever the order of members and the white space.
    private func same(_ bytes: borrowing SecretBytes, _ expected: JSONNode?) throws -> Bool {
        let found = try bytes.withUnsafeBytes { try JSONDocument($0, limits: .init(maximumNodes: 100_000)) }
        let expected = try #require(expected)
        return canonical(found.root) == canonical(expected)
    }

    private func canonical(_ node: JSONNode) -> String {
        switch node.kind {
        case .object:
            let members = (node.members ?? []).map { "\($0.name.debugDescription):\(canonical($0.value))" }
            return "{" + members.sorted().joined(separator: ",") + "}"
        case .array: return "[" + (node.elements ?? []).map(canonical).joined(separator: ",") + "]"
        case .string: return (node.string ?? "").debugDescription
        case .number, .boolean, .null: return node.rawText
        }
    }
}

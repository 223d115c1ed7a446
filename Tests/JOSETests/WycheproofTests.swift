import Cryptography
import Diagnostics
import Encryption
import JOSEEncryption
import JOSESignature
import SecretMemory
import TestVectors
import Testing
import WireText

/// Every vector of C2SP/wycheproof for JSON web keys, signatures and encryption, valid and invalid.
///
/// Algorithms that the project leaves out on purpose (shared-key MACs, AES key wrap, ECDH-ES, RSA1_5, CBC, smaller GCM
/// keys) must be refused, whatever the file says; so must the few below that break a rule of ours.
@Suite("Wycheproof JOSE")
struct WycheproofJOSETests {
    /// Rated valid by the file and refused by us.
    static let deliberatelyRefused: [Int: String] = [
        346: "the key's alg is PS256, the header's PS384",
        350: "the key's alg is PS256, the header's PS384",
    ]

    @Test(
        "signatures: every key is held to what it says about itself",
        .enabled(if: Wycheproof.isAvailable("json_web_signature")))
    func signatures() throws {
        let file = try Wycheproof("json_web_signature")
        var tally = VectorTally()
        for group in file.groups {
            for test in group.tests { signature(test, in: group, &tally, refused: Self.deliberatelyRefused) }
        }
        finish(tally, file)
    }

    @Test("keys: sets, weak keys, wrong use", .enabled(if: Wycheproof.isAvailable("json_web_key")))
    func keys() throws {
        let file = try Wycheproof("json_web_key")
        var tally = VectorTally()
        for group in file.groups {
            for test in group.tests { signature(test, in: group, &tally, refused: [:]) }
        }
        finish(tally, file)
    }

    @Test("encryption", .enabled(if: Wycheproof.isAvailable("json_web_encryption")))
    func encryption() throws {
        let file = try Wycheproof("json_web_encryption")
        var tally = VectorTally()
        for group in file.groups {
            for test in group.tests { try encrypted(test, in: group, &tally) }
        }
        finish(tally, file)
    }

    @Test("signatures and encryption together", .enabled(if: Wycheproof.isAvailable("json_web_crypto")))
    func crypto() throws {
        let file = try Wycheproof("json_web_crypto")
        var tally = VectorTally()
        for group in file.groups {
            for test in group.tests {
                if test["jws"] != nil {
                    signature(test, in: group, &tally, refused: [:])
                } else {
                    try encrypted(test, in: group, &tally)
                }
            }
        }
        finish(tally, file)
    }

    @Test(
        "agreement on P-256 with keys as JWK",
        .enabled(if: Wycheproof.isAvailable("ecdh_secp256r1_webcrypto")))
    func agreement() throws {
        let file = try Wycheproof("ecdh_secp256r1_webcrypto")
        var tally = VectorTally()
        for test in file.groups.flatMap(\.tests) {
            let own = try P256Agreement(privateScalar: try #require(test["private"]).octets("d"))
            var shared: SymmetricKey?
            if let key = test["public"].flatMap({ try? JWK($0) }), case .ec(let x, let y) = key.keyType {
                shared = try? own.sharedSecret(withX: x, y: y)
            }
            let expected = SymmetricKey(copying: try test.hex("shared"))
            tally.record(
                test.id, shared?.isEqual(to: expected) == true, expected: test.isValid ? .accepted : .rejected)
        }
        finish(tally, file)
    }

    private func signature(
        _ test: JSONNode, in group: JSONNode, _ tally: inout VectorTally, refused: [Int: String]
    ) {
        let node = group["public"] ?? group["private"]
        var payload: [UInt8]?
        if let text = test["jws"]?.string, let node {
            payload = try? JWS.verify(text, allowing: Set(SignatureAlgorithm.allCases)) { header in
                node["keys"] == nil
                    ? try JWK(node).verificationKey(for: header) : try JWKSet(node).verificationKey(for: header)
            }.payload
        }
        let number = test["tcId"]?.integer.map(Int.init) ?? 0
        let isOurs = Self.algorithm(test["jws"]).flatMap { SignatureAlgorithm(rawValue: $0) } != nil
        let isRefused = !isOurs || refused[number] != nil
        tally.record(
            test.id, payload != nil,
            expected: test.isValid ? (isRefused ? .refusedOnPurpose : .accepted) : .rejected)
    }

    private func encrypted(_ test: JSONNode, in group: JSONNode, _ tally: inout VectorTally) throws {
        let node = try #require(group["private"])
        var plain: [UInt8]?
        if let text = test["jwe"]?.string {
            plain = try? Self.open(text, node)
        }
        let header = try? JWE.parse(Array((test["jwe"]?.string ?? "").utf8)).header
        let isOurs = header?.enc == "A256GCM" && (header?.alg == "dir" || header?.alg == "RSA-OAEP")
        if test.isValid, isOurs, let plain, let expected = test["pt"]?.string {
            if Hexadecimal.decode(expected) != plain { tally.fail(test.id, "opens to something else") }
        }
        tally.record(
            test.id, plain != nil, expected: test.isValid ? (isOurs ? .accepted : .refusedOnPurpose) : .rejected)
    }

    private static func open(_ text: String, _ node: JSONNode) throws -> [UInt8] {
        let message = try JWE.parse(Array(text.utf8))
        if node["kty"]?.string == "RSA" {
            let key = try PrivateKey(jwk: node)
            return try JWE.decryptRSAOAEP(message, with: key).withUnsafeBytes { Array($0) }
        }
        // Also what is no key for this algorithm: it must be refused all the same.
        let key = SymmetricKey(copying: (try? node.octets("k")) ?? [UInt8](repeating: 7, count: 32))
        return try JWE.decryptDirect(message, key: key).withUnsafeBytes { Array($0) }
    }

    private static func algorithm(_ node: JSONNode?) -> String? {
        guard let part = node?.string?.split(separator: ".").first, let json = Base64URL.decode(part) else {
            return nil
        }
        return (try? JSONDocument(json))?.root["alg"]?.string
    }

    private func finish(_ tally: VectorTally, _ file: Wycheproof) {
        tally.report(file.name)
        #expect(tally.failures.isEmpty, "\(tally.failures.joined(separator: "\n"))")
        #expect(tally.count == file.numberOfTests, "not every vector was looked at")
    }
}

extension PrivateKey {
    /// From a private RSA JWK, as vectors have it.
    convenience init(jwk: JSONNode) throws {
        try self.init(
            rsaModulus: jwk.octets("n"), publicExponent: jwk.octets("e"), privateExponent: jwk.octets("d"),
            p: jwk.octets("p"), q: jwk.octets("q"), dp: jwk.octets("dp"), dq: jwk.octets("dq"), qi: jwk.octets("qi"))
    }
}

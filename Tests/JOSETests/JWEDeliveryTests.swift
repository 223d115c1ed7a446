import Cryptography
import Diagnostics
import Encryption
import JOSESignature
import SecretMemory
import Testing
import WireText

@testable import JOSEEncryption

@Suite("JWE for a recipient who is not there")
struct JWEDeliveryTests {
    private func seal(_ text: String, _ recipient: JWK) throws -> [UInt8] {
        try Array(text.utf8).withUnsafeBytes { try JWE.encrypt($0, to: recipient) }
    }
    private func open(_ text: [UInt8], _ key: PrivateKey) throws -> String {
        try JWE.decrypt(JWE.parse(text), with: key).withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }

    @Test("RFC 7518, appendix C: the derived key")
    func vector() {
        let shared: [UInt8] = [
            158, 86, 217, 29, 129, 113, 53, 211, 114, 131, 66, 131, 191, 132, 38, 156, 251, 49, 110, 163, 218, 128, 106,
            72, 246, 218, 167, 121, 140, 254, 144, 196,
        ]
        let key = JWE.derivedKey(
            SymmetricKey(copying: shared), algorithm: "A128GCM", partyU: Array("Alice".utf8),
            partyV: Array("Bob".utf8), bits: 128)
        #expect(key.withUnsafeBytes { Base64URL.encode(Array($0)) } == "VqqN6vgjbSBcIijNcacQGg")
    }

    @Test("What is sealed for a key opens with it, and its header says how")
    func roundTrip() throws {
        for (key, algorithm) in [(try TestKeys.p256.get(), "ECDH-ES"), (try TestKeys.rsa.get(), "RSA-OAEP-256")] {
            for alg in [nil, algorithm] {
                let recipient = JWK(publicKey: key.publicKey, kid: "officer", use: "enc", alg: alg)
                let text = try seal("for the officer", recipient)
                let header = try JWE.parse(text).header
                #expect(header.alg == algorithm && header.enc == "A256GCM" && header.kid == "officer")
                #expect(try open(text, key) == "for the officer")
                #expect(try seal("for the officer", recipient) != text)
            }
        }
    }

    @Test("It opens with no other key and after no change")
    func others() throws {
        let key = try TestKeys.p256.get()
        let text = try seal("x", JWK(publicKey: key.publicKey, kid: nil))
        for other in [try PrivateKey.generateP256(), try TestKeys.rsa.get()] {
            #expect(throws: DiagnosedError.self) { _ = try open(text, other) }
        }
        for index in text.indices where index % 7 == 0 && text[index] != UInt8(ascii: ".") {
            var changed = text
            changed[index] = changed[index] == UInt8(ascii: "A") ? UInt8(ascii: "Q") : UInt8(ascii: "A")
            #expect(throws: (any Error).self, "octet \(index)") { _ = try open(changed, key) }
        }
    }

    @Test("A key for something else gets nothing")
    func purpose() throws {
        let p256 = try TestKeys.p256.get().publicKey
        let rsa = try TestKeys.rsa.get().publicKey
        for jwk in [
            JWK(publicKey: p256, kid: nil, use: "sig"), JWK(publicKey: p256, kid: nil, alg: "ES256"),
            JWK(publicKey: rsa, kid: nil, alg: "RSA-OAEP"), JWK(publicKey: p256, kid: nil, alg: "RSA-OAEP-256"),
            try JWK(jsonText: "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"AAAA\"}"),
            try JWK(jsonText: "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"AAAA\"}"),
        ] { #expect(throws: (any Error).self) { _ = try seal("x", jwk) } }
    }

    @Test("A header without a key of the agreement, with one off the curve or with party infos is refused")
    func headers() throws {
        let key = try TestKeys.p256.get()
        let text = String(decoding: try seal("x", JWK(publicKey: key.publicKey, kid: nil)), as: UTF8.self)
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        for header in [
            #"{"alg":"ECDH-ES","enc":"A256GCM"}"#, #"{"alg":"ECDH-ES","enc":"A256GCM","epk":1}"#,
            #"{"alg":"ECDH-ES","enc":"A256GCM","epk":{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}}"#,
            #"{"alg":"ECDH-ES","enc":"A256GCM","apu":"QQ","epk":{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}}"#,
            #"{"alg":"dir","enc":"A256GCM"}"#, #"{"alg":"ECDH-ES","enc":"A128GCM"}"#,
        ] {
            let changed = ([part(header)] + parts.dropFirst().map(String.init)).joined(separator: ".")
            #expect(throws: (any Error).self, "\(header)") { _ = try open(Array(changed.utf8), key) }
        }
    }
}

import Cryptography
import Diagnostics
import Encryption
import JOSEEncryption
import JOSESignature
import SecretMemory
import Testing
import WireText

@Suite("JWE")
struct JWETests {
    let key = SymmetricKey(copying: [UInt8](0..<32))

    private func bytes(_ secret: borrowing SecretBytes) -> [UInt8] { secret.withUnsafeBytes { Array($0) } }
    private func direct(_ text: String, kid: String? = "kms://host/ecdhe/1") throws -> String {
        let text = try Array(text.utf8).withUnsafeBytes { try JWE.encryptDirect($0, key: key, kid: kid) }
        return String(decoding: text, as: UTF8.self)
    }
    private func open(_ text: String) throws -> [UInt8] {
        bytes(try JWE.decryptDirect(JWE.parse(Array(text.utf8)), key: key))
    }
    private func code(_ body: () throws -> Void) -> DiagnosedError.Code? {
        do { try body() } catch { return (error as? DiagnosedError)?.code }
        return nil
    }

    /// A message under `key` with a header that the library would not write.
    private func sealed(header: String, wrapped: String = "") throws -> String {
        let first = part(header)
        let (ciphertext, tag) = try AESGCM.seal([1, 2], key: key, nonce: [UInt8](0..<12), aad: Array(first.utf8))
        return [first, wrapped, Base64URL.encode([UInt8](0..<12)), Base64URL.encode(ciphertext), Base64URL.encode(tag)]
            .joined(separator: ".")
    }

    @Test(
        "what was encrypted opens, and its header says how",
        arguments: ["", "x", "héllo 🔒", String(repeating: "long ", count: 20_000)])
    func roundTrip(text: String) throws {
        let wrapped = try direct(text)
        #expect(try open(wrapped) == Array(text.utf8))
        let header = try JWE.parse(Array(wrapped.utf8)).header
        #expect(header.alg == "dir" && header.enc == "A256GCM" && header.kid == "kms://host/ecdhe/1")
        #expect(try open(direct(text, kid: nil)) == Array(text.utf8))
        #expect(try JWE.parse(Array(direct(text, kid: nil).utf8)).header.kid == nil)
    }

    @Test("the same text never looks the same twice")
    func fresh() throws {
        #expect(Set(try (0..<50).map { _ in try direct("same") }).count == 50)
    }

    @Test("RSA-OAEP round trips, and opens with its own key only")
    func wrapped() throws {
        let owner = try TestKeys.rsa.get()
        let text = try Array("hello".utf8).withUnsafeBytes {
            try JWE.encryptRSAOAEP($0, to: owner.publicKey, kid: "kms://host/statickeys/1")
        }
        let message = try JWE.parse(text)
        #expect(message.header.alg == "RSA-OAEP" && message.header.kid == "kms://host/statickeys/1")
        #expect(bytes(try JWE.decryptRSAOAEP(message, with: owner)) == Array("hello".utf8))
        #expect(code { _ = try JWE.decryptRSAOAEP(message, with: TestKeys.otherRSA.get()) } == .decryptionFailed)
    }

    @Test("whatever is wrong with a wrapped message, the error is one and the same")
    func oneOutcome() throws {
        let owner = try TestKeys.rsa.get()
        let text = try Array("hello".utf8).withUnsafeBytes {
            try JWE.encryptRSAOAEP($0, to: owner.publicKey, kid: nil)
        }
        var parts = String(decoding: text, as: UTF8.self).split(separator: ".").map(String.init)
        let good = parts
        func attempt() -> String {
            do {
                _ = try JWE.decryptRSAOAEP(JWE.parse(Array(parts.joined(separator: ".").utf8)), with: owner)
                return "opened"
            } catch { return "\(error)" }
        }
        #expect(attempt() == "opened")
        var outcomes: Set<String> = []
        // Wrong padding, wrong size, a key of another size, the right key with a wrong tag, and another's key.
        let short = try [UInt8](0..<16).withUnsafeBytes { try RSAOAEP.encrypt($0, to: owner.publicKey, digest: .sha1) }
        let other = try [UInt8](0..<32).withUnsafeBytes { try RSAOAEP.encrypt($0, to: owner.publicKey, digest: .sha1) }
        let sha256 = try [UInt8](0..<32).withUnsafeBytes {
            try RSAOAEP.encrypt($0, to: owner.publicKey, digest: .sha256)
        }
        for key in [short, other, sha256, [UInt8](repeating: 1, count: 256), [1], []] {
            parts = good
            parts[1] = Base64URL.encode(key)
            outcomes.insert(attempt())
        }
        parts = good
        parts[4] = Base64URL.encode([UInt8](repeating: 0, count: 16))
        outcomes.insert(attempt())
        #expect(outcomes == ["the ciphertext does not open [decryption-failed]"])
    }

    @Test("the received header is what is authenticated, in whatever form it came")
    func freeForm() throws {
        let header = "{ \"kid\" : \"kms:\\/\\/host\\/a\" ,\r\n \"enc\":\"A256GCM\",\"x\":1, \"alg\":\"dir\" }"
        let text = try sealed(header: header)
        let message = try JWE.parse(Array(text.utf8))
        #expect(message.header.kid == "kms://host/a")
        #expect(bytes(try JWE.decryptDirect(message, key: key)) == [1, 2])
        // The same meaning in another form is another header.
        let parts = text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        let other = part(#"{"kid":"kms://host/a","enc":"A256GCM","x":1,"alg":"dir"}"#)
        #expect(code { _ = try open(([other] + parts.dropFirst()).joined(separator: ".")) } == .decryptionFailed)
    }

    @Test(
        "other algorithms and extensions are refused although the tag is good",
        arguments: [
            #"{"alg":"dir","enc":"A128GCM"}"#, #"{"alg":"dir"}"#, #"{"alg":"A256KW","enc":"A256GCM"}"#,
            #"{"alg":"RSA-OAEP","enc":"A256GCM"}"#, #"{"alg":"none","enc":"A256GCM"}"#,
            #"{"alg":"dir","enc":"A256GCM","zip":"DEF"}"#, #"{"alg":"dir","enc":"A256GCM","crit":["a"],"a":1}"#,
        ])
    func algorithms(header: String) throws {
        let text = try sealed(header: header)
        #expect(code { _ = try open(text) } == .joseRefused)
    }

    @Test("a message for a shared key can not be opened as a wrapped one, nor the reverse")
    func confusion() throws {
        let owner = try TestKeys.rsa.get()
        let text = Array(try direct("x").utf8)
        #expect(code { _ = try JWE.decryptRSAOAEP(JWE.parse(text), with: owner) } == .joseRefused)
        let wrapped = try [UInt8](0..<3).withUnsafeBytes { try JWE.encryptRSAOAEP($0, to: owner.publicKey, kid: nil) }
        #expect(code { _ = try JWE.decryptDirect(JWE.parse(wrapped), key: key) } == .joseRefused)
        let withKey = try sealed(header: #"{"alg":"dir","enc":"A256GCM"}"#, wrapped: "AAAA")
        #expect(code { _ = try open(withKey) } == .joseMalformed)
    }

    @Test("the compact form is exact: five parts, base64url, nonce of 12 and tag of 16 octets")
    func compactForm() throws {
        let good = try direct("text")
        let parts = good.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        func with(_ index: Int, _ text: String) -> String {
            var parts = parts
            parts[index] = text
            return parts.joined(separator: ".")
        }
        for text in [
            "", "....", ".....", good + ".", "." + good, good + "\n", " " + good, good + "=", String(good.dropLast()),
            with(0, ""), with(0, "e30"), with(1, "!"), with(2, ""), with(2, Base64URL.encode([UInt8](0..<16))),
            with(3, "a"), with(3, "+/+/"), with(4, ""), with(4, String(parts[4].prefix(16))),
            with(4, parts[4] + "AAAA"),
            with(1, String(repeating: "A", count: 2000)), "{\"ciphertext\":\"\"}",
            String(repeating: ".", count: 100_000), parts.dropLast().joined(separator: "."),
        ] {
            #expect(throws: DiagnosedError.self, "\(text.prefix(40))") { try open(text) }
        }
        #expect(throws: DiagnosedError.self) {
            _ = try JWE.parse([UInt8](repeating: UInt8(ascii: "A"), count: JWE.maximumBytes + 1))
        }
    }

    @Test("no change of any single character opens, and a wrong key does not")
    func mutations() throws {
        let good = Array(try direct("payload").utf8)
        for position in good.indices {
            var changed = good
            changed[position] = good[position] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            #expect(throws: DiagnosedError.self) { _ = try JWE.decryptDirect(JWE.parse(changed), key: key) }
        }
        let other = SymmetricKey(copying: [UInt8](1..<33))
        #expect(code { _ = try JWE.decryptDirect(JWE.parse(good), key: other) } == .decryptionFailed)
        let short = SymmetricKey(copying: [UInt8](0..<16))
        #expect(code { _ = try JWE.decryptDirect(JWE.parse(good), key: short) } == .encryptionParameters)
    }
}

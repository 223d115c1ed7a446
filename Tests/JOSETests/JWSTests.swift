import Cryptography
import Diagnostics
import JOSESignature
import Testing
import WireText

@Suite("JWS")
struct JWSTests {
    private func verify(
        _ text: String, _ key: PublicKey, allowing: Set<SignatureAlgorithm> = [.es256, .ps256, .rs256]
    ) throws -> JWS {
        try JWS.verify(text, allowing: allowing) { _ in key }
    }

    private func code(_ body: () throws -> JWS) -> DiagnosedError.Code? {
        do { _ = try body() } catch { return (error as? DiagnosedError)?.code }
        return nil
    }

    /// Signs a header that `JWS.sign` would not write.
    private func signed(header: String, payload: String = "payload") throws -> String {
        let text = part(header) + "." + part(payload)
        return text + "." + Base64URL.encode(try TestKeys.p256.get().sign(Array(text.utf8), algorithm: .es256))
    }

    @Test(
        "what was signed verifies and carries its header",
        arguments: [SignatureAlgorithm.ps256, .rs256, .es256, .ps512])
    func roundTrip(algorithm: SignatureAlgorithm) throws {
        let key = try algorithm == .es256 ? TestKeys.p256.get() : TestKeys.rsa.get()
        let text = try JWS.sign(
            Array("payload".utf8), with: key, algorithm: algorithm, kid: "kms://host/statickeys/1", typ: "x+jwt",
            x5c: [[1, 2, 3]])
        let jws = try verify(text, key.publicKey, allowing: [algorithm])
        #expect(jws.payload == Array("payload".utf8))
        #expect(jws.header.alg == algorithm.rawValue && jws.header.kid == "kms://host/statickeys/1")
        #expect(jws.header.typ == "x+jwt" && jws.header.x5c == [[1, 2, 3]])
        #expect(try JWS.peekHeader(text) == jws.header)
    }

    @Test("members that are not given are not written")
    func leanHeader() throws {
        let text = try JWS.sign([], with: TestKeys.p256.get(), algorithm: .es256, kid: nil, typ: nil)
        #expect(text.hasPrefix(part(#"{"alg":"ES256"}"#) + ".."))
        #expect(try verify(text, TestKeys.p256.get().publicKey).payload.isEmpty)
    }

    @Test("header members in any order, with white space and escaped slashes, are read")
    func freeForm() throws {
        let text = try signed(
            header: "{ \"kid\" : \"kms:\\/\\/host\\/a\" ,\n\t\"x\":[1],\"alg\":\"E\\u00532\\u00356\" }")
        #expect(try verify(text, TestKeys.p256.get().publicKey).header.kid == "kms://host/a")
    }

    @Test("the algorithm is the caller's choice, and the key must suit it")
    func algorithms() throws {
        let (rsa, p256) = try (TestKeys.rsa.get(), TestKeys.p256.get())
        let text = try JWS.sign([1], with: rsa, algorithm: .rs256, kid: nil, typ: nil)
        #expect(code { try verify(text, rsa.publicKey, allowing: [.ps256]) } == .joseRefused)
        #expect(code { try verify(text, rsa.publicKey, allowing: []) } == .joseRefused)
        #expect(code { try verify(text, p256.publicKey) } == .joseRefused)
        #expect(code { try verify(text, TestKeys.otherRSA.get().publicKey) } == .joseSignatureInvalid)
    }

    @Test("the key is not asked for when the algorithm is refused")
    func noLookup() throws {
        let text = part(#"{"alg":"HS256","kid":"k"}"#) + ".." + part("tag")
        #expect(throws: DiagnosedError.self) {
            try JWS.verify(text, allowing: Set(SignatureAlgorithm.allCases)) { _ in
                Issue.record("asked for a key")
                return try TestKeys.p256.get().publicKey
            }
        }
    }

    @Test(
        "headers that ask for more than there is are refused",
        arguments: [
            #"{"alg":"none"}"#, #"{"alg":"HS256"}"#, #"{"alg":"es256"}"#, #"{"alg":"ES256 "}"#,
            #"{"alg":"ES256","crit":["exp"]}"#, #"{"alg":"ES256","crit":[]}"#, #"{"alg":"ES256","b64":false}"#,
            #"{"alg":"ES256","b64":true}"#, #"{"alg":"ES256","zip":"DEF"}"#, #"{"alg":"ES256","zip":null}"#,
        ])
    func refusedHeaders(header: String) throws {
        let text = try signed(header: header)
        #expect(code { try verify(text, TestKeys.p256.get().publicKey) } == .joseRefused)
    }

    @Test(
        "headers that are malformed are refused although their signature is good",
        arguments: [
            "", "{}", "[]", "null", #""ES256""#, #"{"alg":["ES256"]}"#, #"{"alg":"ES256","alg":"ES256"}"#,
            #"{"alg":"ES256","\u0061lg":"none"}"#, #"{"alg":"ES256"} x"#, #"{"alg":"ES256","kid":7}"#,
            #"{"alg":"ES256","kid":null}"#, #"{"alg":"ES256","typ":{}}"#, #"{"alg":"ES256","x5c":"MII"}"#,
            #"{"alg":"ES256","x5c":[]}"#, #"{"alg":"ES256","x5c":["_w"]}"#, #"{"alg":""}"#, #"{"alg":null}"#,
            "{\"alg\":\"ES256\",\"deep\":[[[[[[[[1]]]]]]]]}",
        ])
    func malformedHeaders(header: String) throws {
        let text = try signed(header: header)
        #expect(code { try verify(text, TestKeys.p256.get().publicKey) } == .joseMalformed)
    }

    @Test("the compact form is exact: three parts, base64url without padding or white space")
    func compactForm() throws {
        let key = try TestKeys.p256.get()
        let good = try JWS.sign(Array("{}".utf8), with: key, algorithm: .es256, kid: nil, typ: nil)
        let parts = good.split(separator: ".").map(String.init)
        for text in [
            "", ".", "..", "...", parts[0], parts[0] + "." + parts[1], good + ".", "." + good, good + "." + parts[2],
            " " + good, good + "\n", good + "=", parts[0] + "=." + parts[1] + "." + parts[2],
            parts[0] + "." + parts[1] + "\n." + parts[2],
            good.replacing("_", with: "/").replacing("-", with: "+") + "+",
            String(good.dropLast()), "{\"payload\":\"\"}", good + "\0", String(repeating: ".", count: 1000),
        ] {
            #expect(throws: DiagnosedError.self, "\(text.prefix(20))") { try verify(text, key.publicKey) }
        }
    }

    @Test("unused bits in the last character of a part are not ignored")
    func malleability() throws {
        let key = try TestKeys.p256.get()
        let good = try JWS.sign([1], with: key, algorithm: .es256, kid: nil, typ: nil)
        // 64 octets leave four unused bits: the last character is one of A, Q, g, w.
        let last = try #require(good.last)
        let next = try #require(["A": "B", "Q": "R", "g": "h", "w": "x"][String(last)])
        #expect(throws: DiagnosedError.self) { try verify(good.dropLast() + next, key.publicKey) }
    }

    @Test("no change of any single character verifies")
    func mutations() throws {
        let key = try TestKeys.p256.get()
        let good = Array(try JWS.sign(Array("payload".utf8), with: key, algorithm: .es256, kid: "a", typ: nil).utf8)
        for position in good.indices {
            var changed = good
            changed[position] = good[position] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            #expect(throws: DiagnosedError.self) {
                try JWS.verify(changed, allowing: [.es256]) { _ in key.publicKey }
            }
        }
    }

    @Test("a text beyond the bound is refused at once")
    func tooLong() throws {
        let text = String(repeating: "A", count: JWS.maximumBytes) + ".A.A"
        #expect(code { try verify(text, TestKeys.p256.get().publicKey) } == .joseMalformed)
        let header = part(#"{"alg":"ES256","x":""# + String(repeating: "y", count: 200_000) + #""}"#)
        #expect(code { try verify(header + "..AA", TestKeys.p256.get().publicKey) } == .joseMalformed)
    }

    @Test("errors quote the sender shortly and harmlessly")
    func quoting() throws {
        let text = part("{\"alg\":\"" + String(repeating: "\\n\\u001b[31m", count: 50) + "\"}") + "..AA"
        let error = #expect(throws: DiagnosedError.self) { try verify(text, TestKeys.p256.get().publicKey) }
        let description = error.map(\.description) ?? ""
        #expect(description.utf8.allSatisfy { (0x20...0x7E).contains($0) || $0 >= 0x80 })
        #expect(description.utf8.count < 300)
    }
}

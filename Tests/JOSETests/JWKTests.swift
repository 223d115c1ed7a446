import Cryptography
import Diagnostics
import JOSESignature
import Testing
import WireText

@Suite("JWK")
struct JWKTests {
    private let ec = """
        "kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",\
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
        """

    private func code(_ body: () throws -> Void) -> DiagnosedError.Code? {
        do { try body() } catch { return (error as? DiagnosedError)?.code }
        return nil
    }

    private func header(_ alg: String, _ kid: String? = nil) throws -> JOSEHeader {
        let json = "{\"alg\":\"\(alg)\"" + (kid.map { ",\"kid\":\"\($0)\"" } ?? "") + "}"
        return try JWS.peekHeader(part(json) + "..")
    }

    @Test("a key is written and read back")
    func roundTrip() throws {
        for key in [try TestKeys.rsa.get().publicKey, try TestKeys.p256.get().publicKey] {
            let jwk = JWK(publicKey: key, kid: "k1", use: "sig", alg: key.kind == .p256 ? "ES256" : "PS256")
            var json = JSONWriter()
            jwk.write(to: &json)
            let read = try JWK(jsonText: json.text())
            #expect(read == jwk)
            #expect(try read.publicKey() == key)
        }
    }

    @Test("private members are neither kept nor written")
    func privateMembers() throws {
        let secret = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"
        let jwk = try JWK(jsonText: "{\(ec),\"d\":\"\(secret)\",\"k\":\"\(secret)\"}")
        var dumped = ""
        dump(jwk, to: &dumped)
        var json = JSONWriter()
        jwk.write(to: &json)
        #expect(!dumped.contains(secret) && !json.text().contains(secret))
        #expect(try jwk.publicKey().kind == .p256)
    }

    @Test("unknown members and types are no error until they are used")
    func unknown() throws {
        #expect(try JWK(jsonText: "{\(ec),\"x5u\":\"https://a\",\"ext\":true}").publicKey().kind == .p256)
        for json in [
            #"{"kty":"oct","k":"AAAA"}"#, #"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#,
            #"{"kty":"EC","crv":"P-384","x":"AA","y":"AA"}"#, #"{"kty":"rsa","n":"AA","e":"AQAB"}"#,
        ] {
            let jwk = try JWK(jsonText: json)
            #expect(code { _ = try jwk.publicKey() } == .jwkInvalid)
        }
    }

    @Test(
        "malformed keys are refused",
        arguments: [
            "", "[]", "{}", #"{"kty":7}"#, #"{"kty":"EC"}"#, #"{"kty":"EC","crv":"P-256","x":"AA"}"#,
            #"{"kty":"RSA","n":"","e":"AQAB"}"#, #"{"kty":"RSA","n":"AQ==","e":"AQAB"}"#, #"{"kty":"RSA","n":"AQAB"}"#,
            #"{"kty":"RSA","n":"AQ","e":"A+AB"}"#, #"{"kty":"RSA","n":"AQAB","e":"AQAB","kid":1}"#,
            #"{"kty":"RSA","n":"AQAB","e":"AQAB","use":["sig"]}"#,
            #"{"kty":"RSA","n":"AQAB","e":"AQAB","key_ops":"sign"}"#,
            #"{"kty":"RSA","n":"AQAB","e":"AQAB","x5c":["!"]}"#, #"{"kty":"RSA","n":"AQAB","e":"AQAB","e":"Aw"}"#,
        ])
    func malformed(json: String) {
        #expect(code { _ = try JWK(jsonText: json) } == .jwkInvalid)
    }

    @Test("a key is held to what it says about its use")
    func purpose() throws {
        func refused(_ more: String, _ alg: String = "ES256") throws -> DiagnosedError.Code? {
            let jwk = try JWK(jsonText: "{\(ec)\(more)}")
            let header = try header(alg)
            return code { _ = try jwk.verificationKey(for: header) }
        }
        #expect(try refused("") == nil)
        #expect(try refused(#","use":"sig","alg":"ES256","key_ops":["verify"]"#) == nil)
        #expect(try refused(#","use":"enc""#) == .jwkPurpose)
        #expect(try refused(#","use":"SIG""#) == .jwkPurpose)
        #expect(try refused(#","key_ops":["encrypt","sign"]"#) == .jwkPurpose)
        #expect(try refused(#","key_ops":[]"#) == .jwkPurpose)
        #expect(try refused(#","alg":"ES512""#) == .jwkPurpose)
        #expect(try refused(#","alg":"RS256""#, "RS256") == .jwkPurpose)
        #expect(try refused(#","alg":"ES256""#, "PS256") == .jwkPurpose)
        #expect(try refused(#","alg":"RSA-OAEP""#, "RSA-OAEP") == .jwkPurpose)
    }

    @Test("encryption takes RSA keys that may encrypt")
    func encryption() throws {
        let key = try TestKeys.rsa.get().publicKey
        for (use, alg) in [(nil, nil), ("enc", nil), ("enc", "RSA-OAEP"), (nil, "RSA-OAEP")] as [(String?, String?)] {
            #expect(try JWK(publicKey: key, kid: nil, use: use, alg: alg).encryptionKey() == key)
        }
        for (use, alg) in [("sig", nil), ("enc", "PS256"), (nil, "RSA1_5")] as [(String?, String?)] {
            let jwk = JWK(publicKey: key, kid: nil, use: use, alg: alg)
            #expect(code { _ = try jwk.encryptionKey() } == .jwkPurpose)
        }
        #expect(code { _ = try JWK(jsonText: "{\(ec)}").encryptionKey() } == .jwkPurpose)
    }

    @Test("the first certificate must carry the same key")
    func certificates() throws {
        let jwk = JWK(publicKey: try TestKeys.p256.get().publicKey, kid: nil, x5c: [[0x30, 0]])
        #expect(code { _ = try jwk.publicKey() } == .certificateMalformed)
    }

    @Test("a set finds the one key of an id; two of the same id are none, unreadable ones are left out")
    func sets() throws {
        let set = try JWKSet(
            json: Array(
                """
                {"keys":[{\(ec),"kid":"a"},{\(ec),"kid":"twice"},{\(ec),"kid":"twice"},{"kty":"EC"},7,
                {"kty":"oct","k":"AA","kid":"shared"}],"more":1}
                """.utf8))
        #expect(set.keys.count == 4)
        #expect(set["a"] != nil && set["twice"] == nil && set["b"] == nil)
        #expect(try set.verificationKey(for: header("ES256", "a")).kind == .p256)
        for kid in ["twice", "b", "", nil] {
            #expect(code { _ = try set.verificationKey(for: header("ES256", kid)) } == .joseRefused)
        }
        #expect(code { _ = try set.verificationKey(for: header("ES256", "shared")) } == .jwkInvalid)
    }

    @Test("a set without keys, with too many or that is none is refused")
    func malformedSets() throws {
        let many = "{\"keys\":[" + [String](repeating: "{}", count: 101).joined(separator: ",") + "]}"
        for json in ["", "[]", "{}", #"{"keys":{}}"#, many] {
            #expect(code { _ = try JWKSet(json: Array(json.utf8)) } == .jwkInvalid)
        }
        #expect(try JWKSet(json: Array(#"{"keys":[]}"#.utf8)).keys.isEmpty)
    }
}

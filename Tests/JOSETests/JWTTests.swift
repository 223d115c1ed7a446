import Cryptography
import Diagnostics
import JOSESignature
import Testing
import WireText

@Suite("JWT")
struct JWTTests {
    let now = Timestamp(seconds: 1_800_000_000)

    private func token(_ claims: String, type: String? = "at+jwt") throws -> String {
        try JWS.sign(
            Array(claims.utf8), with: TestKeys.p256.get(), algorithm: .es256, kid: "k", typ: type)
    }

    private func verify(_ token: String, type: String? = "at+jwt", leeway: Int64 = 60) throws -> JWT {
        try JWT.verify(
            token, keys: { _ in try TestKeys.p256.get().publicKey }, allowing: [.es256], issuer: "https://auth.example",
            audience: "kms", type: type, now: now, leeway: leeway)
    }

    private func code(_ claims: String, type: String? = "at+jwt") throws -> DiagnosedError.Code? {
        let token = try token(claims, type: type)
        do { _ = try verify(token) } catch { return (error as? DiagnosedError)?.code }
        return nil
    }

    private let base = #""iss":"https://auth.example","aud":"kms","exp":1800000300"#

    @Test("the claims of an access token")
    func claims() throws {
        let token = try verify(
            token(
                """
                {\(base),"sub":"u1","iat":1799999990,"nbf":1799999990,"jti":"t1","client_id":"hds-cli",
                "scope":"kms:read kms:write","org":"o1"}
                """))
        #expect(token.issuer == "https://auth.example" && token.subject == "u1" && token.audience == ["kms"])
        #expect(token.expires == now.adding(seconds: 300) && token.notBefore == now.adding(seconds: -10))
        #expect(token.issuedAt == now.adding(seconds: -10) && token.id == "t1" && token.clientID == "hds-cli")
        #expect(token.scope == ["kms:read", "kms:write"] && token.header.kid == "k")
        #expect(token.document.root["org"]?.string == "o1")
    }

    @Test("issuer, audience and type are exact")
    func identity() throws {
        #expect(try code("{\(base)}") == nil)
        #expect(try code(#"{"iss":"https://auth.example/","aud":"kms","exp":1800000300}"#) == .jwtIssuer)
        #expect(try code(#"{"aud":"kms","exp":1800000300}"#) == .jwtIssuer)
        #expect(try code(#"{"iss":"https://auth.example","aud":"cloud","exp":1800000300}"#) == .jwtAudience)
        #expect(try code(#"{"iss":"https://auth.example","exp":1800000300}"#) == .jwtAudience)
        #expect(try code(#"{"iss":"https://auth.example","aud":["cloud","kms"],"exp":1800000300}"#) == nil)
        #expect(try code(#"{"iss":"https://auth.example","aud":[],"exp":1800000300}"#) == .jwtAudience)
        for type in ["AT+JWT", "application/at+jwt"] { #expect(try code("{\(base)}", type: type) == nil) }
        for type in ["JWT", "id+jwt", "", nil] { #expect(try code("{\(base)}", type: type) == .jwtType) }
        #expect(throws: Never.self) { try verify(token("{\(base)}", type: nil), type: nil) }
    }

    @Test(
        "times with their leeway, at the very second", arguments: [(-60, false), (-59, true), (0, true), (300, true)])
    func expiry(seconds: Int64, isValid: Bool) throws {
        let claims = #"{"iss":"https://auth.example","aud":"kms","exp":\#(now.seconds + seconds)}"#
        #expect(try code(claims) == (isValid ? nil : .jwtExpired))
    }

    @Test("a token is not valid before its time", arguments: [(60, true), (61, false), (-100, true)])
    func notBefore(seconds: Int64, isValid: Bool) throws {
        #expect(try code("{\(base),\"nbf\":\(now.seconds + seconds)}") == (isValid ? nil : .jwtNotYetValid))
    }

    @Test("fractions of seconds are times")
    func fractions() throws {
        let token = try verify(token(#"{"iss":"https://auth.example","aud":"kms","exp":1800000300.5}"#))
        #expect(token.expires?.milliseconds == 1_800_000_300_500)
        #expect(try code(#"{"iss":"https://auth.example","aud":"kms","exp":1.8e9}"#) == nil)
    }

    @Test(
        "claims that are malformed are refused although their signature is good",
        arguments: [
            "", "[]", "null", #""text""#, #"{"iss":"a","iss":"a"}"#, #"{"exp":"1800000300"}"#, #"{"exp":null}"#,
            #"{"exp":1e300}"#, #"{"exp":[1]}"#, #"{"nbf":true}"#, #"{"iss":7}"#, #"{"sub":{}}"#, #"{"aud":7}"#,
            #"{"aud":["kms",7]}"#, #"{"scope":["a"]}"#, #"{"iss":"https://auth.example","aud":"kms"}"#,
        ])
    func malformed(claims: String) throws {
        #expect(try code(claims) == .jwtMalformed)
    }

    @Test("an unverified issuer is read from anything with the form of a token, and from nothing else")
    func unverifiedIssuer() throws {
        #expect(JWT.unverifiedIssuer(try token("{\(base)}")) == "https://auth.example")
        #expect(JWT.unverifiedIssuer("e30." + part(#"{"iss":"x"}"#) + ".") == "x")
        for text in [
            "", "..", "a.b", "e30.e30.", "e30." + part(#"{"iss":7}"#) + ".", "e30.!.",
            String(repeating: "a", count: 40_000),
        ] {
            #expect(JWT.unverifiedIssuer(text) == nil)
        }
    }

    @Test("no error quotes the token")
    func quiet() throws {
        let token = try token(#"{"iss":"https://auth.example","aud":"kms","exp":1,"sub":"secret-subject"}"#)
        let error = #expect(throws: DiagnosedError.self) { try verify(token) }
        let description = error.map(\.description) ?? ""
        #expect(!description.contains("secret-subject") && !description.contains(token.prefix(20)))
    }
}

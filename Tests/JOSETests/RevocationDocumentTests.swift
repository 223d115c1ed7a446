import Cryptography
import Diagnostics
import JOSESignature
import Testing
import WireText

@Suite("Signed list of revocations")
struct RevocationDocumentTests {
    private let key: PrivateKey
    private let keys: JWKSet
    private let now = Timestamp(seconds: 1_900_000_000)

    init() throws {
        key = try PrivateKey.generateP256()
        keys = JWKSet(keys: [JWK(publicKey: key.publicKey, kid: "k1", use: "sig", alg: "ES256")])
    }

    private func verify(_ text: String, issuer: String = "https://a") throws -> RevocationDocument {
        try RevocationDocument.verify(text, keys: keys, allowing: [.es256], issuer: issuer)
    }

    private func sign(_ json: String, typ: String? = RevocationDocument.type) throws -> String {
        try JWS.sign(Array(json.utf8), with: key, algorithm: .es256, kid: "k1", typ: typ)
    }

    @Test("It reads back as it was signed")
    func roundTrip() throws {
        var document = RevocationDocument(issuer: "https://a", issued: now, version: 7)
        #expect(try verify(document.signed(with: key, algorithm: .es256, kid: "k1")) == document)
        document.tokens = ["t\"1": now, "t2": now.adding(seconds: 5)]
        document.subjects = ["u": .init(before: now, expires: now.adding(seconds: 9))]
        document.everyone = .init(before: now, expires: now)
        #expect(try verify(document.signed(with: key, algorithm: .es256, kid: "k1")) == document)
    }

    @Test("A token is revoked by its id, by its subject before a moment, or with everybody")
    func revokes() {
        var document = RevocationDocument(issuer: "https://a", issued: now, version: 1)
        document.tokens = ["t": now]
        document.subjects = ["u": .init(before: now, expires: now)]
        func revokes(_ id: String?, _ subject: String, _ seconds: Int64?) -> Bool {
            document.revokes(tokenID: id, subject: subject, issued: seconds.map { now.adding(seconds: $0) })
        }
        #expect(revokes("t", "x", 5) && revokes("x", "u", -1) && revokes(nil, "u", nil))
        #expect(!revokes("x", "u", 0) && !revokes("x", "x", -1) && !revokes(nil, "x", nil))
        document.everyone = .init(before: now, expires: now)
        #expect(revokes(nil, "x", -1) && revokes(nil, "x", nil) && !revokes(nil, "x", 0))
    }

    @Test("Another type, issuer or key, and malformed entries are refused as a whole")
    func refused() throws {
        let good = #"{"iss":"https://a","iat":1,"version":1,"tokens":[],"subjects":[]}"#
        #expect(try verify(sign(good)).tokens.isEmpty)
        #expect(throws: (any Error).self) { try verify(sign(good, typ: "at+jwt")) }
        #expect(throws: (any Error).self) { try verify(sign(good, typ: nil)) }
        #expect(throws: (any Error).self) { try verify(sign(good), issuer: "https://b") }
        let stranger = try PrivateKey.generateP256()
        #expect(throws: (any Error).self) {
            try verify(
                try JWS.sign(
                    Array(good.utf8), with: stranger, algorithm: .es256, kid: "k1", typ: RevocationDocument.type))
        }
        for bad in [
            "[]", "{}", good.replacing("\"version\":1,", with: ""),
            good.replacing("\"version\":1", with: "\"version\":-1"),
            good.replacing("\"iat\":1", with: "\"iat\":\"1\""), good.replacing("\"tokens\":[]", with: "\"tokens\":{}"),
            good.replacing("\"tokens\":[]", with: "\"tokens\":[{\"jti\":1,\"exp\":1}]"),
            good.replacing("\"tokens\":[]", with: "\"tokens\":[{\"jti\":\"a\"}]"),
            good.replacing("\"subjects\":[]", with: "\"subjects\":[{\"sub\":\"a\",\"exp\":1}]"),
            good.replacing("\"subjects\":[]", with: "\"subjects\":[],\"everyone\":{}"),
        ] {
            #expect(throws: (any Error).self, "\(bad)") { try verify(sign(bad)) }
        }
    }

    @Test("The thumbprint of a key is that of RFC 7638, section 3.1, and does not depend on leading zeros")
    func thumbprint() throws {
        let n =
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3"
            + "oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA"
            + "ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-"
            + "kEgU8awapJzKnqDKgw"
        let rsa = try PublicKey(
            rsaModulus: try #require(Base64URL.decode(n)), exponent: try #require(Base64URL.decode("AQAB")))
        #expect(JWK.thumbprint(of: rsa) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
        let point = try #require(key.publicKey.p256Coordinates)
        let print = try #require(JWK.thumbprint(of: key.publicKey))
        #expect(print == JWK.thumbprint(p256X: point.x, y: point.y) && JWK.isThumbprint(print))
        #expect(JWK.thumbprint(p256X: [1], y: [2]) == JWK.thumbprint(p256X: [0, 1], y: [0, 0, 2]))
        for text in ["", "x", print + "A", String(print.dropLast()), String(print.dropLast()) + "_!"] {
            #expect(!JWK.isThumbprint(text))
        }
    }
}

import Encryption
import JOSEEncryption
import KMSProtocol
import KeyManagement
import SecretMemory
import Testing
import WireText

/// What a hostile core or client can send: each gets the status of the protocol or a signed reset.
@Suite("Hostile input")
struct HostileInputTests {
    @Test("every member of an envelope, missing or of a wrong type, is answered 400 or 401 and nothing else")
    func envelopeMembers() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let client = """
            {"clientId":"c","credential":{"userId":"\(alice.user)","bearer":"\(TestTokens.token(alice.user))"}}
            """
        let good: [(String, String)] = [
            ("requestId", "\"r\""), ("method", "\"retrieve\""), ("uri", "\"/keys/\(UUIDText.random())\""),
            ("client", client),
        ]
        func text(_ members: [(String, String)]) -> String {
            "{" + members.map { "\"\($0.0)\":\($0.1)" }.joined(separator: ",") + "}"
        }
        #expect(try await alice.send(alice.wrap(text: text(good))).status == 404)
        let wrong = [
            "null", "1", "true", "[]", "{}", "\"\"", "[[[[]]]]", "\"" + String(repeating: "x", count: 5000) + "\"",
        ]
        for index in good.indices {
            var members = good
            members.remove(at: index)
            #expect(try await alice.send(alice.wrap(text: text(members))).status == 400, "without \(good[index].0)")
            for value in wrong {
                members = good
                members[index].1 = value
                let answer = try await alice.send(alice.wrap(text: text(members)))
                #expect(
                    [400, 401].contains(answer.status), "\(good[index].0): \(value.prefix(20)) got \(answer.status)")
                #expect(answer.reason?.isEmpty == false)
            }
        }
        let clients = [
            "{}", "{\"clientId\":1,\"credential\":{}}", "{\"clientId\":\"c\"}",
            "{\"clientId\":\"c\",\"credential\":[]}",
            "{\"clientId\":\"c\",\"credential\":{}}", "{\"clientId\":\"c\",\"credential\":{\"bearer\":5}}",
            "{\"clientId\":\"c\",\"credential\":{\"bearer\":\"x\",\"userId\":5}}",
            "{\"clientId\":\"c\",\"credential\":{\"bearer\":\"x\",\"onBehalfOf\":{}}}",
            "{\"clientId\":\"c\",\"credential\":{\"bearer\":\"\(String(repeating: "y", count: 20_000))\"}}",
        ]
        for value in clients {
            var members = good
            members[3].1 = value
            let answer = try await alice.send(alice.wrap(text: text(members)))
            #expect([400, 401].contains(answer.status), "\(value.prefix(60)) got \(answer.status)")
        }
        for value in ["\"CREATE\"", "\"head\"", "\"retrieve \""] {
            var members = good
            members[1].1 = value
            #expect(try await alice.send(alice.wrap(text: text(members))).status == 400)
        }
    }

    @Test("an envelope that is an answer, sent back, is refused")
    func reflection() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        guard case .answer(let answer) = await kms.handler.reply(to: try alice.wrapped("update", "/ping"), source: "")
        else {
            Issue.record("no answer")
            return
        }
        #expect(try await alice.send(answer).status == 400)
        #expect(
            try await alice.ask("create", "/keys") {
                $0.member("status", 200)
                $0.member("count", 1)
            }.status == 400)
    }

    @Test("plaintexts that are not JSON, too deep, with doubled members or huge are answered 400")
    func badJSON() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let texts = [
            "", "null", "[]", "\"x\"", "{", "{\"requestId\":\"a\",\"requestId\":\"b\"}", "\u{0}",
            String(repeating: "[", count: 100_000), "{\"a\":" + String(repeating: "{\"a\":", count: 5000) + "1",
        ]
        for text in texts {
            #expect(try await alice.send(alice.wrap(text: text)).status == 400, "\(text.prefix(30))")
        }
        #expect(try await alice.ask("update", "/ping").status == 200)
    }

    @Test("a 10 MB string is refused before anything is done with it")
    func tooLong() async throws {
        let kms = try await TestKMS.start()
        let reply = await kms.handler.reply(to: [UInt8](repeating: UInt8(ascii: "A"), count: 10 << 20), source: "")
        #expect(try kms.openReset(reply).reason.contains("longer"))
    }

    @Test("strings that are no compact JWE of the two kinds are answered by a signed reset")
    func notCompact() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let good = String(decoding: try alice.wrapped("update", "/ping"), as: UTF8.self)
        let parts = good.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        func header(_ json: String) -> String {
            ([Base64URL.encode(Array(json.utf8))] + parts[1...]).joined(separator: ".")
        }
        let uri = alice.session
        let bad = [
            "", ".", "....", "......", "a.b.c", "hello", "{}", good + ".", good + " ", " " + good, good + "=",
            parts[1...].joined(separator: "."), parts[0] + "." + parts[0] + "." + parts[2...].joined(separator: "."),
            header("{}"), header("[]"), header("{\"alg\":\"none\",\"kid\":\"\(uri)\"}"),
            header("{\"alg\":\"dir\",\"enc\":\"A128GCM\",\"kid\":\"\(uri)\"}"),
            header("{\"alg\":\"dir\",\"enc\":\"A256CBC-HS512\",\"kid\":\"\(uri)\"}"),
            header("{\"alg\":\"RSA-OAEP\",\"enc\":\"A256GCM\",\"kid\":\"\(uri)\"}"),
            header("{\"alg\":\"dir\",\"enc\":\"A256GCM\",\"kid\":\"\(kms.staticKey.kid)\"}"),
            header("{\"alg\":\"dir\",\"enc\":\"A256GCM\",\"kid\":\"\(uri)\",\"zip\":\"DEF\"}"),
            header("{\"alg\":\"dir\",\"enc\":\"A256GCM\",\"kid\":\"\(uri)\",\"crit\":[\"exp\"]}"),
            header("{\"alg\":\"dir\",\"alg\":\"dir\",\"enc\":\"A256GCM\",\"kid\":\"\(uri)\"}"),
            header("{\"alg\":\"dir\",\"enc\":\"A256GCM\"}"), header("{\"alg\":\"dir\",\"enc\":\"A256GCM\",\"kid\":7}"),
            header("{\"alg\":\"dir\",\"enc\":\"A256GCM\",\"kid\":\"kms://other.example.com/ecdhe/\(uri.suffix(36))\"}"),
            header(
                "{\"alg\":\"dir\",\"enc\":\"A256GCM\",\"kid\":\"kms://\(TestKMS.host)/ecdhe/\(UUIDText.random())\"}"),
            header("{\"alg\":\"RSA-OAEP\",\"enc\":\"A256GCM\",\"kid\":\"kms://\(TestKMS.host)/statickeys/1\"}"),
        ]
        for text in bad {
            let reply = await kms.handler.reply(to: Array(text.utf8), source: "hostile")
            #expect(throws: Never.self, "\(text.prefix(60))") { try kms.openReset(reply) }
        }
        #expect(try await alice.send(Array(good.utf8)).status == 200)
    }

    @Test("a changed octet anywhere in a wrapped request is a reset that names session and time")
    func wrongTag() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let good = try alice.wrapped("update", "/ping")
        let start = good.lastIndex(of: UInt8(ascii: ".")) ?? 0
        for index in [start + 1, start + 10, good.count - 3, start - 4] {
            var bad = good
            bad[index] = bad[index] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            let reset = try kms.openReset(await kms.handler.reply(to: bad, source: ""))
            #expect(reset.session == alice.session)
            #expect(reset.time == kms.clock.now)
        }
    }

    @Test("a session that has ended is a reset; the requests of others go on")
    func expired() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        #expect(try await alice.ask("update", "/ping").status == 200)
        kms.clock.advance(seconds: 86_400)
        let reply = await kms.handler.reply(to: try alice.wrapped("update", "/ping"), source: "")
        #expect(try kms.openReset(reply).session == alice.session)
        let fresh = try await TestClient.open(kms, People.alice)
        #expect(try await fresh.ask("update", "/ping").status == 200)
    }

    @Test("a handshake with a key that is not on P-256 gets a signed 400")
    func handshakeKeys() async throws {
        let kms = try await TestKMS.start()
        let good = try P256Agreement.generate()
        let ones = [UInt8](repeating: 1, count: 32)
        let cases: [(x: [UInt8], y: [UInt8], curve: String, kty: String)] = [
            (ones, ones, "P-256", "EC"), (good.publicX, good.publicX, "P-256", "EC"),
            ([], [], "P-256", "EC"), ([0], [0], "P-256", "EC"), (good.publicX, good.publicY, "P-384", "EC"),
            (good.publicX, good.publicY, "P-256", "RSA"), (good.publicX, good.publicY, "P-256", "oct"),
            (good.publicX + [0], good.publicY, "P-256", "EC"),
        ]
        for (x, y, curve, kty) in cases {
            let text = try TestClient.opening(kms, People.alice, x: x, y: y, curve: curve, kty: kty)
            let answer = try kms.openSigned(await kms.handler.reply(to: text, source: ""))
            #expect(answer.status == 400)
            #expect(answer.requestID != nil)
            #expect(answer.reason == "request does not contain a key of type EC on P-256 curve")
        }
    }

    @Test("a handshake with a bad bearer gets a signed 401, for somebody else a signed 403, not under RSA a reset")
    func handshakeCredentials() async throws {
        let kms = try await TestKMS.start()
        let own = try P256Agreement.generate()
        let unknown = try TestClient.opening(kms, People.alice, token: "nonsense", x: own.publicX, y: own.publicY)
        #expect(try kms.openSigned(await kms.handler.reply(to: unknown, source: "")).status == 401)
        let foreign = try TestClient.opening(
            kms, People.alice, token: TestTokens.token(People.bob), x: own.publicX, y: own.publicY)
        #expect(try kms.openSigned(await kms.handler.reply(to: foreign, source: "")).status == 403)
        var broken = try TestClient.opening(kms, People.alice, x: own.publicX, y: own.publicY)
        let dot = broken.firstIndex(of: UInt8(ascii: ".")) ?? 0
        broken[dot + 20] = broken[dot + 20] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
        _ = try kms.openReset(await kms.handler.reply(to: broken, source: ""))
        let other = try Array("{\"requestId\":\"x\",\"method\":\"create\"}".utf8).withUnsafeBytes {
            try JWE.encryptRSAOAEP($0, to: kms.staticPublicKey, kid: kms.staticKey.kid)
        }
        #expect(try kms.openSigned(await kms.handler.reply(to: other, source: "")).status == 400)
    }

    @Test(
        "[6 bearer on every request] [6 user of the session] inside a session: a bad bearer is 401 and the session lives on; another user's token is 403"
    )
    func credentials() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        #expect(try await alice.send(alice.wrapped("update", "/ping", token: "nonsense")).status == 401)
        #expect(try await alice.ask("update", "/ping").status == 200)
        #expect(
            try await alice.send(alice.wrapped("update", "/ping", token: TestTokens.token(People.bob))).status == 403)
    }

    @Test("sessions of one user are capped with 429, others are not affected")
    func sessionCap() async throws {
        var policy = TestKMS.testPolicy()
        policy.sessionsPerUser = 3
        let kms = try await TestKMS.start(policy: policy)
        for _ in 0..<3 { _ = try await TestClient.open(kms, People.alice) }
        let refused = await #expect(throws: TestClient.Refused.self) { try await TestClient.open(kms, People.alice) }
        #expect(refused?.answer.status == 429)
        _ = try await TestClient.open(kms, People.bob)
    }

    @Test("session openings and resets beyond their budget are declined without any private key operation")
    func budgets() async throws {
        var policy = TestKMS.testPolicy()
        policy.sessionOpeningsPerSecond = 1
        policy.resetsPerSourceAndSecond = 1
        let kms = try await TestKMS.start(policy: policy)
        var declined = 0
        for _ in 0..<5 {
            let own = try P256Agreement.generate()
            let text = try TestClient.opening(kms, People.alice, x: own.publicX, y: own.publicY)
            if case .drop = await kms.handler.reply(to: text, source: "storm") { declined += 1 }
        }
        #expect(declined == 3)
        var resets = 0
        for _ in 0..<20 {
            if case .answer = await kms.handler.reply(to: Array("x.y".utf8), source: "storm") { resets += 1 }
        }
        #expect(resets == 4)
        guard case .answer = await kms.handler.reply(to: Array("x.y".utf8), source: "another") else {
            Issue.record("another source was declined too")
            return
        }
    }

    @Test("no sequence of octets crashes the handler; each is answered by a reset")
    func random() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let good = try alice.wrapped("create", "/keys") { $0.member("count", 1) }
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<500 {
            var bad = good
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let index = Int.random(in: 0..<bad.count, using: &generator)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: bad[index] = UInt8.random(in: 0...255, using: &generator)
                case 1: bad.remove(at: index)
                default: bad.insert(UInt8.random(in: 33...126, using: &generator), at: index)
                }
            }
            guard bad != good else { continue }
            _ = try kms.openReset(await kms.handler.reply(to: bad, source: "fuzz"))
        }
        #expect(try await alice.send(good).status == 201)
    }

    @Test("nothing that was secret in any of this stands in the log")
    func logs() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let keys = try await alice.createKeys(2)
        _ = try await alice.createSpace(keys)
        _ = try await alice.send(alice.wrapped("update", "/ping", token: "tok-secret-bearer"))
        let text = kms.log.text
        #expect(!text.isEmpty)
        #expect(!text.contains("tok-"))
        for key in keys {
            key.key.withUnsafeBytes {
                #expect(!text.contains(Base64URL.encode(Array($0))) && !text.contains(Hexadecimal.encode(Array($0))))
            }
        }
    }
}

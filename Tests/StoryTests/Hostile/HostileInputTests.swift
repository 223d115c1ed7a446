import Cryptography
import Diagnostics
import Foundation
import HDSClient
import HTTPClient
import JOSESignature
import KMSClient
import KMSProtocol
import SecretMemory
import Testing
import WireText

extension StoryTests {
    @Suite("Hostile input through the core") struct HostileInputTests {
        /// Runs a body with a hostile Alice; afterwards every process is the same, alive and ready, and no secret that she
        /// used stands in a log.
        private func withHostile(
            _ body: (HostileClient, Deployment, inout SecretSearch) async throws -> Void
        ) async throws {
            let deployment = try await Deployment.shared()
            let before = deployment.pids()
            let alice = try await HostileClient("alice", in: deployment)
            var search = SecretSearch()
            search.add(token: "KMS token", alice.kmsToken)
            search.add(token: "cloud token", alice.cloudToken)
            try await body(alice, deployment, &search)
            await alice.close()
            #expect(deployment.pids() == before)
            for service in Service.allCases {
                #expect(deployment[service]?.isRunning == true)
                #expect(await deployment.status(of: service, "/readyz") == 200)
            }
            let logs = SecretSearch.files(below: deployment.domain.path("log"))
            #expect(logs.count >= 3)
            for finding in try search.findings(in: logs) { Issue.record("found \(finding)") }
        }

        @Test("Strings that are no messages get a signed reset, or a 4xx of the core when they are too long")
        func strings() async throws {
            try await withHostile { alice, _, _ in
                for text in ["garbage", "a.b.c.d.e", String(repeating: "A", count: 200_000), "ü.{}.[].\u{0}.e"] {
                    #expect(try await alice.reset(for: text).session == nil)
                }
                for count in [300_000, 10_000_000] {
                    let status = try await alice.post(String(repeating: "A", count: count))
                    #expect((400...499).contains(status), "\(count) characters: \(status)")
                }
                let nested = String(repeating: "[", count: 100_000) + String(repeating: "]", count: 100_000)
                for body in [
                    "", "{", "[]", "null", nested, #"{"kmsMessages":\#(nested)}"#, #"{"kmsMessages":7}"#,
                    #"{"kmsMessages":[]}"#, #"{"kmsMessages":[null]}"#, #"{"kmsMessages":[""],"kmsMessages":["a"]}"#,
                ] {
                    #expect(try await alice.post(body: Array(body.utf8)) == 400, "\(body.prefix(40))")
                }
                #expect(try await alice.post(body: [0xFF, 0xFE, 0x00]) == 400)
            }
        }

        @Test("An unknown session and a wrong tag get a reset that names the session; the session lives on")
        func resets() async throws {
            try await withHostile { alice, _, search in
                let session = try await alice.openSession()
                search.add("session key", try HostileClient.sessionKey(session).withUnsafeBytes { Array($0) })
                let unknown = "kms://\(Domain.kmsHost)/ecdhe/\(UUIDText.random())"
                let ping =
                    #"{"requestId":"p","method":"update","uri":"/ping",\#(alice.client(bearer: alice.kmsToken))}"#
                let stray = try alice.wrap(json: ping, under: session, kid: unknown)
                #expect(try await alice.reset(for: stray).session == unknown)
                let good = try alice.wrap(json: ping, under: session)
                var parts = good.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
                var tag = try #require(Base64URL.decode(parts[4]))
                tag[0] ^= 0x80
                parts[4] = Base64URL.encode(tag)
                let reset = try await alice.reset(for: parts.joined(separator: "."))
                #expect(reset.session == session.uri)
                #expect(reset.time != nil)
                #expect(try session.open(try await alice.ask(good)).status == 200)
            }
        }

        @Test("Every field of the envelope missing, of another type, too long or nested: 400, and the session lives on")
        func envelopes() async throws {
            try await withHostile { alice, _, search in
                let session = try await alice.openSession()
                search.add("session key", try HostileClient.sessionKey(session).withUnsafeBytes { Array($0) })
                let client = alice.client(bearer: alice.kmsToken)
                let nested = String(repeating: #"{"a":"#, count: 200) + "1" + String(repeating: "}", count: 200)
                let long = String(repeating: "x", count: 100_000)
                for json in [
                    "", "7", "[]", "null", "{}", "{\(client)}",
                    #"{"requestId":"r","uri":"/keys","count":1,\#(client)}"#,
                    #"{"requestId":"r","method":"create","count":1,\#(client)}"#,
                    #"{"requestId":"r","method":"create","uri":"/keys","count":1}"#,
                    #"{"requestId":"r","method":7,"uri":"/keys","count":1,\#(client)}"#,
                    #"{"requestId":"r","method":"create","uri":{},"count":1,\#(client)}"#,
                    #"{"requestId":"r","method":"create","uri":"/keys","count":"one",\#(client)}"#,
                    #"{"requestId":"r","method":"create","uri":"/keys","count":0,\#(client)}"#,
                    #"{"requestId":"r","method":"create","uri":"/keys","count":101,\#(client)}"#,
                    #"{"requestId":"r","method":"create","uri":"/keys","count":1e400,\#(client)}"#,
                    #"{"requestId":"r","method":"create","uri":"/keys","count":1,"client":[]}"#,
                    #"{"requestId":"r","method":"create","uri":"/keys","count":1,"client":{"credential":7}}"#,
                    #"{"requestId":"r","method":"create","uri":"\#(long)","count":1,\#(client)}"#,
                    #"{"requestId":"r","status":200,"method":"create","uri":"/keys","count":1,\#(client)}"#,
                    #"{"requestId":"r","method":"create","uri":"/keys","count":1,\#(client),"more":\#(nested)}"#,
                    #"{"requestId":"r","method":"create","method":"delete","uri":"/keys","count":1,\#(client)}"#,
                ] {
                    let answer = try session.open(try await alice.ask(try alice.wrap(json: json, under: session)))
                    #expect(answer.status == 400, "\(json.prefix(60)) gets \(answer.status)")
                    #expect(answer.reason?.isEmpty == false)
                }
                let ping = try alice.wrap(#""requestId":"p","method":"update","uri":"/ping""#, under: session)
                #expect(try session.open(try await alice.ask(ping)).status == 200)
            }
        }

        @Test("A mutating request that is replayed gets its first answer again and has no effect")
        func replay() async throws {
            try await withHostile { alice, deployment, _ in
                let bob = try await Person.logIn("bob", in: deployment, device: UUID().uuidString)
                let session = try await alice.openSession()
                func perform(_ operation: KMSOperation) async throws -> (text: String, back: String, answer: KMSAnswer)
                {
                    let request = try session.wrap(operation, as: alice.credential(), at: .now())
                    let back = try await alice.ask(request.text)
                    let answer = try session.open(back)
                    try request.check(answer, host: Domain.kmsHost)
                    #expect((200...299).contains(answer.status), "\(operation.uri): \(answer.reason ?? "")")
                    return (request.text, back, answer)
                }
                guard
                    case .resource(let resource) = try await perform(
                        .createResource(keys: [], users: [alice.person.id])
                    ).answer.body
                else {
                    Issue.record("no resource came")
                    return
                }
                let added = try await perform(.createAuthorizations(resource: resource.uri, ids: [bob.id]))
                _ = try await perform(.deleteAuthorization(resource: resource.uri, id: bob.id))
                for _ in 0..<3 { #expect(try await alice.ask(added.text) == added.back) }
                guard
                    case .authorizations(let list) = try await perform(.retrieveAuthorizations(resource: resource.uri))
                        .answer.body
                else {
                    Issue.record("no list came")
                    return
                }
                #expect(list.map(\.authID) == [alice.person.id])
                await bob.close()
            }
        }

        @Test("The bearer of somebody else gets 403, one for the cloud and every forgery 401; the session lives on")
        func bearers() async throws {
            try await withHostile { alice, deployment, search in
                let bob = try await Person.logIn("bob", in: deployment, device: UUID().uuidString)
                let foreign = try #require(try bob.store.current().tokens).kms.reveal { $0 }
                search.add(token: "KMS token of Bob", foreign)
                let session = try await alice.openSession()
                let members = #""requestId":"r","method":"create","uri":"/keys","count":1"#
                func status(_ bearer: String) async throws -> Int {
                    let text = try alice.wrap(members, bearer: bearer, under: session)
                    return try session.open(try await alice.ask(text)).status
                }
                #expect(try await status(foreign) == 403)
                #expect(try await status(alice.cloudToken) == 401)
                let auth = try deployment.authClient()
                let keySet = try await auth.send(WebRequest(url: deployment.domain.authURL + "/jwks.json")).body
                for forgery in try ForgedTokens.all(from: alice.kmsToken, keySet: keySet) {
                    #expect(try await status(forgery.token) == 401, "\(forgery.name)")
                    search.add(token: forgery.name, forgery.token)
                }
                let issued = try ForgedTokens.signedByIssuer(
                    alice.kmsToken, signingKeys: try deployment.domain.read("auth/state/signing-keys.pem"),
                    now: Timestamp.now().seconds)
                for forgery in issued.wrong {
                    #expect(try await status(forgery.token) == 401, "\(forgery.name)")
                    search.add(token: forgery.name, forgery.token)
                }
                #expect(try await status(issued.right) == 201)
                #expect(try await status(alice.kmsToken) == 201)
                await #expect(throws: KMSRefusal.self) { try await alice.openSession(bearer: alice.cloudToken) }
                await auth.close()
                await bob.close()
            }
        }

        @Test("A session is not opened with a point off the curve, an RSA key, another curve or half a key: signed 400")
        func handshakes() async throws {
            try await withHostile { alice, _, _ in
                let good = try #require(try PrivateKey.generateP256().publicKey.p256Coordinates)
                let (x, y) = (Base64URL.encode(good.x), Base64URL.encode(good.y))
                var off = good.y
                off[31] ^= 1
                let zero = Base64URL.encode([UInt8](repeating: 0, count: 32))
                let prime = Base64URL.encode([UInt8](repeating: 0xFF, count: 32))
                let n = Base64URL.encode(try #require(alice.key.publicKey.rsaModulus))
                for jwk in [
                    #"{"kty":"EC","crv":"P-256","x":"\#(x)","y":"\#(Base64URL.encode(off))"}"#,
                    #"{"kty":"EC","crv":"P-256","x":"\#(zero)","y":"\#(zero)"}"#,
                    #"{"kty":"EC","crv":"P-256","x":"\#(prime)","y":"\#(y)"}"#,
                    #"{"kty":"EC","crv":"P-256","x":"\#(x)"}"#,
                    #"{"kty":"EC","crv":"P-384","x":"\#(x)","y":"\#(y)"}"#,
                    #"{"kty":"EC","crv":"P-256","x":"\#(x)AA","y":"\#(y)"}"#,
                    #"{"kty":"RSA","n":"\#(n)","e":"AQAB"}"#, #"{"kty":"oct","k":"\#(zero)"}"#, "{}", "7",
                ] {
                    let answer = try await alice.opening(withJWK: jwk)
                    #expect(answer.status == 400, "\(jwk.prefix(40)) gets \(answer.status)")
                    #expect(answer.reason?.isEmpty == false)
                }
                let answer = try await alice.opening(withJWK: #"{"kty":"EC","crv":"P-256","x":"\#(x)","y":"\#(y)"}"#)
                #expect(answer.status == 201)
            }
        }
    }
}

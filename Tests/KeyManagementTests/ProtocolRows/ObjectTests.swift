import JOSEEncryption
import KMSProtocol
import KeyManagement
import SecretMemory
import Testing
import WireText

/// Section 7 of the protocol: the form of keys, authorizations and resources on the wire, and what is bound to them.
@Suite("Objects")
struct ObjectTests {
    /// The answer as it stands on the wire.
    private func root(
        _ client: TestClient, _ method: String, _ uri: String, _ members: (inout JSONWriter) -> Void = { _ in }
    ) async throws -> JSONNode {
        let reply = await client.kms.handler.reply(to: try client.wrapped(method, uri, members), source: "")
        guard case .answer(let text) = reply else { throw TestKMS.Unexpected(reply: "\(reply)") }
        return try JWE.decryptDirect(try JWE.parse(text), key: client.key).withUnsafeBytes {
            try JSONDocument($0).root
        }
    }

    private func names(_ node: JSONNode?) -> Set<String> { Set(node?.members?.map(\.name) ?? []) }

    @Test("[7 form of a key] 256 bits, kid is its URI, neither use nor alg, all dates; once bound also where and when")
    func key() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let made = try #require(
            try await root(alice, "create", "/keys") { $0.member("count", 1) }["keys"]?.elements?.first)
        let plain: Set = ["uri", "jwk", "userId", "clientId", "createDate", "expirationDate"]
        #expect(names(made) == plain)
        #expect(names(made["jwk"]) == ["kid", "kty", "k"])
        let uri = try #require(made["uri"]?.string)
        #expect(uri.wholeMatch(of: /kms:\/\/kms\.hds\.example\.com\/keys\/[0-9a-f-]{36}/) != nil)
        #expect(made["jwk"]?["kid"]?.string == uri)
        #expect(made["jwk"]?["kty"]?.string == "oct")
        #expect(made["jwk"]?["k"]?.string.flatMap { Base64URL.decode($0) }?.count == 32)
        #expect(made["userId"]?.string == People.alice)
        #expect(made["createDate"]?.string?.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/) != nil)
        let space = try await alice.createSpace([])
        let bound = try #require(
            try await root(alice, "update", uri) { $0.member("resourceUri", space.uri) }["key"])
        #expect(names(bound) == plain.union(["resourceUri", "bindDate"]))
        #expect(bound["resourceUri"]?.string == space.uri)
        #expect(bound["jwk"]?["k"]?.string == made["jwk"]?["k"]?.string)
    }

    @Test("[7 unbound key] its creator uses it from any device, nobody else reads or binds it")
    func unbound() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let key = try await alice.createKeys(1)[0]
        let space = try await alice.createSpace([], with: [People.bob])
        #expect(try await bob.status(retrieving: key.uri) == 403)
        #expect(try await bob.ask("update", key.uri) { $0.member("resourceUri", space.uri) }.status == 403)
        #expect(try await bob.ask("create", "/resources") { $0.member("keyUris", [key.uri]) }.status == 403)
        // Another device of hers: another clientId, which is no reason to refuse.
        let text = try alice.wrapped("update", key.uri) { $0.member("resourceUri", space.uri) }
        let plain = try JWE.decryptDirect(try JWE.parse(text), key: alice.key)
        let json = plain.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
        let other = json.replacing("devices/\(People.alice)", with: "devices/another")
        #expect(other != json)
        #expect(try await alice.send(alice.wrap(text: other)).status == 200)
    }

    @Test(
        "[7 defaults of expirationDate] 24 hours to bind it, a year once it is bound, always ahead, never for reading")
    func defaults() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let keys = try await alice.createKeys(2)
        let made = kms.clock.now
        #expect(keys[0].createDate == made && keys[0].expirationDate == made.adding(seconds: 86_400))
        kms.clock.advance(seconds: 86_399)
        let space = try await alice.createSpace([])
        guard
            case .key(let bound) = try await alice.ask("update", keys[0].uri, { $0.member("resourceUri", space.uri) })
                .body
        else {
            Issue.record("not bound in its last second")
            return
        }
        #expect(bound.expirationDate == kms.clock.now.adding(seconds: 365 * 86_400))
        kms.clock.advance(seconds: 1)
        let later = try await TestClient.open(kms, People.alice)
        #expect(try await later.ask("update", keys[1].uri) { $0.member("resourceUri", space.uri) }.status == 409)
        kms.clock.advance(seconds: 400 * 86_400)
        let old = try await TestClient.open(kms, People.alice)
        #expect(try await old.status(retrieving: keys[0].uri) == 200)
        #expect(try await old.status(retrieving: keys[1].uri) == 200)
    }

    @Test("[7 authId as given] it comes back letter by letter: users, devices, resources, /public")
    func authID() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let inner = try await alice.createSpace([])
        let device = "0DE71CE0-0000-4000-8000-00000000000A"
        let shouted = inner.uri.replacing("kms.hds", with: "KMS.hds")
        let ids = [People.bob.uppercased(), device, shouted, "/public"]
        let space = try await alice.createSpace([])
        guard case .authorizations(let made) = try await alice.add(ids, to: space.uri).body,
            case .authorizations(let list) = try await alice.ask("retrieve", space.uri + "/authorizations").body,
            case .removed(let gone) = try await alice.ask(
                "delete", space.uri + "/authorizations", { $0.member("authIds", ids) }
            ).body
        else {
            Issue.record("no list")
            return
        }
        #expect(made.map(\.authID) == ids)
        #expect(Set(list.map(\.authID)) == Set(ids + [People.alice]))
        #expect(gone.map(\.authID) == ids)
    }

    @Test("[7 form of an authorization] uri, authId, resourceUri, createDate, and the role where there is one")
    func authorization() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let space = try await alice.createSpace([])
        let made = try await root(alice, "create", "/authorizations") {
            $0.member("resourceUri", space.uri)
            $0.member("authIds", [People.bob])
        }
        let plain: Set = ["uri", "authId", "resourceUri", "createDate"]
        let entry = try #require(made["authorizations"]?.elements?.first)
        #expect(names(entry) == plain)
        #expect(entry["resourceUri"]?.string == space.uri)
        #expect(
            entry["uri"]?.string?.wholeMatch(of: /kms:\/\/kms\.hds\.example\.com\/authorizations\/[0-9a-f-]{36}/) != nil
        )
        let role = try await root(alice, "create", "/authorizations") {
            $0.member("resourceUri", space.uri)
            $0.member("authIds", [People.carol])
            $0.member("roleUri", "spark:roles/guest")
        }
        #expect(names(role["authorizations"]?.elements?.first) == plain.union(["roleUri"]))
        #expect(role["authorizations"]?.elements?.first?["roleUri"]?.string == "spark:roles/guest")
    }

    @Test("[7 form of a resource] [8 retrieve <kro>] uri and both lists, an end and a removal where there are some")
    func resource() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let keys = try await alice.createKeys(2)
        let space = try await alice.createSpace(keys, with: [People.bob])
        let plain: Set = ["uri", "keyUris", "authorizationUris"]
        let seen = try await root(bob, "retrieve", space.uri)
        #expect(seen["status"]?.integer == 200)
        let resource = try #require(seen["resource"])
        #expect(names(resource) == plain)
        #expect(resource["uri"]?.string == space.uri)
        #expect(Set(resource["keyUris"]?.strings ?? []) == Set(keys.map(\.uri)))
        #expect(resource["authorizationUris"]?.strings == space.authorizationURIs)
        _ = try await alice.remove(People.bob, from: space.uri)
        #expect(try await root(bob, "retrieve", space.uri)["status"]?.integer == 403)
        #expect(
            try await names(root(alice, "retrieve", space.uri)["resource"]) == plain.union(["lastRemovalDate"]))
        let short = try await root(alice, "create", "/resources") {
            $0.member("keyUris", [String]())
            $0.member("ttl", 60)
        }
        #expect(names(short["resource"]) == plain.union(["expirationDate"]))
        #expect(try await alice.status(retrieving: "/resources/00000000-0000-4000-8000-000000000000") == 404)
    }

    @Test(
        "[7 rights on a KRO] whoever is on it reads it and its keys, lists, adds, removes, binds own keys, deletes it")
    func rights() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let keys = try await alice.createKeys(1)
        let space = try await alice.createSpace(keys)
        let own = try await bob.createKeys(1)[0]
        func everything() async throws -> [Int] {
            [
                try await bob.status(retrieving: keys[0].uri), try await bob.status(retrieving: space.uri),
                try await bob.status(retrieving: space.uri + "/keys"),
                try await bob.status(retrieving: space.uri + "/authorizations"),
                try await bob.ask("update", own.uri) { $0.member("resourceUri", space.uri) }.status,
                try await bob.add([People.carol], to: space.uri).status,
                try await bob.remove(People.carol, from: space.uri).status,
                try await bob.ask("delete", space.uri).status,
            ]
        }
        #expect(try await everything() == Array(repeating: 403, count: 8), "not on it")
        _ = try await alice.add([People.bob], to: space.uri)
        #expect(try await everything() == [200, 200, 200, 200, 200, 201, 200, 200])
        #expect(try await alice.status(retrieving: space.uri) == 404)
    }
}

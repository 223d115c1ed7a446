import KMSProtocol
import KeyManagement
import SecretMemory
import Testing
import WireText

/// The tables of sections 7 and 8 of the protocol, over the wrapped wire.
@Suite("Operations")
struct OperationTests {
    @Test("[8 update /ping] ping answers 200")
    func ping() async throws {
        let alice = try await TestClient.open(TestKMS.start(), People.alice)
        #expect(try await alice.ask("update", "/ping").status == 200)
        #expect(try await alice.ask("update", "kms://kms.hds.example.com/ping").status == 200)
        #expect(try await alice.ask("retrieve", "/ping").status == 405)
    }

    @Test("[8 create /keys] [7 unbound key] create /keys makes 1 to 100 unbound keys that their creator alone may read")
    func createKeys() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let keys = try await alice.createKeys(100)
        #expect(keys.count == 100)
        #expect(Set(keys.map(\.uri)).count == 100)
        #expect(
            keys.allSatisfy { $0.userID == People.alice && $0.resourceURI == nil && $0.expirationDate > $0.createDate })
        #expect(try await alice.status(retrieving: keys[0].uri) == 200)
        #expect(try await bob.status(retrieving: keys[0].uri) == 403)
        for count in ["0", "101", "-1", "1.5", "\"3\"", "null", "true", "[]", "99999999999999999999"] {
            #expect(
                try await alice.ask("create", "/keys") { json in
                    json.name("count")
                    json.raw(count)
                }.status == 400, "\(count)")
        }
        #expect(try await alice.ask("create", "/keys").status == 400)
        #expect(try await alice.status(retrieving: "/keys/00000000-0000-4000-8000-000000000000") == 404)
    }

    @Test("[8 retrieve <key>] a bound key goes to whoever is authorized on its resource, with the same key bytes")
    func retrieveKey() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let carol = try await TestClient.open(kms, People.carol)
        let keys = try await alice.createKeys(1)
        let space = try await alice.createSpace(keys, with: [People.bob])
        guard case .key(let seen) = try await bob.ask("retrieve", keys[0].uri).body else {
            Issue.record("bob got no key")
            return
        }
        #expect(seen.key.isEqual(to: keys[0].key))
        #expect(seen.resourceURI == space.uri)
        #expect(seen.bindDate != nil)
        let refused = try await carol.ask("retrieve", keys[0].uri)
        #expect(refused.status == 403)
        #expect(refused.reason == "User \(People.carol) doesn't have authorization to access resource \(space.uri)")
    }

    @Test(
        "[8 create /resources] [8 ids] create /resources authorizes the creator first, even if not listed, and takes each id once"
    )
    func createResource() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let answer = try await alice.ask("create", "/resources") {
            $0.member("keyUris", [String]())
            $0.member("userIds", [People.bob, People.bob])
            $0.member("authIds", [People.bob, People.carol])
        }
        guard case .resource(let space) = answer.body else {
            Issue.record("no resource: \(answer.reason ?? "")")
            return
        }
        #expect(answer.status == 201)
        #expect(space.authorizationURIs.count == 3)
        guard case .authorizations(let list) = try await alice.ask("retrieve", space.uri + "/authorizations").body
        else {
            Issue.record("no list")
            return
        }
        #expect(list.map(\.authID) == [People.alice, People.bob, People.carol])
        #expect(list.map(\.uri) == space.authorizationURIs)
        #expect(try await alice.ask("create", "/resources").status == 400)
    }

    @Test(
        "[8 create /resources] create /resources is all or nothing: one key that is not the caller's leaves everything unbound"
    )
    func createResourceAllOrNothing() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let own = try await alice.createKeys(2)
        let foreign = try await bob.createKeys(1)
        let refused = try await alice.ask("create", "/resources") { $0.member("keyUris", (own + foreign).map(\.uri)) }
        #expect(refused.status == 403)
        guard case .key(let key) = try await alice.ask("retrieve", own[0].uri).body else { return }
        #expect(key.resourceURI == nil)
        _ = try await alice.createSpace(own)
        #expect(
            try await alice.ask("create", "/resources") {
                $0.member("keyUris", [own[0].uri])
                $0.member("userIds", [People.dan])
            }.status == 409)
        #expect(
            try await alice.ask("create", "/resources") {
                $0.member("keyUris", ["/keys/00000000-0000-4000-8000-000000000000"])
            }.status == 404)
    }

    @Test("the same creation again, as another request, returns the resource of the first; a different one does not")
    func repeatedCreation() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let keys = try await alice.createKeys(2)
        let first = try await alice.createSpace(keys, with: [People.bob])
        let second = try await alice.createSpace(keys.reversed(), with: [People.bob])
        #expect(first.uri == second.uri)
        #expect(
            try await alice.ask("create", "/resources") {
                $0.member("keyUris", keys.map(\.uri))
                $0.member("userIds", [People.carol])
            }.status == 409)
        let empty = try await alice.createSpace([])
        #expect(try await alice.createSpace([]).uri != empty.uri)
        _ = try await alice.add([People.dan], to: first.uri)
        #expect(
            try await alice.ask("create", "/resources") {
                $0.member("keyUris", keys.map(\.uri))
                $0.member("userIds", [People.bob])
            }.status == 409, "changed since")
    }

    @Test(
        "[8 update <key>] [7 bound key] update <key> binds once: again to the same resource is 200, to another 409, by others 403"
    )
    func bindKey() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let keys = try await alice.createKeys(3)
        let space = try await alice.createSpace([keys[0]], with: [People.bob])
        let other = try await alice.createSpace([])
        for _ in 0..<2 {
            let answer = try await alice.ask("update", keys[1].uri) { $0.member("resourceUri", space.uri) }
            #expect(answer.status == 200)
            guard case .key(let key) = answer.body else { return }
            #expect(key.resourceURI == space.uri && key.bindDate != nil)
        }
        #expect(try await alice.ask("update", keys[1].uri) { $0.member("resourceUri", other.uri) }.status == 409)
        #expect(try await bob.ask("update", keys[2].uri) { $0.member("resourceUri", space.uri) }.status == 403)
        let bobs = try await bob.createKeys(1)
        #expect(try await bob.ask("update", bobs[0].uri) { $0.member("resourceUri", other.uri) }.status == 403)
        #expect(try await bob.ask("update", bobs[0].uri).status == 400)
        kms.clock.advance(seconds: 86_401)
        let late = try await TestClient.open(kms, People.alice)
        #expect(try await late.ask("update", keys[2].uri) { $0.member("resourceUri", space.uri) }.status == 409)
        #expect(try await late.status(retrieving: keys[2].uri) == 200, "expiry never blocks reading")
    }

    @Test(
        "[8 retrieve <kro>/keys] retrieve <kro>/keys: newest first, boundAfter inclusive, boundBefore exclusive, count cuts the oldest"
    )
    func retrieveKeys() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let space = try await alice.createSpace([], with: [])
        var bound: [KMSKey] = []
        for key in try await alice.createKeys(4) {
            kms.clock.advance(seconds: 1)
            guard
                case .key(let key) = try await alice.ask("update", key.uri, { $0.member("resourceUri", space.uri) })
                    .body
            else { return }
            bound.append(key)
        }
        func uris(_ members: @escaping (inout JSONWriter) -> Void = { _ in }) async throws -> [String] {
            guard case .keys(let keys) = try await alice.ask("retrieve", space.uri + "/keys", members).body else {
                return []
            }
            return keys.map(\.uri)
        }
        let newestFirst = bound.reversed().map(\.uri)
        #expect(try await uris() == newestFirst)
        #expect(try await uris { $0.member("count", 2) } == Array(newestFirst.prefix(2)))
        let second = try #require(bound[1].bindDate).iso8601
        #expect(try await uris { $0.member("boundAfter", second) } == Array(newestFirst.prefix(3)))
        #expect(try await uris { $0.member("boundBefore", second) } == [bound[0].uri])
        #expect(try await bob.ask("retrieve", space.uri + "/keys").status == 403)
        #expect(try await alice.ask("retrieve", space.uri + "/keys") { $0.member("count", 0) }.status == 400)
        #expect(
            try await alice.ask("retrieve", space.uri + "/keys") { $0.member("boundAfter", "yesterday") }.status == 400)
    }

    @Test(
        "[8 create /authorizations] create /authorizations: in the order asked, existing ones kept, details left out when not wanted"
    )
    func createAuthorizations() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let carol = try await TestClient.open(kms, People.carol)
        let space = try await alice.createSpace([], with: [People.bob])
        guard case .authorizations(let first) = try await alice.add([People.dan, People.bob], to: space.uri).body else {
            return
        }
        #expect(first.map(\.authID) == [People.dan, People.bob])
        #expect(first[1].uri == space.authorizationURIs[1])
        let quiet = try await alice.ask("create", "/authorizations?responseDetails=false") {
            $0.member("resourceUri", space.uri)
            $0.member("authIds", [People.carol])
        }
        #expect(quiet.status == 201)
        guard case .none = quiet.body else {
            Issue.record("details were not left out")
            return
        }
        #expect(try await carol.ask("retrieve", space.uri).status == 200)
        let stranger = try await TestClient.open(kms, "5742a000-0000-4000-8000-000000000009")
        #expect(try await stranger.add([stranger.user], to: space.uri).status == 403)
        #expect(try await alice.add([], to: space.uri).status == 400)
        #expect(try await alice.add([People.bob], to: "/resources/00000000-0000-4000-8000-000000000000").status == 404)
    }

    @Test("two spellings of one id in a request are one entry, under the first")
    func spellings() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let inner = try await alice.createSpace([])
        let shouted = inner.uri.replacing("kms.hds.example.com", with: "KMS.HDS.example.com")
        let ids = [People.bob.uppercased(), People.bob, inner.uri, shouted]
        let space = try await alice.createSpace(alice.createKeys(1), with: ids)
        #expect(space.authorizationURIs.count == 3)
        let other = try await alice.createSpace([])
        guard case .authorizations(let entries) = try await alice.add(ids, to: other.uri).body else {
            Issue.record("not added")
            return
        }
        #expect(entries.map(\.authID) == [ids[0], ids[2]])
    }

    @Test(
        "[8 retrieve <kro>/authorizations] retrieve <kro>/authorizations: the list for those on it, filtered to none or one by authId"
    )
    func retrieveAuthorizations() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let space = try await alice.createSpace([], with: [])
        #expect(try await bob.ask("retrieve", space.uri + "/authorizations").status == 403)
        guard
            case .authorizations(let one) = try await alice.ask(
                "retrieve", space.uri + "/authorizations?authId=\(People.alice)"
            ).body,
            case .authorizations(let none) = try await alice.ask(
                "retrieve", space.uri + "/authorizations?responseDetails=false&authId=\(People.bob)"
            ).body
        else {
            Issue.record("no list")
            return
        }
        #expect(one.map(\.authID) == [People.alice])
        #expect(none.isEmpty)
    }

    @Test(
        "[8 delete <kro>/authorizations?authId=X] [8 delete <authorization>] delete by authId, by list and by URI returns what was removed, and those removed get no key"
    )
    func deleteAuthorizations() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let keys = try await alice.createKeys(1)
        let space = try await alice.createSpace(keys, with: [People.bob, People.carol, People.dan])
        #expect(try await bob.status(retrieving: keys[0].uri) == 200)
        guard case .removed(let removed) = try await alice.remove(People.bob, from: space.uri).body else { return }
        #expect(removed.map(\.authID) == [People.bob])
        #expect(try await bob.status(retrieving: keys[0].uri) == 403)
        #expect(try await alice.remove(People.bob, from: space.uri).status == 404)
        let bulk = try await alice.ask("delete", space.uri + "/authorizations") {
            $0.member("authIds", [People.carol, People.dan])
        }
        guard case .removed(let both) = bulk.body else { return }
        #expect(both.map(\.authID) == [People.carol, People.dan])
        guard case .authorizations(let again) = try await alice.add([People.carol], to: space.uri).body else { return }
        let single = try await alice.ask("delete", again[0].uri)
        #expect(single.status == 200)
        #expect(try await alice.ask("delete", again[0].uri).status == 404)
        #expect(try await alice.ask("delete", space.uri + "/authorizations").status == 400)
        #expect(
            try await alice.ask("delete", space.uri + "/authorizations") {
                $0.member("authIds", [People.alice, People.bob])
            }.status == 404, "all or nothing")
        #expect(try await alice.ask("retrieve", space.uri).status == 200)
    }

    @Test("a removal is dated, never before a key bound by then and always before one bound later, on any clock")
    func lastRemoval() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let keys = try await alice.createKeys(3)
        let space = try await alice.createSpace([keys[0]], with: [People.bob, People.carol])
        #expect(space.lastRemovalDate == nil)
        func bind(_ key: KMSKey) async throws -> Timestamp? {
            guard
                case .key(let bound) = try await alice.ask("update", key.uri, { $0.member("resourceUri", space.uri) })
                    .body
            else { return nil }
            return bound.bindDate
        }
        func removal() async throws -> Timestamp? {
            guard case .resource(let seen) = try await alice.ask("retrieve", space.uri).body else { return nil }
            return seen.lastRemovalDate
        }
        #expect(try await removal() == nil)
        kms.clock.advance(seconds: 10)
        let first = try #require(try await bind(keys[1]))
        kms.clock.advance(seconds: -9)
        _ = try await alice.remove(People.bob, from: space.uri)
        let removed = try #require(try await removal())
        #expect(removed >= first)
        let second = try #require(try await bind(keys[2]))
        #expect(second > removed)
        _ = try await alice.remove(People.carol, from: space.uri)
        #expect(try #require(try await removal()) >= second)
    }

    @Test("[8 delete <kro>] delete <kro> takes keys and list away from everybody")
    func deleteResource() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let keys = try await alice.createKeys(1)
        let space = try await alice.createSpace(keys, with: [])
        #expect(try await bob.ask("delete", space.uri).status == 403)
        #expect(try await alice.ask("delete", space.uri).status == 200)
        #expect(try await alice.status(retrieving: keys[0].uri) == 404)
        #expect(try await alice.ask("retrieve", space.uri).status == 404)
        #expect(try await alice.ask("delete", space.uri).status == 404)
        #expect(try await alice.ask("update", keys[0].uri) { $0.member("resourceUri", space.uri) }.status == 404)
    }

    @Test(
        "[7 KRO as authId] a nested resource lets its members read, transitively and without following cycles, but not change"
    )
    func nested() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let keys = try await alice.createKeys(1)
        let outer = try await alice.createSpace(keys)
        let middle = try await alice.createSpace([])
        let inner = try await alice.createSpace([], with: [People.bob])
        #expect(try await alice.add([middle.uri], to: outer.uri).status == 201)
        #expect(try await alice.add([inner.uri, outer.uri], to: middle.uri).status == 201)
        #expect(try await bob.status(retrieving: keys[0].uri) == 200)
        #expect(try await bob.add([People.carol], to: outer.uri).status == 403)
        #expect(try await TestClient.open(kms, People.carol).status(retrieving: keys[0].uri) == 403)
        #expect(try await alice.remove(inner.uri, from: middle.uri).status == 200)
        #expect(try await bob.status(retrieving: keys[0].uri) == 403)
        #expect(
            try await alice.add(["kms://other.example.com/resources/\(UUIDText.random())"], to: outer.uri).status == 403
        )
        #expect(try await alice.add([outer.uri], to: outer.uri).status == 400)
        #expect(try await alice.add(["/resources/\(UUIDText.random())"], to: outer.uri).status == 201, "an opaque id")
    }

    @Test("[7 /public] /public lets everybody read, where the policy allows it")
    func everybody() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let keys = try await alice.createKeys(1)
        let space = try await alice.createSpace(keys)
        #expect(try await alice.add(["/public"], to: space.uri).status == 201)
        let bob = try await TestClient.open(kms, People.bob)
        #expect(try await bob.status(retrieving: keys[0].uri) == 200)
        #expect(try await bob.add([People.bob], to: space.uri).status == 403)
        #expect(try await alice.remove("/public", from: space.uri).status == 200)
        #expect(try await bob.status(retrieving: keys[0].uri) == 403)
        var policy = TestKMS.testPolicy()
        policy.allowsPublic = false
        let strict = try await TestKMS.start(policy: policy)
        let strictAlice = try await TestClient.open(strict, People.alice)
        let strictSpace = try await strictAlice.createSpace([])
        #expect(try await strictAlice.add(["/public"], to: strictSpace.uri).status == 403)
    }

    @Test("[8 delete <session>] delete <session> ends one's own: the answer comes under it, the next request is reset")
    func deleteSession() async throws {
        let kms = try await TestKMS.start()
        let first = try await TestClient.open(kms, People.alice)
        let second = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        #expect(try await bob.ask("delete", first.session).status == 403)
        #expect(try await second.ask("delete", first.session).status == 204)
        let reply = await kms.handler.reply(to: try first.wrapped("update", "/ping"), source: "")
        #expect(try kms.openReset(reply).session == first.session)
        #expect(try await second.ask("delete", first.session).status == 404)
        #expect(try await second.ask("delete", second.session).status == 204)
    }

    @Test("[8 anything else] methods and paths that are none get 405 and 404, another KMS 501")
    func others() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        #expect(try await alice.ask("delete", "/keys").status == 405)
        #expect(try await alice.ask("update", "/resources").status == 405)
        #expect(try await alice.ask("retrieve", "/nothing").status == 404)
        #expect(try await alice.ask("retrieve", "/keys/../resources").status == 404)
        #expect(try await alice.ask("retrieve", "/keys/%2e%2e").status == 404)
        #expect(try await alice.ask("create", "/ecdhe").status == 400)
        #expect(try await alice.status(retrieving: "kms://other.example.com/keys/\(UUIDText.random())") == 501)
        #expect(try await alice.ask("retrieve", "http://kms.hds.example.com/keys").status == 400)
    }

    @Test(
        "[6 compliance role] on behalf of another: an agent retrieves what that user may see, changes nothing; others are refused"
    )
    func onBehalf() async throws {
        let kms = try await TestKMS.start(signed: try TestPolicy.make(#""agents": [{"user": "\#(People.dan)"}]"#))
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let officer = try await TestClient.open(kms, People.dan)
        let keys = try await alice.createKeys(1)
        let space = try await alice.createSpace(keys)
        #expect(try await officer.status(retrieving: keys[0].uri) == 403)
        #expect(try await officer.ask("retrieve", keys[0].uri, onBehalfOf: People.alice).status == 200)
        #expect(try await officer.ask("retrieve", keys[0].uri, onBehalfOf: People.bob).status == 403)
        #expect(try await officer.ask("delete", space.uri, onBehalfOf: People.alice).status == 403)
        #expect(try await bob.ask("retrieve", keys[0].uri, onBehalfOf: People.alice).status == 403)
        #expect(try await alice.ask("retrieve", keys[0].uri, onBehalfOf: People.alice).status == 200, "oneself")
    }
}

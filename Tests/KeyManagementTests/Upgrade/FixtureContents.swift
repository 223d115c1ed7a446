import KMSProtocol
import KeyStore
import MasterKey
import SecretMemory
import Testing
import WireText

@testable import KeyManagement

/// What the store of a fixture holds, and what it has to give and to refuse after an upgrade: people with their sessions,
/// the keys that each may read and must not.
struct FixtureContents {
    struct Session: Equatable {
        let user: String
        let uri: String
        let key: [UInt8]
    }

    struct Key: Equatable {
        let user: String
        let uri: String
        /// Nil: the answer is `status`.
        let octets: [UInt8]?
        let status: Int
    }

    let release: String
    let made: Timestamp
    let sessions: [Session]
    let keys: [Key]

    // MARK: Making it

    /// Puts people, spaces and keys into an empty store, through the KMS as clients do.
    static func populate(_ kms: TestKMS, release: String) async throws -> FixtureContents {
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let keys = try await alice.createKeys(5)
        let space = try await alice.createSpace([keys[0], keys[1]], with: [People.bob, People.carol])
        let own = try await alice.createSpace([keys[2]])
        let ended = try await alice.createSpace([keys[3]])
        #expect(try await alice.remove(People.carol, from: space.uri).status < 300)
        #expect(try await alice.ask("delete", ended.uri).status < 300)
        let carol = try await TestClient.open(kms, People.carol)
        func octets(_ key: KMSKey) -> [UInt8] { key.key.withUnsafeBytes { Array($0) } }
        var found: [Key] = []
        func note(_ client: TestClient, _ key: KMSKey, mayRead: Bool) async throws {
            let answer = try await client.ask("retrieve", key.uri)
            #expect((answer.status == 200) == mayRead, "\(client.user) \(key.uri): \(answer.status)")
            found.append(
                Key(user: client.user, uri: key.uri, octets: mayRead ? octets(key) : nil, status: answer.status))
        }
        for key in keys[0...1] {
            try await note(alice, key, mayRead: true)
            try await note(bob, key, mayRead: true)
            try await note(carol, key, mayRead: false)
        }
        try await note(alice, keys[2], mayRead: true)
        try await note(bob, keys[2], mayRead: false)
        try await note(alice, keys[3], mayRead: false)
        // Not bound yet: whoever made it may bind it.
        try await note(alice, keys[4], mayRead: true)
        _ = own
        return FixtureContents(
            release: release, made: kms.clock.now,
            sessions: [alice, bob, carol].map { client in
                Session(user: client.user, uri: client.session, key: client.key.withUnsafeBytes { Array($0) })
            }, keys: found)
    }

    // MARK: What it has to give

    func client(of user: String, on kms: TestKMS) throws -> TestClient {
        let session = try #require(sessions.first { $0.user == user })
        return TestClient(
            kms: kms, user: user, session: session.uri,
            key: SymmetricKey(copying: session.key),
            token: TestTokens.token(user))
    }

    /// Every session goes on, every key is what it was, nobody gets what he must not.
    func check(_ kms: TestKMS, _ name: String) async throws {
        for key in keys {
            let answer = try await client(of: key.user, on: kms).ask("retrieve", key.uri)
            #expect(answer.status == key.status, "\(name): \(key.user) \(key.uri)")
            guard let octets = key.octets else { continue }
            guard case .key(let found) = answer.body else {
                Issue.record("\(name): \(key.uri) is no key any more")
                continue
            }
            #expect(found.key.withUnsafeBytes { Array($0) } == octets, "\(name): \(key.uri)")
        }
    }

    /// Work goes on from there: what was not bound is bound, in the sessions of before, beside what is new.
    func goOn(_ kms: TestKMS, _ name: String) async throws {
        let alice = try client(of: People.alice, on: kms)
        let unbound = try #require(keys.last { $0.user == People.alice && $0.octets != nil })
        let more = try await alice.createKeys(1)
        let space = try await alice.ask("create", "/resources") {
            $0.member("keyUris", [unbound.uri] + more.map(\.uri))
            $0.member("userIds", [People.bob])
        }
        #expect(space.status < 300, "\(name): a key that was not bound can be bound, new ones are made")
        #expect(try await client(of: People.bob, on: kms).status(retrieving: unbound.uri) == 200)
        let new = try await TestClient.open(kms, People.dan)
        #expect(try await new.status(retrieving: unbound.uri) == 403)
    }

    // MARK: The file

    var json: [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("release", release)
        json.member("made", made.iso8601)
        json.name("sessions")
        json.beginArray()
        for session in sessions {
            json.beginObject()
            json.member("user", session.user)
            json.member("uri", session.uri)
            json.member("key", Base64URL.encode(session.key))
            json.endObject()
        }
        json.endArray()
        json.name("keys")
        json.beginArray()
        for key in keys {
            json.beginObject()
            json.member("user", key.user)
            json.member("uri", key.uri)
            json.member("key", ifPresent: key.octets.map { Base64URL.encode($0) })
            json.member("status", key.status)
            json.endObject()
        }
        json.endArray()
        json.endObject()
        return json.bytes() + [UInt8(ascii: "\n")]
    }

    init(release: String, made: Timestamp, sessions: [Session], keys: [Key]) {
        (self.release, self.made, self.sessions, self.keys) = (release, made, sessions, keys)
    }

    init(_ bytes: [UInt8]) throws {
        let root = try JSONDocument(bytes).root
        func octets(_ node: JSONNode) throws -> [UInt8]? { node["key"]?.string.flatMap { Base64URL.decode($0) } }
        release = try #require(root["release"]?.string)
        made = try #require(root["made"]?.string.flatMap { Timestamp(iso8601: $0) })
        sessions = try #require(root["sessions"]?.elements).map { node in
            Session(
                user: try #require(node["user"]?.string), uri: try #require(node["uri"]?.string),
                key: try #require(try octets(node)))
        }
        keys = try #require(root["keys"]?.elements).map { node in
            Key(
                user: try #require(node["user"]?.string), uri: try #require(node["uri"]?.string),
                octets: try octets(node), status: Int(try #require(node["status"]?.integer)))
        }
    }
}

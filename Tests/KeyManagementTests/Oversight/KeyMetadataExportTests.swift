import KMSProtocol
import KeyManagement
import SecretMemory
import Testing
import WireText

/// `hdsctl export-metadata`: what the KMS knows about a person, never a key.
@Suite("Key metadata export")
struct KeyMetadataExportTests {
    @Test(
        "spaces, entries on lists, keys with dates and sessions are there; no key is",
        arguments: OversightWorld.Store.allCases)
    func everything(_ store: OversightWorld.Store) async throws {
        let world = try await OversightWorld.start(store)
        let alice = try await TestClient.open(world.kms, People.alice)
        let bob = try await TestClient.open(world.kms, People.bob)
        let keys = try await alice.createKeys(3)
        let own = try await alice.createSpace([keys[0], keys[1]], with: [People.bob])
        let theirs = try await bob.createSpace(try await bob.createKeys(1), with: [People.alice])
        let left = try await bob.createSpace(try await bob.createKeys(1), with: [People.alice])
        _ = try await alice.remove(People.alice, from: left.uri)
        _ = try await bob.createSpace(try await bob.createKeys(1))
        let export = try await world.oversight.metadata(of: People.alice, after: nil, now: world.now)
        #expect(export.next == nil)
        let root = try JSONDocument(text: export.json).root
        #expect(root["user"]?.string == People.alice)
        #expect(root["sessions"]?.elements?.compactMap { $0["uri"]?.string } == [alice.session])
        #expect(root["sessions"]?.elements?.first?["client"]?.string?.contains("devices") == true)
        #expect(root["unboundKeys"]?.elements?.compactMap { $0["uri"]?.string } == [keys[2].uri])
        let spaces = try #require(root["spaces"]?.elements)
        #expect(Set(spaces.compactMap { $0["uri"]?.string }) == [own.uri, theirs.uri, left.uri])
        func space(_ uri: String) -> JSONNode? { spaces.first { $0["uri"]?.string == uri } }
        #expect(
            Set(space(own.uri)?["keys"]?.elements?.compactMap { $0["uri"]?.string } ?? []) == [
                keys[0].uri, keys[1].uri,
            ])
        #expect(space(own.uri)?["keys"]?.elements?.first?["bound"]?.string == world.now.iso8601)
        #expect(space(own.uri)?["createdByUser"]?.boolean == true)
        #expect(space(theirs.uri)?["canRead"]?.strings == ["member"])
        #expect(space(left.uri)?["canRead"]?.strings == [] && space(left.uri)?["keys"]?.elements?.count == 0)
        #expect(space(left.uri)?["authorizations"]?.elements?.first?["removed"]?.string == world.now.iso8601)
        #expect(!export.json.contains(People.bob), "others are not named")
        for key in keys {
            let octets = key.key.withUnsafeBytes { Base64URL.encode(Array($0)) }
            #expect(!export.json.contains(octets))
        }
    }

    @Test("a large export comes in parts that together hold each space once")
    func parts() async throws {
        let world = try await OversightWorld.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        var spaces: Set<String> = []
        for _ in 0..<60 { spaces.insert(try await alice.createSpace(try await alice.createKeys(100)).uri) }
        var seen: [String] = []
        var next: String?
        var parts = 0
        repeat {
            let export = try await world.oversight.metadata(of: People.alice, after: next, now: world.now)
            let root = try JSONDocument(
                text: export.json, limits: .init(maximumNodes: 1_000_000, maximumBytes: 8 << 20)
            )
            .root
            #expect((root["sessions"] != nil) == (parts == 0))
            seen += root["spaces"]?.elements?.compactMap { $0["uri"]?.string } ?? []
            next = export.next
            parts += 1
        } while next != nil
        #expect(parts == 2)
        #expect(seen.count == 60 && Set(seen) == spaces)
    }
}

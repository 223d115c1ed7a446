import Diagnostics
import KMSClient
import KMSProtocol
import Synchronization
import Testing
import WireText

@testable import HDSClient

/// What the core had and whose answer was lost, and what it never had: the client sends again, and it happens once.
@Suite("Lost answers of the core", .timeLimit(.minutes(2)))
struct LostAnswerTests {
    private static let activities = "POST /conversations/"
    private static let messages = "POST /encryption/api/v1/kms/messages "

    private static func run(_ body: (SocketWorld, Client) async throws -> Void) async throws {
        try await SocketWorld.run { world in
            try await world.withClient(world.loggedIn()) { try await body(world, $0) }
        }
    }

    /// How often the KMS was asked for this.
    private func asked(_ world: SocketWorld, _ method: KMSRequest.Method, _ path: String) -> Int {
        world.kms.state.withLock { state in
            state.requests.count { $0.method == method && $0.uriText.contains(path) }
        }
    }

    private func texts(_ client: Client, _ space: Space) async throws -> [String] {
        try await client.spaces.page(of: space, since: 0).entries.compactMap {
            if case .text(let text) = $0.content { text } else { nil }
        }
    }

    @Test("A space is made once, whatever of its making is lost", arguments: [true, false])
    func create(_ isAnswerLost: Bool) async throws {
        try await Self.run { world, client in
            let loss: Middleman.Treatment = isAnswerLost ? .loseAnswer : .loseRequest
            world.core.expect("POST /conversations ", loss, loss)
            world.core.expect("PUT /conversations/", loss, loss)
            let space = try await world.retrying { try await client.spaces.create(name: "Project X", with: []) }
            #expect(world.core.isDone)
            #expect(try await client.cloud.conversations().map(\.id) == [space.id])
            #expect(try await client.cloud.conversation(space.id).resourceURI == space.resource)
            #expect(world.kms.state.withLock { $0.resources.count } == 1)
            #expect(asked(world, .create, "resources") == 1)
            #expect(try await client.spaces.find("Project X").id == space.id)
        }
    }

    @Test("A message is there once and in its place, whatever is lost", arguments: [true, false])
    func post(_ isAnswerLost: Bool) async throws {
        try await Self.run { world, client in
            let space = try await client.spaces.create(name: "X", with: [])
            let loss: Middleman.Treatment = isAnswerLost ? .loseAnswer : .loseRequest
            for text in ["one", "two", "three"] {
                world.core.expect(Self.activities, loss, loss, loss)
                _ = try await world.retrying { try await client.spaces.post(text, in: space) }
                #expect(world.core.isDone)
            }
            #expect(try await texts(client, space) == ["one", "two", "three"])
        }
    }

    @Test("A core that stays away is told with what to do, after a few tries and none without end")
    func away() async throws {
        try await Self.run { world, client in
            let space = try await client.spaces.create(name: "X", with: [])
            for _ in 0..<20 { world.core.expect(Self.activities, .loseRequest) }
            let before = world.core.count(Self.activities)
            let error = await diagnosis {
                _ = try await world.retrying { try await client.spaces.post("lost", in: space) }
            }
            #expect(error?.code == .cloudUnavailable && error?.hint?.contains("try again") == true)
            #expect(world.core.count(Self.activities) - before == 5)
            world.core.expectNothing()
            #expect(try await texts(client, space).isEmpty)
        }
    }

    @Test("Adding and removing somebody reach the KMS once, with a new key after the removal")
    func membership() async throws {
        try await Self.run { world, client in
            _ = try await world.loggedIn("bob", email: "bob@example.com")
            let space = try await client.spaces.create(name: "X", with: [])
            world.core.expect(Self.activities, .loseAnswer, .loseRequest, .loseAnswer)
            let bob = try await world.retrying { try await client.spaces.add("bob@example.com", to: space) }
            #expect(world.core.isDone)
            #expect(asked(world, .create, "authorizations") == 1)
            #expect(try await client.cloud.conversation(space.id).participants.contains(bob.id))

            let key = try await client.spaces.writingKey(of: space).uri
            world.clock.advance(seconds: 10)
            world.core.expect(Self.activities, .loseAnswer)
            try await world.retrying { try await client.spaces.remove("bob@example.com", from: space) }
            #expect(asked(world, .delete, "authorizations") == 1)
            #expect(try await !client.cloud.conversation(space.id).participants.contains(bob.id))
            #expect(try await client.spaces.writingKey(of: space).uri != key)
        }
    }

    @Test("A file is shared once and whole, whatever is lost while it is sent", arguments: [true, false])
    func file(_ isAnswerLost: Bool) async throws {
        try await Self.run { world, client in
            let space = try await client.spaces.create(name: "X", with: [])
            let folder = TemporaryFolder()
            let content = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 / 7) }
            try folder.write("plan.bin", content)
            let loss: Middleman.Treatment = isAnswerLost ? .loseAnswer : .loseRequest
            world.core.expect("POST /files ", loss)
            world.core.expect("PUT /files/", loss, loss)
            world.core.expect(Self.activities, loss)
            try await world.retrying {
                _ = try await client.spaces.sendFile(folder.path + "/plan.bin", to: space) { _, _, _ in }
            }
            #expect(world.core.isDone)
            let file = try await client.spaces.findFile("plan.bin", in: space)
            _ = try await client.spaces.fetch(file, to: folder.path + "/copy", overwriting: false) { _, _, _ in }
            #expect(try folder.bytes("copy") == content)
        }
    }

    // MARK: - Strings for the KMS

    @Test("When the core took a string and its answer was lost, the KMS's answer counts and nothing is sent twice")
    func acceptedString() async throws {
        try await Self.run { world, client in
            _ = try await client.kms.perform(.ping)
            world.core.expect(Self.messages, .loseAnswer)
            let sent = world.core.count(Self.messages)
            guard case .keys(let keys) = try await client.kms.perform(.createKeys(count: 2)).body else {
                throw TestFailure("no keys")
            }
            #expect(keys.count == 2)
            #expect(asked(world, .create, "keys") == 1)
            #expect(world.core.count(Self.messages) - sent == 1)
        }
    }

    @Test("The same at the opening of a session: its answer counts, and there is one session")
    func acceptedOpening() async throws {
        try await Self.run { world, client in
            world.core.expect(Self.messages, .loseAnswer)
            _ = try await client.kms.perform(.ping)
            #expect(world.core.isDone)
            #expect(world.kms.state.withLock { $0.handshakes } == 1)
        }
    }

    @Test("A string that the core never had is sent again after a second, and its effect is one")
    func lostString() async throws {
        try await Self.run { world, client in
            _ = try await client.kms.perform(.ping)
            world.core.expect(Self.messages, .loseRequest)
            let status = try await world.retrying { try await client.kms.perform(.createKeys(count: 2)).status }
            #expect(status == 201 && world.core.isDone)
            #expect(asked(world, .create, "keys") == 1)
        }
    }

    // MARK: - The event socket

    @Test("An answer that was lost with the event socket comes again on the next one")
    func lostEvent() async throws {
        try await Self.run { world, client in
            _ = try await client.kms.perform(.ping)
            let sockets = world.core.count("GET /events/")
            world.core.loseNextEvent()
            #expect(try await client.kms.perform(.createKeys(count: 1)).status == 201)
            #expect(asked(world, .create, "keys") == 1)
            #expect(world.core.count("GET /events/") == sockets + 1)
            #expect(world.core.count("POST /devices ") == 1, "the device stays")
        }
    }

    @Test("A cut event socket is opened again by itself, and tells that something may have been missed")
    func cutSocket() async throws {
        try await Self.run { world, client in
            let space = try await client.spaces.create(name: "X", with: [])
            let changes = try await client.changes(in: space.id)
            for round in 1...3 {
                world.core.cutSockets()
                await until { world.core.count("GET /events/") == round + 1 && world.core.openSockets == 1 }
                var signals = changes.makeAsyncIterator()
                await signals.next()
                _ = try await client.kms.perform(.ping)
            }
            try await client.spaces.post("still here", in: space)
            #expect(try await texts(client, space) == ["still here"])
        }
    }

    @Test("A refused upgrade is tried again; a token that was refused there is renewed first")
    func refusedUpgrade() async throws {
        try await Self.run { world, client in
            world.core.expect("GET /events/", .status(503), .status(429), .status(500), .loseAnswer, .status(401))
            _ = try await client.kms.perform(.ping)
            #expect(world.core.isDone)
            #expect(world.core.count("GET /events/") == 6)
            #expect(world.issuer.count("POST /token ") == 2)
        }
    }

    @Test("A device that the core forgot is registered anew")
    func forgottenDevice() async throws {
        try await Self.run { world, client in
            world.core.expect("GET /events/", .status(404))
            _ = try await client.kms.perform(.ping)
            #expect(world.core.count("POST /devices ") == 2)
        }
    }

    @Test("Calls that come before there is a device register one, not one each")
    func oneDevice() async throws {
        try await SocketWorld.run { world in
            let store = try await world.loggedIn()
            try await world.withClient(store) { first in
                _ = try await first.kms.perform(.ping)
                // The first process has the first slot: this one has no device yet.
                try await world.withClient(world.store()) { second in
                    let space = try await first.spaces.create(name: "X", with: [])
                    async let stream = second.changes(in: space.id)
                    async let status = second.kms.perform(.ping).status
                    _ = try await stream
                    #expect(try await status == 200)
                }
            }
            #expect(world.core.count("POST /devices ") == 2)
        }
    }
}

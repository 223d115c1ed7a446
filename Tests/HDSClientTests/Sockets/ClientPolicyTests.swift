import Diagnostics
import DomainPolicy
import Foundation
import Testing
import TokenIssuer
import WireText

@testable import HDSClient

@Suite("What a domain demands of clients", .timeLimit(.minutes(2)))
struct ClientPolicyTests {
    private static func policy(_ change: (inout ClientPolicy) -> Void) -> ClientPolicy {
        var policy = ClientPolicy()
        change(&policy)
        return policy
    }

    private static func code(_ body: () async throws -> Void) async -> DiagnosedError.Code? {
        do { try await body() } catch { return (error as? DiagnosedError)?.code }
        return nil
    }

    @Test("A passphrase: without one nothing of the login is kept, with one it works and can not be taken away")
    func passphrase() async throws {
        try await SocketWorld.run(policy: Self.policy { $0.needsPassphrase = true }) { world in
            let open = try world.store()
            #expect(await Self.code { _ = try await world.loggedIn() } == .clientPolicy)
            let left = try open.current()
            #expect(left.tokens == nil && left.account == nil && left.policy == nil && left.profile != nil)

            try open.change(passphrase: Passphrase("a long passphrase"))
            let store = try StateStore.open(folder: world.folder.path + "/home-first") {
                Passphrase("a long passphrase")
            }
            _ = try await world.login(store).logIn(
                email: SocketWorld.email, proof: .password(Redacted(SocketWorld.password)))
            #expect(try store.current().policy?.demands == ["a passphrase"])
            try await world.withClient(store) { _ in }
            #expect(throws: DiagnosedError.self) { try store.change(passphrase: nil) }
            #expect(store.isProtected)
            let status = ClientStatus(try store.current(), isProtected: true, folder: "f")
            #expect(status.lines(now: world.clock.now).contains { $0.value == "a passphrase" })
            #expect(status.json().contains(#""policy":{"passphrase":true"#))
        }
    }

    @Test("A policy that came after the login counts with the next token, and logging out works under it")
    func later() async throws {
        try await SocketWorld.run { world in
            let store = try await world.loggedIn()
            // As the next renewal brings it.
            try store.update { state in
                var policy = ClientPolicy()
                policy.needsPassphrase = true
                state.policy = policy
            }
            #expect(await Self.code { try await world.withClient(store) { _ in } } == .clientPolicy)
            world.clock.advance(seconds: 3600)
            let client = try await Client.connect(store, environment: world.environment, leaving: true)
            #expect(try await client.logOut().failures.isEmpty)
            #expect(try store.current().tokens == nil)
        }
    }

    @Test("A renewal takes over what the service demands now, and what it demands no more")
    func renewed() async throws {
        try await SocketWorld.run(policy: Self.policy { $0.idle = 86_400 }) { world in
            let store = try await world.loggedIn()
            #expect(try store.current().policy?.idle == 86_400)
            try store.update { $0.policy?.allowsUploads = false }
            world.clock.advance(seconds: 3600)
            try await world.withClient(store) { client in _ = try await client.spaces.all() }
            let policy = try #require(try store.current().policy)
            #expect(policy.idle == 86_400 && policy.allowsUploads)
        }
    }

    @Test("Idle: each use counts anew; after too long login, session and keys are gone, the domain stays pinned")
    func idle() async throws {
        try await SocketWorld.run(policy: Self.policy { $0.idle = 600 }) { world in
            let store = try await world.loggedIn()
            for _ in 0..<3 {
                world.clock.advance(seconds: 590)
                try await world.withClient(store) { _ in }
            }
            // A long command is use to its end.
            try await world.withClient(store) { _ in world.clock.advance(seconds: 590) }
            world.clock.advance(seconds: 590)
            try await world.withClient(store) { client in _ = try await client.spaces.create(name: "Kept", with: []) }
            let before = try store.current()
            #expect(before.session != nil && !before.spaces.isEmpty)
            #expect(!before.keys.isEmpty || !before.unboundKeys.isEmpty)
            world.clock.advance(seconds: 601)
            #expect(await Self.code { try await world.withClient(store) { _ in } } == .notLoggedIn)
            let left = try world.store().current()
            #expect(left.tokens == nil && left.session == nil && left.spaces.isEmpty)
            #expect(left.keys.isEmpty && left.unboundKeys.isEmpty)
            #expect(left.profile != nil && left.account?.email == SocketWorld.email)
            _ = try await world.loggedIn()
            try await world.withClient(store) { _ in }
        }
    }

    @Test("A clock that was set back makes no login longer", arguments: [-601, 601] as [Int64])
    func clocks(_ seconds: Int64) throws {
        var policy = ClientPolicy()
        policy.idle = 600
        let now = Timestamp.now()
        #expect(policy.isOver(lastUsed: now.adding(seconds: seconds), now: now))
        #expect(!policy.isOver(lastUsed: now.adding(seconds: seconds / 601 * 599), now: now))
        policy.idle = nil
        #expect(!policy.isOver(lastUsed: now.adding(seconds: seconds * 1000), now: now))
    }

    @Test("Files: what may not be sent does not leave, what may not be saved is not there")
    func files() async throws {
        try await SocketWorld.run(policy: Self.policy { $0.allowsUploads = false }) { world in
            let store = try await world.loggedIn()
            let file = world.folder.path + "/report.txt"
            try "figures".write(toFile: file, atomically: true, encoding: .utf8)
            try await world.withClient(store) { client in
                let space = try await client.spaces.create(name: "Files", with: [])
                let sent = world.core.count("PUT /") + world.core.count("POST /")
                let refused = await Self.code {
                    _ = try await client.spaces.sendFile(file, to: space) { _, _, _ in }
                }
                #expect(refused == .clientPolicy)
                #expect(world.core.count("PUT /") + world.core.count("POST /") == sent)
                try store.update { state in
                    state.policy?.allowsUploads = true
                    state.policy?.allowsDownloads = false
                }
                _ = try await client.spaces.sendFile(file, to: space) { _, _, _ in }
                let found = try await client.spaces.findFile("report.txt", in: space)
                let target = world.folder.path + "/saved.txt"
                let kept = await Self.code {
                    _ = try await client.spaces.fetch(found, to: target, overwriting: false) { _, _, _ in }
                }
                #expect(kept == .clientPolicy && !FileManager.default.fileExists(atPath: target))
                #expect(await Self.code { _ = try await client.spaces.preview(of: 1, in: space) } == .clientPolicy)
                try store.update { $0.policy = nil }
                _ = try await client.spaces.fetch(found, to: target, overwriting: false) { _, _, _ in }
                #expect(try String(contentsOfFile: target, encoding: .utf8) == "figures")
            }
        }
    }

    @Test("People of other organisations are not added where the domain says so, by their address")
    func externals() async throws {
        try await SocketWorld.run(policy: Self.policy { $0.allowsExternals = false }) { world in
            let store = try await world.loggedIn()
            _ = try await world.loggedIn("of Bob", email: "bob@example.com")
            try await world.withClient(store) { client in
                for address in ["eve@other.example", "eve@example.com.other.example", "eve@sub.example.com"] {
                    #expect(try await client.spaces.isExternal(address))
                    #expect(await Self.code { try await client.spaces.checkExternal(address) } == .clientPolicy)
                }
                #expect(try await !client.spaces.isExternal("Bob@EXAMPLE.com"))
                _ = try await client.spaces.create(name: "Own", with: ["bob@example.com"])
                try store.update { $0.policy?.allowsExternals = true }
                try await client.spaces.checkExternal("eve@other.example")
            }
        }
    }

    @Test("Read strictly: a wrong type or bound is refused and named, what is unknown is left alone")
    func form() throws {
        func read(_ text: String) throws -> ClientPolicy { try ClientPolicy(JSONDocument(text: text).root) }
        #expect(try read("{}") == ClientPolicy() && ClientPolicy().demands.isEmpty)
        #expect(try read(#"{"a later rule": 1}"#) == ClientPolicy())
        for (text, name) in [
            ("[]", "client_policy"), (#"{"passphrase": 1}"#, "passphrase"), (#"{"uploads": "no"}"#, "uploads"),
            (#"{"downloads": null}"#, "downloads"), (#"{"idle_seconds": 59}"#, "idle_seconds"),
            (#"{"externals": 0}"#, "externals"),
            (#"{"idle_seconds": 31536001}"#, "idle_seconds"), (#"{"idle_seconds": "600"}"#, "idle_seconds"),
        ] {
            let error = #expect(throws: DiagnosedError.self) { try read(text) }
            #expect(error?.summary.contains(name) == true, "\(text)")
        }
        let whole = try read(
            #"{"passphrase": true, "idle_seconds": 90, "uploads": false, "downloads": false, "externals": false}"#)
        #expect(whole.demands.count == 5 && whole.demands[1].contains("90 s"))
        var json = JSONWriter()
        whole.write(to: &json)
        #expect(try read(json.text()) == whole)
    }
}

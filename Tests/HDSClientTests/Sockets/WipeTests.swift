import CoreLink
import Diagnostics
import DirectoryModel
import HTTPClient
import LinkProtocol
import Testing
import TestServers
import TokenIssuer
import WireText

@testable import HDSClient

/// A client that is told to erase what it keeps: by its authorization service, at once when the core brings the word.
@Suite("Wiping this device", .timeLimit(.minutes(2)))
struct WipeTests {
    /// What is left of a folder but for locks.
    private static func names(_ store: StateStore) -> [String] {
        TemporaryFolder(keeping: store.folder).names.filter { !$0.hasSuffix(".lock") }.sorted()
    }

    private static func orders(_ world: SocketWorld) async throws -> [WipeOrder] {
        try await world.accounts.grants.wipes(of: TestKMS.user)
    }

    @Test("A refusal with the order erases keys, spaces and login, and tells that it is done; a new login begins anew")
    func refused() async throws {
        try await SocketWorld.run { world in
            let store = try await world.loggedIn()
            let key = try TemporaryFolder(keeping: store.folder).bytes("device.key")
            _ = try await world.accounts.wipe(TestKMS.user, by: "operator:0")
            world.clock.advance(seconds: 3600)
            let other = try world.store()
            let error = await diagnosis {
                try await world.withClient(store) { client in _ = try await client.spaces.all() }
            }
            #expect(error?.code == .deviceWiped && error?.hint?.contains("hds login") == true)
            #expect(Self.names(store) == ["wiped"])
            let mark = try #require(try WipeMark.read(store.folder))
            #expect(mark.isErased && mark.receipt == nil)
            #expect(try await Self.orders(world).allSatisfy { $0.told != nil && $0.done != nil })
            // This process, another one and the next one know nothing any more.
            for known in [store, other] { #expect(await diagnosis { _ = try known.current() }?.code == .deviceWiped) }
            #expect(await diagnosis { try await world.withClient(try world.store()) { _ in } }?.code == .deviceWiped)
            #expect(try world.store().current().keys.isEmpty)
            let lines = ClientStatus(ClientState(), isProtected: false, folder: store.folder).lines(
                now: world.clock.now)
            #expect(lines.contains { $0.label == "wiped" })

            let again = try await world.loggedIn()
            #expect(try TemporaryFolder(keeping: again.folder).bytes("device.key") != key)
            #expect(try WipeMark.read(again.folder) == nil)
            try await world.withClient(again) { client in _ = try await client.spaces.all() }
        }
    }

    @Test("Who is cut off and connected is wiped at the word of the core, which nobody but a KMS may have it say")
    func word() async throws {
        try await SocketWorld.run { world in
            let store = try await world.loggedIn()
            try await world.withClient(store) { client in
                var signals = try await client.changes(in: "none").makeAsyncIterator()
                // The core alone can not: the service, when asked, gives tokens and no order.
                func say() async -> LinkCallOutcome {
                    await world.kmsLink.call(
                        "clients://core", text: Array(#"{"word":"wipe","userId":"\#(TestKMS.user)"}"#.utf8),
                        within: .seconds(30))
                }
                let before = try store.current().tokens?.cloud.reveal { $0 }
                #expect(await say() == .answered(Array(#"{"status":200}"#.utf8)))
                // It asked, and got tokens.
                while try store.current().tokens?.cloud.reveal({ $0 }) == before { _ = await signals.next() }
                #expect(try WipeMark.read(store.folder) == nil)

                _ = try await world.accounts.cutOff(
                    TestKMS.user, authority: .operators, by: "operator:0", reason: "left")
                #expect(await say() == .answered(Array(#"{"status":200}"#.utf8)))
                while try WipeMark.read(store.folder)?.receipt != nil || (try WipeMark.read(store.folder)) == nil {
                    _ = await signals.next()
                }
                #expect(Self.names(store) == ["wiped"])
                #expect(await diagnosis { _ = try await client.spaces.all() }?.code == .deviceWiped)
            }
            #expect(try await Self.orders(world).allSatisfy { $0.done != nil })
            for text in [
                "{}", #"{"word":"hello","userId":"\#(TestKMS.user)"}"#, #"{"word":"wipe","userId":"alice"}"#, "[",
            ] {
                guard
                    case .answered(let answer) = await world.kmsLink.call(
                        "clients://core", text: Array(text.utf8), within: .seconds(30))
                else {
                    Issue.record("no answer to \(text)")
                    continue
                }
                #expect(try JSONDocument(answer).root["status"]?.integer == 400)
            }
        }
    }

    @Test("A core that says it without end makes a client ask three times in a minute")
    func insistence() async throws {
        try await SocketWorld.run { world in
            let store = try await world.loggedIn()
            let web = try world.profile().issuerTrust.webClient(for: world.issuer.url)
            let source = TokenSource(
                store: store,
                authorization: AuthorizationClient(
                    web: web, issuer: world.issuer.url, clientID: "hds-cli", now: world.environment.now),
                now: world.environment.now, sleep: .real)
            let before = world.issuer.count("POST /token ")
            for _ in 0..<10 { await source.askForOrders() }
            #expect(world.issuer.count("POST /token ") == before + 3)
            world.clock.advance(seconds: 60)
            for _ in 0..<10 { await source.askForOrders() }
            #expect(world.issuer.count("POST /token ") == before + 6)
            await web.close()
        }
    }

    @Test("An erasure that was interrupted goes on, and what could not be told is told by the next command")
    func interrupted() async throws {
        try await SocketWorld.run { world in
            let store = try await world.loggedIn()
            let state = try store.current()
            _ = try await world.accounts.wipe(TestKMS.user, by: "operator:0")
            var mark = WipeMark(wiped: world.clock.now)
            mark.receipt = .init(profile: try #require(state.profile), token: try #require(state.tokens?.refresh))
            try mark.write(store.folder)
            // The process ended here. Nothing is told before it is erased.
            await WipeMark.settle(store.folder, now: world.environment.now)
            #expect(try await Self.orders(world).allSatisfy { $0.done == nil })
            let next = try world.store()
            #expect(Self.names(next) == ["device.key", "wiped"], "a new key, of nothing")
            #expect(try next.current().tokens == nil)
            world.issuer.expect("POST /wiped", .status(503))
            #expect(await diagnosis { try await world.withClient(next) { _ in } }?.code == .deviceWiped)
            #expect(try WipeMark.read(next.folder)?.receipt != nil)
            #expect(await diagnosis { try await world.withClient(next) { _ in } }?.code == .deviceWiped)
            #expect(try await Self.orders(world).allSatisfy { $0.done != nil })
            #expect(try WipeMark.read(next.folder)?.receipt == nil)
            // A mark that is damaged means that nothing is kept.
            try SafeFile.replace(next.folder + "/wiped", with: Array("{".utf8))
            _ = try world.store()
            #expect(try WipeMark.read(next.folder)?.isErased == true)
        }
    }
}

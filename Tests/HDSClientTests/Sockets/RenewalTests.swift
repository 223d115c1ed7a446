import Diagnostics
import HTTPClient
import Testing
import WireText

@testable import HDSClient

@Suite("Renewing tokens over TLS", .timeLimit(.minutes(2)))
struct RenewalTests {
    private static let refreshing = "POST /token "

    /// The tokens of a state as one process has them.
    private struct Process {
        let store: StateStore
        let source: TokenSource
        let web: WebClient

        /// - Parameter sleep: real where a lock of another process is waited for.
        init(_ world: SocketWorld, sleep: Sleep = .real) throws {
            store = try world.store()
            web = try world.profile().issuerTrust.webClient(for: world.issuer.url)
            let now = world.environment.now
            source = TokenSource(
                store: store,
                authorization: AuthorizationClient(web: web, issuer: world.issuer.url, clientID: "hds-cli", now: now),
                now: now, sleep: sleep)
        }
    }

    /// Somebody has logged in, an hour ago.
    private static func run(_ body: (SocketWorld, Process) async throws -> Void) async throws {
        try await SocketWorld.run { world in
            _ = try await world.loggedIn()
            world.clock.advance(seconds: 3600)
            let process = try Process(world)
            do {
                try await body(world, process)
            } catch {
                await process.web.close()
                throw error
            }
            await process.web.close()
        }
    }

    private func cloudToken(_ store: StateStore) throws -> String? { try store.current().tokens?.cloud.reveal { $0 } }

    @Test("Fresh tokens are given without asking; stale ones are renewed once for forty callers at once")
    func manyCallers() async throws {
        try await SocketWorld.run { world in
            _ = try await world.loggedIn()
            let process = try Process(world)
            let old = try await process.source.tokens().cloud.reveal { $0 }
            world.clock.advance(seconds: 3600 - Tokens.margin - 1)
            #expect(try await process.source.tokens().cloud.reveal { $0 } == old)
            #expect(world.issuer.count(Self.refreshing) == 1, "only that of the login")
            world.clock.advance(seconds: 1)
            let source = process.source
            let given = try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<40 { group.addTask { try await source.tokens().cloud.reveal { $0 } } }
                return try await group.reduce(into: Set<String>()) { $0.insert($1) }
            }
            #expect(given.count == 1 && !given.contains(old))
            #expect(world.issuer.count(Self.refreshing) == 2)
            #expect(world.issuer.hasHeard("grant_type=refresh_token"))
            await process.web.close()
        }
    }

    @Test("Processes of one state renew once, and the refresh token is never used twice")
    func manyProcesses() async throws {
        try await Self.run { world, first in
            let others = try (0..<5).map { _ in try Process(world) }
            let sources = ([first] + others).map(\.source)
            let given = try await withThrowingTaskGroup(of: String.self) { group in
                for source in sources { group.addTask { try await source.tokens().cloud.reveal { $0 } } }
                return try await group.reduce(into: Set<String>()) { $0.insert($1) }
            }
            #expect(given.count == 1)
            #expect(world.issuer.count(Self.refreshing) == 2)
            for other in others { await other.web.close() }
        }
    }

    @Test("The new tokens are on the disk, sealed, before they are used")
    func persisted() async throws {
        try await Self.run { world, process in
            let tokens = try await process.source.tokens()
            let kept = try #require(try world.store().current().tokens)
            #expect(kept.cloud.reveal { $0 } == tokens.cloud.reveal { $0 })
            #expect(kept.kms.reveal { $0 } == tokens.kms.reveal { $0 })
            #expect(kept.refresh?.reveal { $0 } == tokens.refresh?.reveal { $0 })
            #expect(kept.expires == world.clock.now.adding(seconds: 3600))
            let secrets = [tokens.cloud, tokens.kms, try #require(tokens.refresh)].map { $0.reveal { $0 } }
            var places = 0
            let home = TemporaryFolder(keeping: process.store.folder)
            for file in home.names where !file.hasSuffix(".lock") {
                places += 1
                let bytes = try home.bytes(file)
                for secret in secrets { #expect(bytes.firstRange(of: Array(secret.utf8)) == nil, "\(file)") }
                if file.hasPrefix("state-") { #expect(bytes.starts(with: Array("HDS-STATE-1".utf8))) }
            }
            #expect(places >= 2, "the search sees the state and its key")
        }
    }

    @Test("A refresh token that is refused ends the login, keeps who it was, and says how to log in again")
    func refused() async throws {
        try await Self.run { world, process in
            let refresh = try #require(try process.store.current().tokens?.refresh)
            let client = AuthorizationClient(
                web: process.web, issuer: world.issuer.url, clientID: "hds-cli", now: world.environment.now)
            try await client.revoke(refresh, try await client.server())
            for _ in 0..<2 {
                let error = await diagnosis { _ = try await process.source.tokens() }
                #expect(error?.code == .notLoggedIn)
                #expect(error?.hint == "run 'hds login EMAIL'")
            }
            #expect(world.issuer.count(Self.refreshing) == 2, "what was refused is not sent again")
            let state = try world.store().current()
            #expect(state.tokens == nil && state.account?.email == SocketWorld.email)
            let status = ClientStatus(state, isProtected: false, folder: "").lines(now: world.clock.now)
            #expect(status.first?.value == "no more: log in again as alice@example.com")
            _ = try await world.loggedIn()
            #expect(try await process.source.tokens().isFresh(at: world.clock.now))
        }
    }

    @Test("An authorization service that can not answer now, or answers as none would, does not end the login")
    func passingFailures() async throws {
        try await Self.run { world, process in
            let old = try cloudToken(process.store)
            let failures: [Middleman.Treatment] = [
                .status(500), .status(503, #"{"error":"temporarily_unavailable"}"#), .status(429), .loseRequest,
                .status(404, #"{"message":"not found","errors":[],"trackingId":"t"}"#), .status(400, "<html>"),
                .status(403, #"{"message":"a proxy says no"}"#), .status(302, "", headers: ["Location: /elsewhere"]),
                .status(200, "{}"), .status(400, #"{"error":7}"#),
            ]
            for (index, failure) in failures.enumerated() {
                world.issuer.expect(Self.refreshing, failure)
                // What brings no answer is asked once more.
                if index == 3 { world.issuer.expect(Self.refreshing, failure) }
                let error = await diagnosis { _ = try await process.source.tokens() }
                #expect(error?.code == .cloudUnavailable || error?.code == .tokenRefused, "failure \(index)")
                #expect(error?.hint != nil, "failure \(index)")
                #expect(try cloudToken(process.store) == old, "failure \(index) ended the login")
            }
            #expect(world.issuer.isDone)
            #expect(try await process.source.tokens().cloud.reveal { $0 } != old)
        }
    }

    @Test("Tokens of another user are refused and not kept")
    func anotherUser() async throws {
        try await Self.run { world, process in
            let old = try cloudToken(process.store)
            let answer = """
                {"access_token":"a","kms_access_token":"b","token_type":"Bearer","expires_in":3600,"refresh_token":"c",
                "user":{"id":"\(UUIDText.random())","email":"alice@example.com","name":"Alice"}}
                """
            world.issuer.expect(Self.refreshing, .status(200, answer))
            let error = await diagnosis { _ = try await process.source.tokens() }
            #expect(error?.code == .tokenRefused && error?.hint == "log in again")
            #expect(try cloudToken(process.store) == old)
        }
    }

    @Test("An answer that was lost is asked for again and ends no login, at once or at the next try within the grace")
    func lostAnswer() async throws {
        try await Self.run { world, process in
            let old = try cloudToken(process.store)
            world.issuer.expect(Self.refreshing, .loseAnswer)
            #expect(try await process.source.tokens().cloud.reveal { $0 } != old)
            #expect(world.issuer.count(Self.refreshing) == 3)
            world.clock.advance(seconds: 3600)
            for _ in 0..<2 { world.issuer.expect(Self.refreshing, .loseAnswer) }
            let lost = await diagnosis { _ = try await process.source.tokens() }
            #expect(lost?.code == .cloudUnavailable && lost?.hint?.contains("try again") == true)
            world.clock.advance(seconds: 50)
            #expect(try await process.source.tokens().isFresh(at: world.clock.now))
            // Nobody took the grace for theft: the login goes on.
            world.clock.advance(seconds: 3600)
            #expect(try await process.source.tokens().isFresh(at: world.clock.now))
        }
    }

    @Test("An answer that was lost for longer than the grace costs the login: the next try says to log in again")
    func lostForLong() async throws {
        try await Self.run { world, process in
            for _ in 0..<2 { world.issuer.expect(Self.refreshing, .loseAnswer) }
            _ = await diagnosis { _ = try await process.source.tokens() }
            world.clock.advance(seconds: 61)
            let error = await diagnosis { _ = try await process.source.tokens() }
            #expect(error?.code == .notLoggedIn && error?.hint == "run 'hds login EMAIL'")
        }
    }

    // MARK: - For the core

    @Test("A token that the core refuses is renewed once and the request sent again, also for many at once")
    func refusedByCore() async throws {
        try await SocketWorld.run { world in
            try await world.withClient(world.loggedIn()) { client in
                world.core.expect("GET /conversations ", .status(401))
                #expect(try await client.spaces.all().isEmpty)
                #expect(world.issuer.count(Self.refreshing) == 2)
                #expect(world.core.count("GET /conversations ") == 2)

                let second = try #require(try cloudToken(world.store()))
                world.core.refuse(token: second)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<8 { group.addTask { _ = try await client.cloud.conversations() } }
                    try await group.waitForAll()
                }
                #expect(try cloudToken(world.store()) != second)
                #expect(world.issuer.count(Self.refreshing) == 3)
            }
        }
    }

    @Test("A core that refuses each token costs one renewal and an error that says to log in again")
    func refusedAlways() async throws {
        try await SocketWorld.run { world in
            try await world.withClient(world.loggedIn()) { client in
                for _ in 0..<4 { world.core.expect("GET /conversations ", .status(401)) }
                let error = await diagnosis { _ = try await client.spaces.all() }
                #expect(error?.code == .notLoggedIn && error?.hint == "log in again")
                #expect(world.core.count("GET /conversations ") == 2)
                #expect(world.issuer.count(Self.refreshing) == 2)
            }
        }
    }
}

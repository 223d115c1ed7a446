import CoreLink
import Cryptography
import Diagnostics
import HTTPClient
import LinkProtocol
import Synchronization
import TLSChannel
import TestServers
import Testing
import WebSocketChannel
import WireText

/// The device of these tests opens TLS with certificates of its own authority, as one in a customer's network does.
@Suite("A link whose TLS is inspected")
struct InspectedLinkTests {
    /// The time, as a test sets it.
    private final class Clock: Sendable {
        private let state: Mutex<Timestamp>
        init(_ now: Timestamp) { state = Mutex(now) }
        var now: Timestamp { state.withLock { $0 } }
        func set(_ time: Timestamp) { state.withLock { $0 = time } }
    }

    private static let end = Timestamp(iso8601: "2027-03-31T00:00:00Z")!
    private let key: PrivateKey
    private let clock = Clock(Self.end.adding(seconds: -3600))

    init() throws { key = try PrivateKey.generateP256() }

    private func device(before core: ScriptedCore) async throws -> FaultRelay {
        let pki = try TestPKI.shared.get()
        return try await FaultRelay(
            to: core.port,
            tls: (
                try .server(identity: pki.auth, applicationProtocols: ["http/1.1"]),
                try .client(trust: TLSTrust(roots: [pki.coreRoot]), applicationProtocols: ["http/1.1"])
            ))
    }

    private func trust() throws -> TLSTrust {
        let pki = try TestPKI.shared.get()
        var trust = try ScriptedCore.trust(
            pins: [try #require(SPKIPin(digest: pki.core.certificateChain[0].spkiSHA256))])
        let clock = clock
        trust.inspection = TLSInspection(
            name: "the gate", authorities: [pki.customerRoot], until: Self.end, now: { clock.now })
        return trust
    }

    private func sign(_ key: PrivateKey) -> (LinkHello, LinkWelcome) throws -> [UInt8]? {
        { hello, welcome in try key.sign(try #require(welcome.signedOctets(for: hello)), algorithm: .es256) }
    }

    private func run(_ body: (ScriptedCore, FaultRelay) async throws -> Void) async throws {
        try await ScriptedCore.run { core in
            let device = try await device(before: core)
            do {
                try await body(core, device)
            } catch {
                await device.close()
                throw error
            }
            await device.close()
        }
    }

    @Test("without an exception the link is closed before a request leaves, and the device's authority is named")
    func detected() async throws {
        try await run { core, device in
            let pki = try TestPKI.shared.get()
            let service = try TestLink(port: device.port)
            let state = try await service.wait { $0.phase == .waiting }
            let error = try #require(state.lastError)
            #expect(error.code == .tlsUntrusted && error.summary.contains("/O=Throw-away customer/CN="))
            let pin = try #require(SPKIPin(digest: pki.auth.certificateChain[0].spkiSHA256))
            #expect(error.found?.contains(pin.text) == true)
            #expect(core.requests == 0)
            await service.stop()
        }
    }

    @Test("under the exception a core that signs its welcome is taken, and the state says who inspects")
    func proven() async throws {
        try await run { core, device in
            let service = try TestLink(port: device.port, trust: trust(), coreKey: key.publicKey)
            let peer = try await core.next()
            try await peer.welcome(sign: sign(key))
            let state = try await service.wait { $0.phase == .open }
            #expect(state.tls?.inspection == .init(name: "the gate", until: Self.end))
            try await peer.deliver(1, "q")
            service.link.answer(try await service.delivery(), text: [1])
            #expect(try await peer.next() == .answer(id: 1, text: [1]))
            await service.stop()
        }
    }

    @Test("a welcome without a signature, by another key, over another nonce or over other promises is none")
    func unproven() async throws {
        let other = try PrivateKey.generateP256()
        let key = key
        let cases: [(String, @Sendable (LinkHello, LinkWelcome) throws -> [UInt8]?)] = [
            ("no signature", { _, _ in nil }),
            (
                "another key",
                { try other.sign(try #require($1.signedOctets(for: $0)), algorithm: .es256) }
            ),
            (
                "another nonce",
                { hello, welcome in
                    var older = hello
                    older.nonce = [UInt8](repeating: 7, count: 32)
                    return try key.sign(try #require(welcome.signedOctets(for: older)), algorithm: .es256)
                }
            ),
            (
                "another destination",
                { hello, welcome in
                    var foreign = hello
                    foreign.destination = "kms://other.example"
                    return try key.sign(try #require(welcome.signedOctets(for: foreign)), algorithm: .es256)
                }
            ),
            (
                "other promises",
                { hello, welcome in
                    var other = welcome
                    other.credit += 1
                    return try key.sign(try #require(other.signedOctets(for: hello)), algorithm: .es256)
                }
            ),
        ]
        try await run { core, device in
            for (name, sign) in cases {
                let service = try TestLink(port: device.port, trust: trust(), coreKey: key.publicKey)
                let peer = try await core.next()
                let hello = try await peer.hello()
                var welcome = LinkWelcome(connection: "c", heartbeatSeconds: 5, credit: 10, serverTime: .now())
                welcome.signature = try sign(hello, welcome)
                try await peer.send(.welcome(welcome))
                let state = try await service.wait { $0.phase == .waiting }
                #expect(state.lastError?.code == .linkUnproven, "\(name)")
                #expect(state.lastError?.summary.contains("the gate") == true)
                #expect(await peer.closeCode() == LinkCloseCode.protocolViolated.rawValue, "\(name)")
                #expect(state.tls == nil)
                await service.stop()
            }
        }
    }

    @Test("an open link ends with the exception, and is not opened again under it")
    func over() async throws {
        clock.set(Self.end.adding(milliseconds: -300))
        try await run { core, device in
            let service = try TestLink(port: device.port, trust: trust(), coreKey: key.publicKey)
            let peer = try await core.next()
            try await peer.welcome(sign: sign(key))
            try await service.wait { $0.phase == .open }
            clock.set(Self.end)
            let ended = try await service.wait { $0.phase == .waiting }
            #expect(ended.lastError?.code == .tlsInspectionOver)
            await service.stop()
            let requests = core.requests
            let again = try TestLink(port: device.port, trust: trust(), coreKey: key.publicKey)
            let refused = try await again.wait { $0.phase == .waiting }
            #expect(refused.lastError?.code == .tlsInspectionOver && core.requests == requests)
            await again.stop()
        }
    }

    @Test("a link that nobody inspects takes a core of any release: no signature is asked for, and none disturbs")
    func direct() async throws {
        try await ScriptedCore.run { core in
            for signs in [false, true] {
                let service = try TestLink(port: core.port, trust: trust(), coreKey: key.publicKey)
                let peer = try await core.next()
                try await peer.welcome(sign: { signs ? try sign(key)($0, $1) : nil })
                let state = try await service.wait { $0.phase == .open }
                #expect(state.tls?.inspection == nil && state.tls?.matchedPins.count == 1)
                await service.stop()
            }
        }
    }

    @Test("both ends of a link know the same exporter value, and through a device they do not")
    func binding() async throws {
        try await run { core, device in
            let direct = try TestLink(port: core.port)
            let peer = try await core.next()
            try await peer.welcome()
            let open = try await direct.wait { $0.phase == .open }
            let value = try #require(open.tls?.channelBinding)
            #expect(peer.socket.tls?.channelBinding == value)
            await direct.stop()

            let inspected = try TestLink(port: device.port, trust: trust(), coreKey: key.publicKey)
            let far = try await core.next()
            try await far.welcome(sign: sign(key))
            let state = try await inspected.wait { $0.phase == .open }
            let near = try #require(state.tls?.channelBinding)
            #expect(far.socket.tls?.channelBinding != nil && far.socket.tls?.channelBinding != near && near != value)
            await inspected.stop()
        }
    }
}

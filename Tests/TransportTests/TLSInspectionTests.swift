import Diagnostics
import NIOCore
import NIOPosix
import Synchronization
import TLSChannel
import Testing
import WireText

@Suite("TLS that is inspected, and the binding to one connection")
struct TLSInspectionTests {
    let pki: TestPKI

    init() throws { pki = try TestPKI.shared.get() }

    private static let end = Timestamp(iso8601: "2027-03-31T00:00:00Z")!

    private func trust(now: Timestamp, pins: [String] = ["server"]) throws -> TLSTrust {
        var trust = try pki.trust(pins: pins, requirePathLengthZero: true)
        trust.inspection = TLSInspection(
            name: "the gate", authorities: [try pki.certificate("stranger")], until: Self.end, now: { now })
        return trust
    }

    private func session(
        _ identity: TLSServerIdentity, _ trust: TLSTrust
    ) async throws -> Result<TLSSession, DiagnosedError> {
        let listener = try await Listener.tls(.server(identity: identity)) { [EchoHandler()] }
        let wire = try await Wire.tls(to: listener.port, .client(trust: trust))
        let error = await wire.handshakeError()
        defer { Task { await listener.close() } }
        if let error { return .failure(error) }
        let session = try #require(try await wire.handshake?.get())
        try await wire.channel.close()
        return .success(session)
    }

    @Test("an unknown authority is named with the key that was seen, so that its owner can be asked")
    func named() async throws {
        let outcome = try await session(pki.identity("stranger-server"), pki.trust(pins: ["server"]))
        guard case .failure(let error) = outcome else { return #expect(Bool(false), "taken") }
        #expect(error.code == .tlsUntrusted && error.code.isIdentityFault)
        #expect(error.summary.hasSuffix("an authority that is not configured: /CN=stranger"))
        let pin = try pki.pin("stranger-server")
        #expect(error.found?.contains(pin.text) == true)
        #expect(error.found?.contains("/CN=stranger-server") == true && error.hint?.contains("inspects TLS") == true)
    }

    @Test(
        "under the exception the device is taken and the session says so; the server itself is still judged by its pins"
    )
    func exception() async throws {
        let now = Self.end.adding(seconds: -1)
        let inspected = try await session(pki.identity("stranger-server"), trust(now: now)).get()
        #expect(inspected.inspection == .init(name: "the gate", until: Self.end) && inspected.matchedPins.isEmpty)
        let direct = try await session(pki.identity("server", "issuing"), trust(now: now)).get()
        let pin = try pki.pin("server")
        #expect(direct.inspection == nil && direct.matchedPins == [pin])
        // The exception lends nothing to certificates of the server's own authority.
        let foreign = try await session(pki.identity("loose-server", "loose"), trust(now: now))
        #expect(throws: DiagnosedError(.tlsPinMismatch, fault: .peer, "")) { try foreign.get() }
        let loose = try await session(pki.identity("loose-server", "loose"), trust(now: now, pins: []))
        #expect(throws: DiagnosedError(.tlsPathLength, fault: .peer, "")) { try loose.get() }
    }

    @Test("the exception ends at its end, and is for the name and dates that any certificate needs")
    func over() async throws {
        let outcome = try await session(pki.identity("stranger-server"), trust(now: Self.end))
        guard case .failure(let error) = outcome else { return #expect(Bool(false), "taken") }
        #expect(error.code == .tlsInspectionOver && error.code.isIdentityFault && error.summary.contains("the gate"))
        let listener = try await Listener.tls(.server(identity: pki.identity("stranger-server"))) { [EchoHandler()] }
        let wire = try await Wire.tls(
            to: listener.port, .client(trust: trust(now: Self.end.adding(seconds: -1))), name: "core.example")
        #expect(await wire.handshakeError()?.code == .tlsNameMismatch)
        await listener.close()
    }

    @Test("one authority can not be both the server's and the device's")
    func both() throws {
        var trust = try pki.trust()
        trust.inspection = TLSInspection(name: "x", authorities: trust.roots, until: Self.end)
        #expect(throws: DiagnosedError(.tlsConfiguration, fault: .configuration, "")) {
            try TLSConfiguration.client(trust: trust)
        }
    }

    @Test("the pins that stand on the path are told, the backup too")
    func pins() async throws {
        let identity = try pki.identity("server", "issuing")
        let backup = try await session(identity, pki.trust(pins: ["other", "server"])).get()
        #expect(backup.matchedPins == [try pki.pin("server")])
        let two = try await session(identity, pki.trust(pins: ["server", "issuing"])).get()
        #expect(try Set(two.matchedPins) == [pki.pin("server"), pki.pin("issuing")])
    }

    /// The sessions of both ends of one connection.
    private func ends(_ version: TLSVersion) async throws -> (client: TLSSession, server: TLSSession) {
        let serverConfiguration = try TLSConfiguration.server(
            identity: pki.identity("server", "issuing"), maximumVersion: version)
        let seen = Awaited<TLSSession>()
        let listener = try await Listener { channel in
            let promise = channel.eventLoop.makePromise(of: TLSSession.self)
            promise.futureResult.whenSuccess { seen.set($0) }
            try channel.pipeline.syncOperations.addHandler(
                TLSChannelHandler(serverConfiguration, handshake: promise, handshakeDeadline: .minutes(5)))
            try channel.pipeline.syncOperations.addHandler(EchoHandler())
        }
        let wire = try await Wire.tls(to: listener.port, .client(trust: pki.trust()))
        let client = try #require(try await wire.handshake?.get())
        let server = await seen.value
        try await wire.channel.close()
        await listener.close()
        return (client, server)
    }

    @Test(
        "both ends of a connection have the same exporter value, and no two connections",
        arguments: [
            TLSVersion.tls12, .tls13,
        ])
    func binding(version: TLSVersion) async throws {
        let first = try await ends(version)
        let second = try await ends(version)
        let value = try #require(first.client.channelBinding)
        #expect(value.octets.count == 32 && value == first.server.channelBinding)
        #expect(second.client.channelBinding == second.server.channelBinding)
        #expect(second.client.channelBinding != value)
        #expect("\(value)" == "[channel binding]" && !"\(first.client)".contains("octets"))
    }
}

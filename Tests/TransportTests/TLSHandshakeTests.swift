import Cryptography
import Diagnostics
import NIOCore
import TLSChannel
import Testing

@Suite("TLS handshake and server identity")
struct TLSHandshakeTests {
    let pki: TestPKI

    init() throws { pki = try TestPKI.shared.get() }

    private func outcome(
        of identity: TLSServerIdentity, judgedBy trust: TLSTrust, name: String = "localhost"
    ) async throws -> DiagnosedError? {
        let listener = try await Listener.tls(.server(identity: identity)) { [EchoHandler()] }
        let wire = try await Wire.tls(to: listener.port, .client(trust: trust), name: name)
        let error = await wire.handshakeError()
        if error == nil {
            try await wire.send("hello")
            #expect(await wire.collector.bytes(atLeast: 5) == Array("hello".utf8))
            try await wire.channel.close()
        } else {
            // Never a fall back: the connection is closed, and the handlers above hear the same error.
            try await wire.closed()
            #expect(wire.collector.errors.compactMap { $0 as? DiagnosedError } == error.map { [$0] })
            #expect(await wire.collector.end().isEmpty)
        }
        await listener.close()
        return error
    }

    @Test("Octets pass both ways", arguments: [(TLSVersion.tls12, "TLSv1.2"), (.tls13, "TLSv1.3")])
    func versions(version: TLSVersion, name: String) async throws {
        let server = try TLSConfiguration.server(
            identity: pki.identity("server", "issuing"), applicationProtocols: ["http/1.1"], maximumVersion: version)
        let client = try TLSConfiguration.client(
            trust: pki.trust(), applicationProtocols: ["h2", "http/1.1"], maximumVersion: .tls13)
        let listener = try await Listener.tls(server) { [EchoHandler()] }
        let wire = try await Wire.tls(to: listener.port, client)
        let session = try #require(try await wire.handshake?.get())
        #expect(session.version == name)
        #expect(session.applicationProtocol == "http/1.1")
        #expect(session.cipherSuite.contains("GCM") || session.cipherSuite.contains("CHACHA20"))
        // Post-quantum where OpenSSL has it (3.5); TLS 1.2 knows only the classical groups.
        let isHybrid = version == .tls13 && TLSConfiguration.hasHybridGroups
        #expect(session.keyExchange.lowercased() == (isHybrid ? "x25519mlkem768" : "x25519"))
        try await wire.send("hello")
        #expect(await wire.collector.bytes(atLeast: 5) == Array("hello".utf8))
        try await wire.channel.close()
        await listener.close()
    }

    @Test("A client of TLS 1.2 gets an ephemeral AEAD suite")
    func tls12Client() async throws {
        let listener = try await Listener.tls(.server(identity: pki.identity("server", "issuing"))) { [EchoHandler()] }
        let wire = try await Wire.tls(
            to: listener.port, .client(trust: pki.trust(), maximumVersion: .tls12), name: "127.0.0.1")
        let session = try #require(try await wire.handshake?.get())
        #expect(session.version == "TLSv1.2")
        #expect(session.cipherSuite.hasPrefix("ECDHE-ECDSA-AES256-GCM"))
        try await wire.channel.close()
        await listener.close()
    }

    @Test("A good server is taken by name and by address")
    func goodServer() async throws {
        let identity = try pki.identity("server", "issuing")
        #expect(try await outcome(of: identity, judgedBy: pki.trust()) == nil)
        #expect(try await outcome(of: identity, judgedBy: pki.trust(), name: "127.0.0.1") == nil)
        let strict = try pki.trust(pins: ["issuing"], requirePathLengthZero: true)
        #expect(try await outcome(of: identity, judgedBy: strict) == nil)
    }

    @Test("A path to another root is refused")
    func untrusted() async throws {
        let error = try #require(
            try await outcome(of: pki.identity("stranger-server"), judgedBy: pki.trust()))
        #expect(error.code == .tlsUntrusted)
        #expect(error.found?.contains("stranger-server") == true)
        #expect(error.found?.contains(try pki.pin("stranger-server").text) == true)
    }

    @Test("A missing intermediate is refused")
    func missingIntermediate() async throws {
        let error = try await outcome(of: pki.identity("server"), judgedBy: pki.trust())
        #expect(error?.code == .tlsUntrusted)
    }

    @Test("A certificate for another name or address is refused")
    func names() async throws {
        let other = try await outcome(of: pki.identity("other", "issuing"), judgedBy: pki.trust())
        #expect(other?.code == .tlsNameMismatch)
        #expect(other?.expected == "localhost")
        #expect(other?.found?.contains("other.example") == true)
        let address = try await outcome(of: pki.identity("server", "issuing"), judgedBy: pki.trust(), name: "127.0.0.2")
        #expect(address?.code == .tlsNameMismatch)
    }

    @Test("The common name is no name of a server")
    func commonName() async throws {
        let error = try await outcome(of: pki.identity("server", "issuing"), judgedBy: pki.trust(), name: "server")
        #expect(error?.code == .tlsNameMismatch)
    }

    @Test("An expired certificate and one of the future are refused")
    func dates() async throws {
        let expired = try await outcome(of: pki.identity("expired", "issuing"), judgedBy: pki.trust())
        #expect(expired?.code == .tlsExpired)
        let early = try await outcome(of: pki.identity("early", "issuing"), judgedBy: pki.trust())
        #expect(early?.code == .tlsNotYetValid)
    }

    @Test("Any certificate of the validated path satisfies a pin", arguments: ["server", "issuing", "root"])
    func pinOnPath(pinned: String) async throws {
        let trust = try pki.trust(pins: ["stranger", pinned])
        #expect(try await outcome(of: pki.identity("server", "issuing"), judgedBy: trust) == nil)
    }

    @Test("A wrong pin is refused, and the error shows the chain that was seen")
    func wrongPin() async throws {
        let trust = try pki.trust(pins: ["stranger"])
        let error = try #require(try await outcome(of: pki.identity("server", "issuing"), judgedBy: trust))
        #expect(error.code == .tlsPinMismatch)
        #expect(error.expected?.contains(try pki.pin("stranger").text) == true)
        for name in ["server", "issuing", "root"] {
            #expect(error.found?.contains(name) == true)
            #expect(error.found?.contains(try pki.pin(name).text) == true)
        }
    }

    @Test("A pinned certificate that is only sent beside the path does not count")
    func pinBesidePath() async throws {
        let identity = try pki.identity("server", "issuing", "stranger", "stranger-server")
        #expect(try await outcome(of: identity, judgedBy: pki.trust()) == nil)
        let error = try await outcome(of: identity, judgedBy: pki.trust(pins: ["stranger", "stranger-server"]))
        #expect(error?.code == .tlsPinMismatch)
    }

    @Test("An issuing CA without pathLenConstraint 0 is refused where it is demanded")
    func pathLength() async throws {
        let loose = try pki.identity("loose-server", "loose")
        #expect(try await outcome(of: loose, judgedBy: pki.trust()) == nil)
        let error = try #require(
            try await outcome(of: loose, judgedBy: pki.trust(requirePathLengthZero: true)))
        #expect(error.code == .tlsPathLength)
        #expect(error.found?.contains("no pathLenConstraint") == true)
        // A self-signed server in the roots has no issuing CA at all.
        let own = try TLSTrust(roots: [pki.certificate("stranger-server")], requirePathLengthZero: true)
        let selfMade = try await outcome(of: pki.identity("stranger-server"), judgedBy: own)
        #expect(selfMade?.code == .tlsPathLength)
    }

    @Test("A client without a name, without roots, and a key that does not fit are refused before any connection")
    func configuration() throws {
        let client = try TLSConfiguration.client(trust: pki.trust())
        #expect(throws: DiagnosedError.self) { try TLSChannelHandler(client) }
        #expect(throws: DiagnosedError.self) { try TLSChannelHandler(client, serverName: "a\0b") }
        let rootless = TLSTrust(roots: [])
        #expect(throws: DiagnosedError(.tlsConfiguration, fault: .configuration, "")) {
            try TLSConfiguration.client(trust: rootless)
        }
        let wrong = TLSServerIdentity(
            certificateChain: [try pki.certificate("server")], privateKey: try pki.key("other"))
        #expect(throws: DiagnosedError(.tlsConfiguration, fault: .configuration, "")) {
            try TLSConfiguration.server(identity: wrong)
        }
    }

    @Test("A pin is 32 octets of base64 behind its prefix")
    func pinText() throws {
        let pin = try pki.pin("root")
        #expect(SPKIPin(pin.text) == pin)
        for text in ["", "sha256/", "sha256/AAAA", "sha1/" + pin.text.dropFirst(7), String(pin.text.dropFirst(7))] {
            #expect(SPKIPin(text) == nil)
        }
    }
}

import CoreLink
import Diagnostics
import HTTPClient
import LinkProtocol
import Synchronization
import TLSChannel
import TestServers
import Testing
import WireText

/// Other settings for a link that stands (`CoreLink.renew`).
@Suite("Renewal of a link")
struct LinkRenewalTests {
    /// A link that is open, and the core's end of it.
    private static func open(_ core: ScriptedCore) async throws -> (service: TestLink, peer: ScriptedCore.Peer) {
        let service = try TestLink(port: core.port)
        let peer = try await core.next()
        try await peer.welcome()
        try await service.wait { $0.phase == .open }
        return (service, peer)
    }

    @Test("the new connection stands before the old one drains; what is in flight is answered")
    func makesBeforeBreak() async throws {
        try await ScriptedCore.run { core in
            let (service, first) = try await Self.open(core)
            try await first.deliver(1, "q")
            let delivery = try await service.delivery()

            let renewal = Task { try await service.link.renew(Self.settings(core.port, token: "other")) }
            let second = try await core.next()
            #expect(second.authorization == "Bearer other", "made while the first one is open")
            // The old link drains: what it has is answered.
            service.link.answer(delivery, text: [7])
            #expect(try await first.next() == .answer(id: 1, text: [7]))
            #expect(await first.closeCode() == 1001)
            try await second.welcome()
            try await renewal.value

            try await second.deliver(3, "s")
            let next = try await service.delivery()
            service.link.answer(next, text: [8])
            #expect(try await second.next() == .answer(id: 3, text: [8]))
            // The settings stay for the next link, too.
            second.close(.goingAway)
            #expect(try await core.next().authorization == "Bearer other")
            await service.stop()
        }
    }

    @Test("settings under which the core is not believed, or does not answer, are refused, and the old link goes on")
    func refusesWithoutTrust() async throws {
        try await ScriptedCore.run { core in
            let service = try TestLink(port: core.port)
            let peer = try await core.next()
            try await peer.welcome()
            try await service.wait { $0.phase == .open }
            let strange = try #require(SPKIPin(digest: [UInt8](repeating: 9, count: 32)))
            let error = await #expect(throws: DiagnosedError.self) {
                try await service.link.renew(
                    Self.settings(core.port, trust: ScriptedCore.trust(pins: [strange]), token: "other"))
            }
            #expect(error?.code.isIdentityFault == true)
            core.refuse(401)
            await #expect(throws: DiagnosedError(.linkTokenRefused, fault: .peer, "")) {
                try await service.link.renew(Self.settings(core.port, token: "wrong"))
            }
            core.refuse(nil)
            await #expect(throws: DiagnosedError(.linkNoToken, fault: .peer, "")) {
                try await service.link.renew(Self.settings(core.port, token: nil))
            }
            try await peer.deliver(1, "q")
            service.link.answer(try await service.delivery(), text: [1])
            #expect(try await peer.next() == .answer(id: 1, text: [1]))
            #expect(service.link.state.phase == .open)
            await service.stop()
        }
    }

    @Test("where the core does not welcome the new connection, the link is made again with the old settings")
    func fallsBack() async throws {
        try await ScriptedCore.run { core in
            let (service, _) = try await Self.open(core)
            let renewal = Task { try await service.link.renew(Self.settings(core.port, token: "other")) }
            let second = try await core.next()
            _ = try await second.hello()
            second.close(.notAllowed)
            await #expect(throws: DiagnosedError(.linkNotAllowed, fault: .configuration, "")) {
                try await renewal.value
            }
            let third = try await core.next()
            #expect(third.authorization == "Bearer token-2", "with the old settings again, and at once")
            try await third.welcome()
            try await service.wait { $0.phase == .open }
            await service.stop()
        }
    }

    @Test("without an open link the new settings count from the next attempt, which does not wait")
    func replacesWhatDoesNotWork() async throws {
        try await ScriptedCore.run { core in
            let strange = try #require(SPKIPin(digest: [UInt8](repeating: 9, count: 32)))
            let service = try TestLink(port: core.port, trust: ScriptedCore.trust(pins: [strange]))
            try await service.wait { $0.phase == .waiting && $0.failures > 2 }
            try await service.link.renew(Self.settings(core.port, token: "other"))
            let peer = try await core.next()
            #expect(peer.authorization == "Bearer other")
            try await peer.welcome()
            try await service.wait { $0.phase == .open }
            await service.stop()
        }
    }

    @Test("a stop during a renewal ends it")
    func stops() async throws {
        try await ScriptedCore.run { core in
            let (service, _) = try await Self.open(core)
            let renewal = Task { try await service.link.renew(Self.settings(core.port, token: "other")) }
            // Connected, and never welcomed.
            _ = try await core.next().hello()
            await service.cancel()
            await #expect(throws: DiagnosedError.self) { try await renewal.value }
        }
    }

    /// As `TestLink` has it, but for the token and the trust; without a token there is none to be had.
    private static func settings(_ port: Int, trust: TLSTrust? = nil, token: String?) throws -> CoreLinkConfiguration {
        CoreLinkConfiguration(
            url: "wss://localhost:\(port)/link/v1", trust: try trust ?? ScriptedCore.trust(), node: "n1",
            service: "kms", organisation: "acme", version: "1.2.3",
            epoch: 9, destination: "kms://kms.acme.example.com", window: 64,
            backoff: .init(shortest: .milliseconds(1), longest: .milliseconds(20)), details: { "{}" },
            token: {
                guard let token else { throw DiagnosedError(.linkNoToken, fault: .peer, "none") }
                return token
            })
    }
}

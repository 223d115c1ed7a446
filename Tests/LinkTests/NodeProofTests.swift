import CoreLink
import Cryptography
import Diagnostics
import LinkProtocol
import Synchronization
import TLSChannel
import TestServers
import Testing
import WebSocketChannel
import WireText

/// A node proves its key on real connections.
@Suite("The proof in the hello") struct NodeProofTests {
    private final class List: Sendable {
        private let text = Mutex<String?>(nil)
        var value: String? {
            get { text.withLock { $0 } }
            set { text.withLock { $0 = newValue } }
        }
    }

    private let key: PrivateKey
    private let list = List()

    init() throws { key = try .generateP256() }

    private func service(_ core: ScriptedCore) throws -> TestLink {
        let list = list
        return try TestLink(port: core.port, proof: NodeProof(key: key, list: { list.value }))
    }

    private func isProven(_ hello: LinkHello, on peer: ScriptedCore.Peer, nonce: [UInt8]) throws -> Bool {
        let exporter = try #require(peer.socket.tls?.channelBinding).octets
        return key.publicKey.isValidSignature(
            try #require(hello.proof), for: hello.provenOctets(exporter: exporter, nonce: nonce), algorithm: .es256)
    }

    @Test("a proof holds on the connection that it was made on, for the core's nonce, and on no other")
    func bound() async throws {
        try await ScriptedCore.run { core in
            let nonces = [[UInt8](repeating: 1, count: 32), [UInt8](repeating: 2, count: 32)]
            core.give(nonce: nonces[0])
            let first = try service(core)
            let one = try await core.next()
            let hello = try await one.hello()
            core.give(nonce: nonces[1])
            let second = try service(core)
            let two = try await core.next()
            let other = try await two.hello()
            #expect(try isProven(hello, on: one, nonce: nonces[0]))
            #expect(try isProven(other, on: two, nonce: nonces[1]))
            #expect(try !isProven(hello, on: two, nonce: nonces[0]), "somebody who takes it to another connection")
            #expect(try !isProven(hello, on: one, nonce: nonces[1]))
            var changed = hello
            changed.epoch += 1
            #expect(try !isProven(changed, on: one, nonce: nonces[0]))
            changed = hello
            changed.node = "n2"
            #expect(try !isProven(changed, on: one, nonce: nonces[0]))
            await first.stop()
            await second.stop()
        }
    }

    @Test("a core of before gives no nonce, gets no proof, and is sent no list")
    func olderCore() async throws {
        try await ScriptedCore.run { core in
            let service = try service(core)
            let peer = try await core.next()
            let hello = try await peer.welcomed()
            #expect(hello.proof == nil && hello.nodeList == nil)
            list.value = "list-1"
            service.link.publishNodeList()
            try await peer.deliver(1, "q")
            service.link.answer(try await service.delivery(), text: [1])
            #expect(try await peer.next() == .answer(id: 1, text: [1]), "nothing came before it")
            await service.stop()
        }
    }

    @Test("a core that keeps a list is sent the newer one, once")
    func published() async throws {
        try await ScriptedCore.run { core in
            core.give(nonce: [UInt8](repeating: 1, count: 32))
            list.value = "list-1"
            let service = try service(core)
            let peer = try await core.next()
            let hello = try await peer.hello()
            #expect(hello.nodeList == "list-1")
            var welcome = LinkWelcome(connection: "c", heartbeatSeconds: 5, credit: 10, serverTime: .now())
            welcome.nodeList = 1
            try await peer.send(.welcome(welcome))
            guard case .credit = try await peer.next() else {
                Issue.record("no credit")
                return
            }
            #expect(try await service.wait { $0.phase == .open }.coreNodeList == 1)
            service.link.publishNodeList()
            list.value = "list-2"
            service.link.publishNodeList()
            #expect(try await peer.next() == .nodes("list-2"))
            await service.stop()
        }
    }

    @Test("a node that the core does not take says so, with what to do, and comes back when its list has changed")
    func refused() async throws {
        try await ScriptedCore.run { core in
            let service = try service(core)
            let peer = try await core.next()
            _ = try await peer.hello()
            peer.close(.notListed)
            let state = try await service.wait { $0.phase == .waiting }
            #expect(state.lastError?.code == .linkNotListed && state.retryIn == .seconds(60))
            #expect(state.lastError?.hint?.contains("hdsctl node approve") == true)
            service.link.reconnect()
            try await (try await core.next()).welcome()
            try await service.wait { $0.phase == .open }
            await service.stop()
        }
    }

    @Test("a drained node answers what it has, makes no link until that is ended, and then works again")
    func drained() async throws {
        try await ScriptedCore.run { core in
            let service = try service(core)
            let peer = try await core.next()
            try await peer.welcome()
            try await service.wait { $0.phase == .open }
            try await peer.deliver(1, "q")
            let delivery = try await service.delivery()
            service.link.setHeld(true)
            service.link.answer(delivery, text: [1])
            #expect(try await peer.next() == .answer(id: 1, text: [1]))
            #expect(await peer.closeCode() == LinkCloseCode.goingAway.rawValue)
            let state = try await service.wait { $0.lastError?.code == .linkDrained }
            #expect(state.phase == .waiting)
            let count = core.requests
            service.link.setHeld(true)
            #expect(core.requests == count)
            service.link.setHeld(false)
            try await (try await core.next()).welcome()
            try await service.wait { $0.phase == .open }
            await service.stop()
        }
    }
}

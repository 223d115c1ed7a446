import Diagnostics
import Escrow
import KeyStore
import KeyStoreSQLite
import MasterKey
import TestServers
import Testing
import WireText

@testable import Recovery

/// The escrow in the store: who holds shares, and who has proved it.
@Suite(.timeLimit(.minutes(2)))
struct EscrowBookTests {
    private let nonce = [UInt8](repeating: 7, count: 32)

    @Test("there is none at first; afterwards all shares are unproved")
    func creation() async throws {
        let machine = try await Machine()
        #expect(try await machine.book.state() == nil)
        _ = try await machine.escrow(needed: 3, of: 5)
        let state = try #require(try await machine.book.state())
        #expect(state.needed == 3)
        #expect(state.unproved(now: start) == [1, 2, 3, 4, 5])
        await machine.store.close()
    }

    @Test("a holder's answer proves his share, once, for a year")
    func proof() async throws {
        let machine = try await Machine()
        let shares = try await machine.escrow()
        let challenge = try await machine.book.challenge(2, nonce: nonce)
        let answer = try ShareProof.answer(to: challenge, with: shares[1])
        #expect(try await machine.book.confirm(answer, now: start) == 2)
        #expect(try await machine.book.state()?.unproved(now: start) == [1, 3])
        #expect(await code { _ = try await machine.book.confirm(answer, now: start) } == .escrowProofRefused)
        let state = try #require(try await machine.book.state())
        #expect(state.unproved(now: start.adding(seconds: 365 * 86_400)) == [1, 3])
        #expect(state.unproved(now: start.adding(seconds: 365 * 86_400 + 1)) == [1, 2, 3])
        await machine.store.close()
    }

    @Test("another share, another escrow's share, and the answer to an older challenge prove nothing")
    func refusals() async throws {
        let machine = try await Machine()
        let shares = try await machine.escrow()
        let old = try await machine.book.challenge(1, nonce: nonce)
        let present = try await machine.book.challenge(1, nonce: [UInt8](repeating: 8, count: 32))
        let foreign = try EscrowCeremony(needed: 2, count: 3).shares
        let renumbered = ShareProof.Challenge(escrow: present.escrow, number: 2, nonce: present.nonce)
        for answer in [
            try ShareProof.answer(to: old, with: shares[0]), try ShareProof.answer(to: present, with: foreign[0]),
            try ShareProof.answer(to: renumbered, with: shares[1]), "", "HDS-SHARE-PROOF-1.AAAA",
        ] {
            #expect(await code { _ = try await machine.book.confirm(answer, now: start) } == .escrowProofRefused)
        }
        #expect(await code { _ = try await machine.book.challenge(4, nonce: nonce) } == .escrowState)
        #expect(try await machine.book.state()?.unproved(now: start) == [1, 2, 3])
        await machine.store.close()
    }

    @Test("an escrow is replaced only when that was said, and then the old shares open nothing new")
    func replacing() async throws {
        let machine = try await Machine()
        let old = try await machine.escrow()
        #expect(await code { _ = try await machine.escrow() } == .escrowState)
        let new = try await machine.escrow(replacing: true)
        let record = try #require(try await machine.store.rootKeys().first)
        let present = try EscrowCeremony.recover(Array(new[..<2]))
        let former = try EscrowCeremony.recover(Array(old[..<2]))
        #expect(Set(record.wraps.keys) == [machine.kek.holder, present.publicKey.holder])
        let wrapped = try #require(record.wraps[present.publicKey.holder])
        _ = try present.unwrap(wrapped, version: 1)
        #expect(await code { _ = try former.unwrap(wrapped, version: 1) } == .escrowMismatch)
        await machine.store.close()
    }

    @Test("root keys that lost their wrap to the escrow get it again")
    func newVersions() async throws {
        let machine = try await Machine()
        let shares = try await machine.escrow()
        let key = try EscrowCeremony.recover(Array(shares[..<2]))
        var record = try #require(try await machine.store.rootKeys().first)
        record.wraps[key.publicKey.holder] = nil
        _ = try await machine.store.commit(StoreChange(writes: [.updateRootKey(record)]))
        try await machine.book.wrapNewVersions()
        let records = try await machine.store.rootKeys()
        _ = try key.unwrap(try #require(records.first?.wraps[key.publicKey.holder]), version: 1)
        try await machine.book.wrapNewVersions()
        #expect(try await machine.store.rootKeys() == records)
        await machine.store.close()
    }

    @Test("a new root key is wrapped to the escrow when it is made; one that is destroyed loses that wrap too")
    func rotation() async throws {
        let machine = try await Machine()
        #expect(try await machine.book.holders().isEmpty)
        let shares = try await machine.escrow()
        let key = try EscrowCeremony.recover(Array(shares[..<2]))
        try await machine.rotate()
        let made = try await machine.store.rootKeys()
        _ = try key.unwrap(try #require(made.last?.wraps[key.publicKey.holder]), version: 2)
        // The escrow itself was sealed again.
        #expect(try await machine.book.state()?.fingerprint == key.publicKey.fingerprint)
        _ = try await machine.rotation.destroy(1, window: 0, now: start)
        #expect(try await machine.rotation.destroyDue(now: start) == 1)
        try await machine.book.wrapNewVersions()
        #expect(try await machine.store.rootKeys().map(\.wraps.count) == [0, 2])
        await machine.store.close()
    }

    @Test("an escrow that somebody else put into the store is refused")
    func forged() async throws {
        let (machine, other) = (try await Machine(), try await Machine())
        _ = try await machine.escrow()
        _ = try await other.escrow()
        let theirs = try #require(try await other.store.setting(EscrowBook.setting))
        _ = try await machine.store.commit(StoreChange(writes: [.putSetting(name: EscrowBook.setting, value: theirs)]))
        #expect(await code { _ = try await machine.book.state() } == .sealBroken)
        await machine.store.close()
        await other.store.close()
    }

    @Test("shares that are no escrow are refused", arguments: [(1, 3), (4, 3), (2, 17)])
    func parameters(needed: Int, count: Int) async throws {
        let machine = try await Machine()
        let made = try EscrowCeremony(needed: 2, count: 3)
        let commitments = (1...count).map { number in
            ShareProof.Commitment(number: number, publicKey: [UInt8](repeating: UInt8(number), count: 64))
        }
        let found = await code {
            _ = try await machine.book.create(
                publicKey: made.publicKey.octets, needed: needed, commitments: commitments, now: start)
        }
        #expect(found == .escrowParameters)
        await machine.store.close()
    }
}

import Diagnostics
import KMSProtocol
import KeyStore
import Synchronization
import Testing
import WireText

@testable import KeyManagement

/// Keys leave a node only while it holds the lease, and only by what is in force under it.
@Suite("The lease to release keys") struct ReleaseLeaseTests {
    /// A clock in nanoseconds that the test moves.
    final class Clock: Sendable {
        private let time = Atomic<Int64>(1_000_000_000)
        var now: Int64 { time.load(ordering: .relaxed) }
        func advance(_ milliseconds: Int64) { time.wrappingAdd(milliseconds * 1_000_000, ordering: .relaxed) }
    }

    @Test("it is held for 500 ms from the moment at which its renewal was sent, and an older renewal changes nothing")
    func life() {
        let clock = Clock()
        let lease = ReleaseLease(clock: { clock.now })
        #expect(!lease.isHeld)
        let sent = lease.now
        clock.advance(300)
        lease.extend(sentAt: sent)
        clock.advance(199)
        #expect(lease.isHeld)
        clock.advance(1)
        #expect(!lease.isHeld)
        // An answer that took longer than the lease lives.
        lease.extend(sentAt: sent)
        #expect(!lease.isHeld)
        lease.extend(sentAt: lease.now)
        lease.extend(sentAt: sent)
        #expect(lease.isHeld)
        lease.end()
        #expect(!lease.isHeld)
    }

    @Test("what was judged before freezes or policy changed does not leave under the lease that brought the change")
    func mark() {
        let clock = Clock()
        let lease = ReleaseLease(clock: { clock.now })
        lease.extend(sentAt: lease.now)
        let before = lease.mark
        #expect(lease.permits(before))
        lease.noteChange()
        lease.extend(sentAt: lease.now)
        #expect(!lease.permits(before))
        #expect(lease.permits(lease.mark))
    }

    @Test("without a lease keys, acknowledgements and first answers of replays are declined; refusals leave")
    func declined() async throws {
        let clock = Clock()
        let lease = ReleaseLease(clock: { clock.now })
        lease.extend(sentAt: lease.now)
        let kms = try await TestKMS.start(lease: lease)
        let alice = try await TestClient.open(kms, People.alice)
        let key = try await alice.createKeys(1)[0]
        let read = try alice.wrapped("retrieve", key.uri)
        let made = try alice.wrapped("create", "/keys") { $0.member("count", 1) }
        let nowhere = try alice.wrapped("retrieve", "/nowhere")
        guard case .answer = await kms.handler.reply(to: read, source: "") else {
            Issue.record("no key came under a lease")
            return
        }
        clock.advance(500)
        for text in [read, made, made] {
            guard case .decline = await kms.handler.reply(to: text, source: "") else {
                Issue.record("something left without a lease")
                return
            }
        }
        guard case .answer = await kms.handler.reply(to: nowhere, source: "") else {
            Issue.record("a refusal did not leave")
            return
        }
        // What was declined was done: the next node, or this one under its next lease, gives the first answer.
        lease.extend(sentAt: lease.now)
        guard case .answer(let first) = await kms.handler.reply(to: made, source: ""),
            case .answer(let second) = await kms.handler.reply(to: made, source: "")
        else {
            Issue.record("the first answer was not given again")
            return
        }
        #expect(first == second)
    }

    @Test("while the clock of the node is wrong nothing is judged, so that no good request is refused")
    func wrongClock() async throws {
        let clock = Clock()
        let lease = ReleaseLease(clock: { clock.now })
        lease.extend(sentAt: lease.now)
        let kms = try await TestKMS.start(lease: lease)
        let alice = try await TestClient.open(kms, People.alice)
        let nowhere = try alice.wrapped("retrieve", "/nowhere")
        lease.judgeClock(isWrong: true)
        guard case .decline = await kms.handler.reply(to: nowhere, source: "") else {
            Issue.record("a node whose clock is wrong refuses")
            return
        }
        lease.judgeClock(isWrong: false)
        guard case .answer = await kms.handler.reply(to: nowhere, source: "") else {
            Issue.record("with the right clock nothing is answered")
            return
        }
    }

    @Test("an answer that waits for its audit record is asked for the lease when it leaves, not before")
    func late() async throws {
        let clock = Clock()
        let lease = ReleaseLease(clock: { clock.now })
        lease.extend(sentAt: lease.now)
        let kms = try await TestKMS.start(lease: lease)
        let alice = try await TestClient.open(kms, People.alice)
        let key = try await alice.createKeys(1)[0]
        let text = try alice.wrapped("retrieve", key.uri)
        guard case .keeping(let ticket, _, let settle) = await kms.handler.judge(text, source: "") else {
            Issue.record("the answer waits for nothing")
            return
        }
        let failure = await ticket.ended()
        clock.advance(500)
        guard case .decline = settle(failure) else {
            Issue.record("it left without a lease")
            return
        }
    }

    @Test("a fault of a node that is cut off is declined, so that another one may answer; with a lease it is told")
    func fault() async throws {
        struct Away: Error {}
        let clock = Clock()
        let lease = ReleaseLease(clock: { clock.now })
        lease.extend(sentAt: lease.now)
        let store = FaultingKeyStore(MemoryKeyStore())
        let kms = try await TestKMS.start(store: store, lease: lease)
        let alice = try await TestClient.open(kms, People.alice)
        for isHeld in [true, false] {
            let text = try alice.wrapped("create", "/keys") { $0.member("count", 1) }
            store.inject(.fail(Away()), of: .commit)
            if !isHeld { clock.advance(500) }
            let reply = await kms.handler.reply(to: text, source: "")
            if case .answer = reply { #expect(isHeld) } else { #expect(!isHeld) }
        }
    }

    @Test(
        "freezes that come with a renewal stand at once; a list that came late is left out, an older one stops release")
    func freezes() async throws {
        let kms = try await TestKMS.start()
        let board = try await FreezeBoard(store: kms.store, vault: kms.vault)
        let other = try await FreezeBoard(store: kms.store, vault: kms.vault)
        let first = Freeze(scope: .everything, reason: "r", orderedBy: "o", since: kms.clock.now)
        try await other.order(first)
        let one = try await kms.store.setting(FreezeBoard.setting)
        #expect(try board.take(one, readAfter: board.version))
        #expect(board.standing == [first])
        #expect(try !board.take(one, readAfter: board.version), "nothing is other than before")
        let known = board.version
        _ = try await other.lift(first.id)
        try await board.refresh()
        #expect(board.standing.isEmpty)
        // Read before the other one was taken, and answered later.
        #expect(try !board.take(one, readAfter: known))
        #expect(board.standing.isEmpty)
        #expect(throws: DiagnosedError.self) { try board.take(one, readAfter: board.version) }
        try await board.refresh()
    }
}

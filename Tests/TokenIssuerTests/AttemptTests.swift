import Testing
import TokenIssuer
import WireText

@Suite("Attempt limiter")
struct AttemptLimiterTests {
    private let start = Timestamp(seconds: 1_000_000)

    @Test("So many attempts at once, then one per interval")
    func burstAndInterval() {
        var limiter = AttemptLimiter(rate: .init(burst: 3, intervalSeconds: 60))
        for _ in 0..<3 { #expect(limiter.take("a", now: start) == nil) }
        #expect(limiter.take("a", now: start) == 60)
        #expect(limiter.take("a", now: start.adding(milliseconds: 59_001)) == 1)
        #expect(limiter.take("a", now: start.adding(seconds: 60)) == nil)
        #expect(limiter.take("a", now: start.adding(seconds: 60)) == 60)
    }

    @Test("A refused attempt costs nothing, and keys do not touch each other")
    func independence() {
        var limiter = AttemptLimiter(rate: .init(burst: 1, intervalSeconds: 10))
        #expect(limiter.take("a", now: start) == nil)
        for _ in 0..<100 { #expect(limiter.take("a", now: start) == 10) }
        #expect(limiter.take("b", now: start) == nil)
    }

    @Test("An attempt that is given back can be used again, and not more than that")
    func giveBack() {
        var limiter = AttemptLimiter(rate: .init(burst: 2, intervalSeconds: 10))
        for _ in 0..<50 {
            #expect(limiter.take("a", now: start) == nil)
            limiter.giveBack("a", now: start)
        }
        limiter.giveBack("a", now: start)
        #expect(limiter.take("a", now: start) == nil)
        #expect(limiter.take("a", now: start) == nil)
        #expect(limiter.take("a", now: start) == 10)
    }

    @Test("A burst of zero switches the limit off")
    func off() {
        var limiter = AttemptLimiter(rate: .init(burst: 0, intervalSeconds: 10))
        for _ in 0..<1000 { #expect(limiter.take("a", now: start) == nil) }
        #expect(limiter.count == 0)
    }

    @Test("Memory stays bounded under a flood of names, and the attacked name stays limited")
    func flood() {
        var limiter = AttemptLimiter(rate: .init(burst: 5, intervalSeconds: 60), capacity: 100)
        for _ in 0..<5 { _ = limiter.take("victim", now: start) }
        for number in 0..<10_000 { _ = limiter.take("invented-\(number)", now: start) }
        #expect(limiter.count <= 100)
        #expect(limiter.take("victim", now: start) != nil)
    }

    @Test("Names without recent attempts are forgotten first")
    func idle() {
        var limiter = AttemptLimiter(rate: .init(burst: 5, intervalSeconds: 60), capacity: 10)
        for number in 0..<10 { _ = limiter.take("old-\(number)", now: start) }
        _ = limiter.take("new", now: start.adding(seconds: 61))
        #expect(limiter.count == 1)
    }
}

@Suite("Attempt gate")
struct AttemptGateTests {
    private let now = Timestamp(seconds: 1_000_000)

    private func isLetIn(_ gate: AttemptGate, _ account: String, _ address: String) -> Bool {
        if case .pass = gate.enter(account: account, address: address, now: now) { true } else { false }
    }

    @Test("One account is limited whatever the address, in every spelling of its name")
    func account() {
        let gate = AttemptGate(rates: .init(account: .init(burst: 2, intervalSeconds: 60)))
        #expect(isLetIn(gate, "alice@example.com", "192.0.2.1"))
        #expect(isLetIn(gate, " ALICE@example.com ", "192.0.2.2"))
        #expect(!isLetIn(gate, "Alice@Example.Com", "192.0.2.3"))
        #expect(isLetIn(gate, "bob@example.com", "192.0.2.3"))
    }

    @Test("One address is limited whatever the account")
    func address() {
        let gate = AttemptGate(rates: .init(address: .init(burst: 2, intervalSeconds: 60)))
        #expect(isLetIn(gate, "a", "192.0.2.1"))
        #expect(isLetIn(gate, "b", "192.0.2.1"))
        #expect(!isLetIn(gate, "c", "192.0.2.1"))
        #expect(isLetIn(gate, "c", "192.0.2.2"))
    }

    @Test("An attempt that the account's limit refuses does not use up the address")
    func refusedByAccount() {
        let gate = AttemptGate(
            rates: .init(
                account: .init(burst: 1, intervalSeconds: 60), address: .init(burst: 2, intervalSeconds: 60)))
        #expect(isLetIn(gate, "a", "192.0.2.1"))
        for _ in 0..<10 { #expect(!isLetIn(gate, "a", "192.0.2.1")) }
        #expect(isLetIn(gate, "b", "192.0.2.1"))
    }

    @Test("A right password gives both attempts back")
    func giveBack() {
        let gate = AttemptGate(
            rates: .init(
                account: .init(burst: 1, intervalSeconds: 60), address: .init(burst: 1, intervalSeconds: 60)))
        for _ in 0..<10 {
            guard case .pass(let pass) = gate.enter(account: "a", address: "192.0.2.1", now: now) else {
                return #expect(Bool(false), "limited")
            }
            gate.giveBack(pass, now: now)
        }
    }

    @Test(
        "Where an account got in before, guesses from elsewhere do not lock it out, and guesses there are limited too")
    func provenAddress() {
        let gate = AttemptGate(rates: .init(account: .init(burst: 2, intervalSeconds: 60)))
        guard case .pass(let pass) = gate.enter(account: "a@b.de", address: "192.0.2.1", now: now) else {
            return #expect(Bool(false), "limited")
        }
        gate.succeeded(pass, now: now)
        for _ in 0..<10 { _ = isLetIn(gate, "a@b.de", "203.0.113.9") }
        #expect(!isLetIn(gate, "a@b.de", "203.0.113.9"))
        #expect(!isLetIn(gate, "a@b.de", "192.0.2.2"))
        for _ in 0..<10 { _ = isLetIn(gate, "192.0.2.1 account a@b.de", "203.0.113.10") }
        #expect(isLetIn(gate, "A@b.de", "192.0.2.1"))
        #expect(isLetIn(gate, "a@b.de", "192.0.2.1"))
        #expect(!isLetIn(gate, "a@b.de", "192.0.2.1"))
        #expect(isLetIn(gate, "other@b.de", "192.0.2.1"))
        let later = now.adding(seconds: 31 * 86_400)
        for _ in 0..<2 { _ = gate.enter(account: "a@b.de", address: "203.0.113.9", now: later) }
        guard case .wait = gate.enter(account: "a@b.de", address: "192.0.2.1", now: later) else {
            return #expect(Bool(false), "the proof has no end")
        }
    }

    @Test("All addresses of one IPv6 network count as one, however they are written")
    func networks() {
        let gate = AttemptGate(rates: .init(address: .init(burst: 1, intervalSeconds: 60)))
        #expect(isLetIn(gate, "a", "2001:db8:1:2:3:4:5:6"))
        #expect(!isLetIn(gate, "b", "2001:DB8:1:2::1"))
        #expect(!isLetIn(gate, "c", "2001:db8:1:2:ffff::%eth0"))
        #expect(isLetIn(gate, "d", "2001:db8:1:3::1"))
        #expect(isLetIn(gate, "e", "::1"))
        #expect(!isLetIn(gate, "f", "::2"))
        #expect(isLetIn(gate, "g", "::ffff:192.0.2.1"))
        #expect(isLetIn(gate, "h", "::ffff:192.0.2.2"))
    }
}

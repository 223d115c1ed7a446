import TestServers
import CoreLink
import LinkProtocol
import Testing

@Suite("Back-off of the link")
struct LinkBackoffTests {
    @Test(
        "the first retry is at once, the next ones wait between the shortest and a doubling ceiling",
        arguments: SeededGenerator.seeds)
    func doubling(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var backoff = LinkBackoff()
        #expect(backoff.delay(after: .init(code: nil), using: &random) == .zero)
        var ceiling = Duration.milliseconds(200)
        for _ in 0..<20 {
            let delay = backoff.delay(after: .init(code: .goingAway), using: &random)
            #expect(delay >= .milliseconds(100) && delay <= ceiling, "seed \(seed): \(delay) against \(ceiling)")
            ceiling = min(ceiling * 2, .seconds(10))
        }
    }

    @Test("waits are spread over the whole range, so that a thousand services do not come back in step")
    func jitter() {
        var random = SeededGenerator(seed: 5)
        var delays: [Duration] = []
        for _ in 0..<1_000 {
            var backoff = LinkBackoff()
            for _ in 0..<9 { _ = backoff.delay(after: .init(code: nil), using: &random) }
            delays.append(backoff.delay(after: .init(code: nil), using: &random))
        }
        for second in 0..<10 {
            let share = delays.count { $0 >= .seconds(second) && $0 < .seconds(second + 1) }
            #expect((50...200).contains(share), "\(share) of 1000 in second \(second)")
        }
    }

    @Test("ends that only a person can mend wait a minute, too many links the longest")
    func unmended() {
        var random = SeededGenerator(seed: 6)
        for code in [LinkCloseCode.protocolViolated, .notAllowed, .replaced, .superseded] {
            var backoff = LinkBackoff()
            #expect(backoff.delay(after: .init(code: code), using: &random) == .seconds(60))
        }
        var backoff = LinkBackoff()
        #expect(backoff.delay(after: .init(code: .tooManyLinks), using: &random) == .seconds(10))
    }

    @Test("a refused token is tried anew at once, with a new one, then with back-off")
    func token() {
        var random = SeededGenerator(seed: 7)
        var backoff = LinkBackoff()
        #expect(backoff.delay(after: .init(code: .tokenRefused), using: &random) == .zero)
        #expect(backoff.delay(after: .init(code: .tokenRefused), using: &random) >= .milliseconds(100))
    }

    @Test("a good link starts the count anew, one that is lost at once does not")
    func steady() {
        var random = SeededGenerator(seed: 8)
        var backoff = LinkBackoff()
        for _ in 0..<5 { _ = backoff.delay(after: .init(code: nil), using: &random) }
        #expect(backoff.delay(after: .init(code: .goingAway, openFor: .seconds(1)), using: &random) > .zero)
        #expect(backoff.delay(after: .init(code: .goingAway, openFor: .seconds(10)), using: &random) == .zero)
        #expect(backoff.failures == 1)
    }
}

import Synchronization
import Testing

@testable import MasterKey

@Suite("How fast values are sealed again beside requests")
struct ResealPaceTests {
    private static func samples(_ count: Int, _ length: Int, slow: Int = 0, _ long: Int = 0) -> [UInt32] {
        [UInt32](repeating: UInt32(length), count: count - slow) + [UInt32](repeating: UInt32(long), count: slow)
    }

    @Test(
        "with nobody there batches become large, a slow one halves the next and is followed by a pause as long as itself"
    )
    func alone() {
        var pace = ResealPace()
        #expect(pace.limit == ResealPace.gentle, "somebody may be there")
        for _ in 0..<5 { #expect(pace.pause(after: .milliseconds(3)) == .zero) }
        #expect(pace.limit == ResealPace.largest)
        pace.note(during: [], after: [])
        #expect(pace.pause(after: .milliseconds(40)) == .milliseconds(40) && pace.limit == ResealPace.largest / 2)
        for _ in 0..<20 { _ = pace.pause(after: .milliseconds(40)) }
        #expect(pace.limit == ResealPace.smallest)
        for _ in 0..<20 { _ = pace.pause(after: .milliseconds(1)) }
        #expect(pace.limit == ResealPace.largest && !pace.isServing)
    }

    @Test("from the first request on batches are small and followed by a pause, until nobody asks any more")
    func serving() {
        var pace = ResealPace()
        for _ in 0..<5 { _ = pace.pause(after: .milliseconds(3)) }
        pace.note(during: [], after: [90])
        #expect(pace.isServing && pace.limit == ResealPace.gentle)
        #expect(pace.pause(after: .seconds(9)) + ResealPace.settling == ResealPace.rest)
        pace.note(during: [], after: [])
        #expect(!pace.isServing && pace.pause(after: .milliseconds(1)) == .zero && pace.limit > ResealPace.gentle)
    }

    @Test(
        "each request that a batch slows is paid for by five hundred that are answered; those that are slow anyhow cost nothing"
    )
    func slowed() {
        var pace = ResealPace()
        pace.note(waiting: Self.samples(4000, 100, slow: 30, 900))
        #expect(pace.balance == ResealPace.credit)
        // Of a hundred one may be slow, and what is as slow as others are is not slowed.
        pace.note(during: Self.samples(100, 100, slow: 1, 400), after: [100])
        #expect(pace.balance == ResealPace.credit)
        pace.note(during: Self.samples(100, 100, slow: 51, 400), after: [])
        #expect(pace.isOwing && abs(pace.balance - (8 - 50 + 0.2)) < 0.01)
        var answered = 0
        while pace.isOwing {
            pace.note(waiting: Self.samples(100, 100))
            answered += 100
        }
        #expect((20_700...21_100).contains(answered))
    }

    @Test("what is slow in the pauses as well is not the work's doing")
    func slowAnyhow() {
        var pace = ResealPace()
        pace.note(waiting: Self.samples(4000, 100, slow: 80, 400))
        pace.note(during: Self.samples(100, 100, slow: 50, 400), after: [100])
        #expect(!pace.isOwing)
        // Quicker ones take their place in time.
        for _ in 0..<8 { pace.note(waiting: Self.samples(500, 100)) }
        pace.note(during: Self.samples(100, 100, slow: 50, 400), after: [100])
        #expect(pace.isOwing)
    }

    @Test("while nothing is known of undisturbed requests each that a batch meets counts as slowed")
    func blind() {
        var pace = ResealPace()
        pace.note(during: Self.samples(3, 100), after: Self.samples(ResealPace.enough - 1, 100))
        #expect(pace.isBlind && pace.isOwing)
        pace.note(waiting: [100])
        #expect(!pace.isBlind)
        pace.noteSilence()
        #expect(!pace.isOwing && !pace.isServing && !pace.isBlind)
    }

    @Test(
        "who seals waits until it is paid, no longer than it takes to come to an end, and not for somebody who is gone")
    func keeping() async throws {
        func waited(_ prepare: (inout ResealPace) -> Void, _ each: Int?) async throws -> Duration {
            var pace = ResealPace()
            prepare(&pace)
            let pulse = ServingPulse()
            pulse.listen()
            if each != nil { pulse.note(100) }
            let clock = PacedClock { duration in
                guard let each else { return }
                for _ in 0..<(each * Int(duration / .milliseconds(1)) / 1000) { pulse.note(100) }
            }
            try await pace.keep(after: .milliseconds(1), pulse, clock)
            #expect(!pace.isOwing)
            return clock.slept
        }
        func known(_ pace: inout ResealPace) { pace.note(waiting: Self.samples(4000, 100)) }
        func owing(_ count: Int) -> (inout ResealPace) -> Void {
            {
                known(&$0)
                $0.note(during: Self.samples(1000, 100, slow: count + 10, 400), after: [])
            }
        }
        #expect(try await waited(known, nil) == .zero, "nobody")
        // 32 - 8 are owed less what a thousand earn: 11,000 requests at 2,000 a second.
        let paid = try await waited(owing(32), 2000)
        #expect((.seconds(5)...(.seconds(7))).contains(paid), "\(paid)")
        let most = try await waited(owing(900), 2000)
        #expect((ResealPace.longest...(ResealPace.longest + .milliseconds(100))).contains(most), "\(most)")
        let gone = try await waited(owing(900), nil)
        #expect(gone < .milliseconds(1100), "\(gone)")
        let first = try await waited({ _ in }, 200)
        #expect(first >= .milliseconds(2500) && first < ResealPace.firstRest + .milliseconds(100), "\(first)")
    }

    @Test("a pulse hears only while somebody listens, forgets what was taken, and keeps a bounded number")
    func pulse() {
        let pulse = ServingPulse()
        pulse.note(5)
        pulse.listen()
        #expect(pulse.take().isEmpty)
        for _ in 0..<20_000 { pulse.note(7) }
        pulse.note(-1)
        #expect((1...10_000).contains(pulse.take().count) && pulse.take().isEmpty)
        pulse.note(9)
        pulse.leave()
        pulse.listen()
        #expect(pulse.take().isEmpty)
    }
}

/// Sleeps at once, and tells what happens in that time.
private final class PacedClock: Clock, Sendable {
    typealias Duration = Swift.Duration

    struct Instant: InstantProtocol {
        var time: Duration
        func advanced(by duration: Duration) -> Instant { Instant(time: time + duration) }
        func duration(to other: Instant) -> Duration { other.time - time }
        static func < (left: Instant, right: Instant) -> Bool { left.time < right.time }
    }

    private let time = Mutex(Duration.zero)
    private let happens: @Sendable (Duration) -> Void

    init(_ happens: @escaping @Sendable (Duration) -> Void) { self.happens = happens }

    var now: Instant { Instant(time: slept) }
    var slept: Duration { time.withLock { $0 } }
    let minimumResolution = Duration.nanoseconds(1)

    func sleep(until deadline: Instant, tolerance: Duration?) async throws {
        let duration = now.duration(to: deadline)
        time.withLock { $0 = deadline.time }
        happens(duration)
    }
}

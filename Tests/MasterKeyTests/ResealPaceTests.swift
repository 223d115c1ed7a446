import Testing

@testable import MasterKey

@Suite("How fast values are sealed again beside requests")
struct ResealPaceTests {
    private static func samples(_ count: Int, _ length: Int, slow: Int = 0, _ long: Int = 0) -> [UInt32] {
        [UInt32](repeating: UInt32(length), count: count - slow) + [UInt32](repeating: UInt32(long), count: slow)
    }

    @Test(
        "with nobody there batches are large, a slow one halves the next and is followed by a pause as long as itself")
    func alone() {
        var pace = ResealPace()
        #expect(pace.limit == ResealPace.largest)
        #expect(pace.pause(after: .milliseconds(3)) == .zero && pace.limit == ResealPace.largest)
        pace.note(during: [], after: [])
        #expect(pace.pause(after: .milliseconds(40)) == .milliseconds(40) && pace.limit == ResealPace.largest / 2)
        for _ in 0..<20 { _ = pace.pause(after: .milliseconds(40)) }
        #expect(pace.limit == ResealPace.smallest)
        for _ in 0..<20 { _ = pace.pause(after: .milliseconds(1)) }
        #expect(pace.limit == ResealPace.largest && !pace.isServing)
    }

    @Test("from the first request on batches are small and pauses many times their length, until nobody asks any more")
    func serving() {
        var pace = ResealPace()
        pace.note(during: [], after: [90])
        #expect(pace.isServing && pace.limit == ResealPace.gentle)
        let short = pace.pause(after: .microseconds(100)) + ResealPace.settling
        #expect(short == ResealPace.rest)
        let long = pace.pause(after: .milliseconds(2)) + ResealPace.settling
        #expect(long == .milliseconds(2) * pace.factor)
        #expect(pace.pause(after: .seconds(9)) + ResealPace.settling == ResealPace.longest)
        pace.note(during: [], after: [])
        #expect(!pace.isServing && pace.pause(after: .milliseconds(1)) == .zero && pace.limit > ResealPace.gentle)
    }

    @Test("what requests feel halves the batch and doubles the pause; what they do not lets both go the other way")
    func felt() {
        var pace = ResealPace()
        let before = pace.factor
        // 2 % of all take four times as long, and none of those in the pauses.
        pace.note(during: Self.samples(200, 100, slow: 20, 400), after: Self.samples(800, 100))
        #expect(pace.limit == ResealPace.gentle / 2 && pace.factor == before * 2)
        // Requests that are slow by themselves are not the work's.
        pace.note(during: Self.samples(200, 100, slow: 20, 400), after: Self.samples(800, 100, slow: 80, 400))
        #expect(pace.limit == ResealPace.gentle && pace.factor < before * 2)
        for _ in 0..<100 { pace.note(during: Self.samples(200, 100), after: Self.samples(800, 100)) }
        #expect(pace.factor == ResealPace.factors.lowerBound && pace.limit == ResealPace.gentle)
        for _ in 0..<100 {
            pace.note(during: Self.samples(200, 100, slow: 100, 400), after: Self.samples(800, 100))
        }
        #expect(pace.factor == ResealPace.factors.upperBound && pace.limit == ResealPace.smallest)
    }

    @Test(
        "a rest is due at the first request and now and then, and what it heard counts where the pauses are slow, too")
    func rests() {
        var pace = ResealPace()
        #expect(!pace.isRestDue)
        pace.note(during: [], after: [90])
        #expect(pace.isRestDue)
        pace.note(resting: Self.samples(1000, 100))
        #expect(!pace.isRestDue)
        let before = pace.factor
        // Those in the pauses are as slow as the others: only the rest tells that it is the work's doing.
        let slow = Self.samples(800, 100, slow: 80, 400)
        pace.note(during: Self.samples(200, 100, slow: 20, 400), after: slow)
        #expect(pace.factor == before * 2)
        for _ in 1..<ResealPace.judgementsBetweenRests {
            #expect(!pace.isRestDue)
            pace.note(during: [], after: slow + Self.samples(200, 100))
        }
        #expect(pace.isRestDue)
        // Too few requests in a rest say nothing: the pauses count alone.
        pace.note(resting: [1])
        let after = pace.factor
        pace.note(during: [], after: slow + Self.samples(200, 100))
        #expect(!pace.isRestDue && pace.factor < after)
        pace.note(during: [], after: [])
        #expect(!pace.isRestDue)
        pace.note(during: [], after: [90])
        #expect(pace.isRestDue)
    }

    @Test("few requests are judged together, and never by too few that were not disturbed")
    func few() {
        var pace = ResealPace()
        let before = pace.factor
        for _ in 0..<9 { pace.note(during: Self.samples(50, 400), after: Self.samples(50, 100)) }
        #expect(pace.factor == before)
        pace.note(during: Self.samples(50, 400), after: Self.samples(50, 100))
        #expect(pace.factor > before)
        var blind = ResealPace()
        for _ in 0..<9 { blind.note(during: Self.samples(1000, 400), after: []) }
        #expect(blind.factor == before)
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

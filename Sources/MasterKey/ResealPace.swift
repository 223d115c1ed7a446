/// How much is sealed again at a time and how long the pause behind it is: pure, driven by what is measured.
///
/// Nobody there: a batch that took longer than `slow` halves the next one and is followed by a pause as long as itself; a
/// quick one doubles the next. While requests come a batch is small, and followed by a pause of so many times its own
/// length. Now and then it rests altogether, and hears how long requests take that nothing disturbs; those in the pauses are
/// nearly undisturbed. While the 99th percentile of all is more than `tolerance` times the lower one of these two, batches
/// become smaller and pauses longer, and otherwise the other way.
struct ResealPace {
    static let largest = 512
    static let smallest = 8
    /// The most values of a batch while there are requests.
    static let gentle = 64
    static let slow = Duration.milliseconds(10)
    /// The shortest pause while there are requests; its first part still belongs to the batch.
    static let rest = Duration.milliseconds(10)
    static let settling = Duration.milliseconds(2)
    static let longest = Duration.seconds(1)
    /// Half of what the requests may lose: what is measured is not exact.
    static let tolerance = 1.1
    static let factors = 2.0...400.0
    /// So many requests are judged at a time: their 99th percentile then stands on ten of them.
    static let window = 1_000
    /// A rest of at most so long, at the first request and again after so many judgements.
    static let longestRest = Duration.seconds(3)
    static let judgementsBetweenRests = 30

    private(set) var limit = largest
    /// The length of a pause while there are requests, in lengths of the batch before it.
    private(set) var factor = 30.0
    private(set) var isServing = false
    /// The 99th percentile of the requests of the last rest, in microseconds; nil: there were too few.
    private var rested: Double?
    /// nil: no rest since the requests began.
    private var judgementsSinceRest: Int?
    private var quiet: [UInt32] = []
    private var disturbed: [UInt32] = []

    /// The pause behind a batch, without its first part of `settling` while there are requests.
    mutating func pause(after took: Duration) -> Duration {
        guard !isServing else {
            let length = min(Self.longest, max(Self.rest, took * factor))
            return length - Self.settling
        }
        guard took <= Self.slow else {
            limit = max(Self.smallest, limit / 2)
            return took
        }
        limit = min(Self.largest, limit * 2)
        return .zero
    }

    /// What was answered during a batch and right behind it, and in the rest of its pause, in microseconds.
    mutating func note(during: [UInt32], after: [UInt32]) {
        isServing = !during.isEmpty || !after.isEmpty
        guard isServing else {
            (quiet, disturbed) = ([], [])
            (rested, judgementsSinceRest) = (nil, nil)
            return
        }
        limit = min(limit, Self.gentle)
        disturbed = Array(disturbed.suffix(8 * Self.window)) + during
        quiet += after
        guard quiet.count >= Self.window / 2, quiet.count + disturbed.count >= Self.window else { return }
        let undisturbed = min(Self.tail(quiet), rested ?? .infinity)
        let isFelt = Self.tail(quiet + disturbed) > undisturbed * Self.tolerance
        judgementsSinceRest = judgementsSinceRest.map { $0 + 1 }
        limit = isFelt ? max(Self.smallest, limit / 2) : min(Self.gentle, limit * 2)
        factor = min(Self.factors.upperBound, max(Self.factors.lowerBound, factor * (isFelt ? 2 : 0.8)))
        (quiet, disturbed) = ([], [])
    }

    var isRestDue: Bool {
        isServing && (judgementsSinceRest ?? Self.judgementsBetweenRests) >= Self.judgementsBetweenRests
    }

    /// What was answered in a rest, in microseconds.
    mutating func note(resting: [UInt32]) {
        rested = resting.count >= Self.window / 2 ? Self.tail(resting) : nil
        judgementsSinceRest = 0
    }

    private static func tail(_ samples: [UInt32]) -> Double {
        guard !samples.isEmpty else { return 0 }
        return Double(samples.sorted()[min(samples.count - 1, samples.count * 99 / 100)])
    }
}

extension ResealPace {
    /// Waits as long as is due behind a batch, and hears what requests felt of it.
    mutating func keep(after took: Duration, _ pulse: ServingPulse?, _ clock: any Clock<Duration>) async throws {
        let pause = pause(after: took)
        if isServing { try await clock.sleep(for: Self.settling) }
        let during = pulse?.take() ?? []
        if pause > .zero { try await clock.sleep(for: pause) }
        note(during: during, after: pulse?.take() ?? [])
        if let pulse, isRestDue { try await rest(pulse, clock) }
    }

    /// Ends when enough requests were heard.
    private mutating func rest(_ pulse: ServingPulse, _ clock: any Clock<Duration>) async throws {
        let part = Duration.milliseconds(100)
        var heard: [UInt32] = []
        var left = Self.longestRest
        while left > .zero, heard.count < Self.window {
            try await clock.sleep(for: part)
            heard += pulse.take()
            left -= part
        }
        note(resting: heard)
    }
}

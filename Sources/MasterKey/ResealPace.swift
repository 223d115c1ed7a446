/// How much is sealed again at a time and how long the pause behind it is: pure, driven by what is measured.
///
/// Nobody there: a batch that took longer than `slow` halves the next one and is followed by a pause as long as itself; a
/// quick one doubles the next. While requests come a batch is small, and what it costs them is counted: of those answered
/// during it and right behind it the ones that took longer than 99 of 100 in the pauses do. Each has to be paid for by
/// `1 / share` requests that are answered before the next batch. So no more than that share of all requests is slowed,
/// whatever a batch costs on this machine, and the 99th percentile of all is at most the 99.2th of those that nothing
/// disturbs. (Judging by the percentile itself did not do: that of a thousand requests is off by a fifth by chance.)
struct ResealPace {
    static let largest = 512
    static let smallest = 8
    /// The most values of a batch while there are requests, and of the first.
    static let gentle = 64
    static let slow = Duration.milliseconds(10)
    /// The shortest pause while there are requests; its first part still belongs to the batch.
    static let rest = Duration.milliseconds(12)
    static let settling = Duration.milliseconds(4)
    /// After such a wait the next batch goes, whatever is owed: a rotation comes to its end.
    static let longest = Duration.seconds(10)
    /// Of all requests, those that may be slowed.
    static let share = 0.002
    /// What can be saved up at most, in slowed requests.
    static let credit = 8.0
    /// So many undisturbed requests, the latest, are what others are compared with; with fewer than `enough` each that a
    /// batch meets counts as slowed.
    static let window = 4_000
    static let enough = 500
    /// How long the first batch behind the first request waits for `enough`.
    static let firstRest = Duration.seconds(3)
    /// Nobody asked for so long: nobody is there.
    static let silence = Duration.seconds(1)

    private(set) var limit = gentle
    private(set) var isServing = false
    /// Slowed requests that are saved up; negative: owed.
    private(set) var balance = 0.0
    private var quiet: [UInt32] = []
    /// The 99th percentile of `quiet`, and of how many newer ones it does not know.
    private var bound: UInt32?
    private var unheard = 0

    /// The pause behind a batch, without its first part of `settling` while there are requests.
    mutating func pause(after took: Duration) -> Duration {
        guard !isServing else { return Self.rest - Self.settling }
        guard took <= Self.slow else {
            limit = max(Self.smallest, limit / 2)
            return took
        }
        limit = min(Self.largest, limit * 2)
        return .zero
    }

    /// What was answered during a batch and right behind it, and in the rest of its pause, in microseconds.
    mutating func note(during: [UInt32], after: [UInt32]) {
        guard !during.isEmpty || !after.isEmpty else { return noteSilence() }
        isServing = true
        limit = min(limit, Self.gentle)
        balance -= slowed(during)
        earn(during.count)
        note(waiting: after)
    }

    /// What was answered while nothing was done.
    mutating func note(waiting samples: [UInt32]) {
        earn(samples.count)
        quiet = (quiet + samples).suffix(Self.window)
        unheard += samples.count
        guard quiet.count >= Self.enough, bound == nil || unheard >= Self.enough else { return }
        bound = quiet.sorted()[quiet.count * 99 / 100]
        unheard = 0
    }

    /// Nobody asks any more.
    mutating func noteSilence() {
        (isServing, balance) = (false, 0)
        (quiet, bound, unheard) = ([], nil, 0)
    }

    var isOwing: Bool { isServing && balance < 0 }
    /// Nothing is known yet of requests that nothing disturbs.
    var isBlind: Bool { isServing && bound == nil }

    private mutating func earn(_ count: Int) { balance = min(Self.credit, balance + Self.share * Double(count)) }

    /// One in a hundred is that slow anyhow.
    private func slowed(_ samples: [UInt32]) -> Double {
        guard let bound else { return Double(samples.count) }
        return max(0, Double(samples.count { $0 > bound }) - Double(samples.count) / 100)
    }
}

extension ResealPace {
    private static let part = Duration.milliseconds(50)

    /// Waits as long as is due behind a batch, and hears what requests felt of it.
    mutating func keep(after took: Duration, _ pulse: ServingPulse?, _ clock: any Clock<Duration>) async throws {
        let wasServing = isServing
        let pause = pause(after: took)
        if isServing { try await clock.sleep(for: Self.settling) }
        let during = pulse?.take() ?? []
        if pause > .zero { try await clock.sleep(for: pause) }
        note(during: during, after: pulse?.take() ?? [])
        guard let pulse else { return }
        var (waited, silence) = (Duration.zero, Duration.zero)
        while isOwing && waited < Self.longest || !wasServing && isBlind && waited < Self.firstRest {
            try await clock.sleep(for: Self.part)
            waited += Self.part
            let heard = pulse.take()
            silence = heard.isEmpty ? silence + Self.part : .zero
            guard silence < Self.silence else { return noteSilence() }
            note(waiting: heard)
        }
        // What is still owed then is forgiven, or one batch would be paid for by hours.
        if isOwing { balance = 0 }
    }
}

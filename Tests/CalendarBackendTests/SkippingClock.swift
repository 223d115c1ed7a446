import Synchronization

/// A clock that stands still but for sleeps, which end at once and count as slept.
final class SkippingClock: Clock {
    typealias Duration = Swift.Duration

    struct Instant: InstantProtocol {
        var offset = Swift.Duration.zero
        func advanced(by duration: Swift.Duration) -> Instant { Instant(offset: offset + duration) }
        func duration(to other: Instant) -> Swift.Duration { other.offset - offset }
        static func < (left: Instant, right: Instant) -> Bool { left.offset < right.offset }
    }

    private let state = Mutex<(now: Instant, sleeps: [Swift.Duration])>((Instant(), []))

    var now: Instant { state.withLock { $0.now } }
    let minimumResolution = Swift.Duration.nanoseconds(1)
    var sleeps: [Swift.Duration] { state.withLock { $0.sleeps } }

    func advance(by time: Swift.Duration) { state.withLock { $0.now = $0.now.advanced(by: time) } }

    func sleep(until deadline: Instant, tolerance: Swift.Duration?) async throws {
        try Task.checkCancellation()
        state.withLock { state in
            guard state.now < deadline else { return }
            state.sleeps.append(state.now.duration(to: deadline))
            state.now = deadline
        }
    }
}

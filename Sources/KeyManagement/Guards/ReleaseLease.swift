import Synchronization
import WireText

/// Whether this node may let keys leave now: until half a second after its last renewal was sent, and not a moment longer.
///
/// What is asked on the way of every answer is one look at a clock that neither jumps nor stops, and two atomic loads.
/// An answer carries the mark of the moment at which its request began to be judged: when freezes or policy have changed
/// since, it does not leave, whatever the lease. So whatever an officer froze holds everywhere half a second after its
/// commit: a lease that was sent for later brings the freeze along, and one that was sent for before is over by then
/// (security model, rule 21). Thread-safe.
package final class ReleaseLease: Sendable {
    package static let life = Duration.milliseconds(500)
    /// How often it is renewed: three renewals may fail before it ends.
    package static let interval = Duration.milliseconds(150)

    /// What an answer is held against: the state of freezes and policy by which it was judged.
    package struct Mark: Sendable, Equatable {
        let value: Int64
    }

    private let deadline = Atomic<Int64>(.min)
    private let changes = Atomic<Int64>(0)
    private let clockIsWrong = Atomic<Bool>(false)
    private let others = Atomic<Bool>(false)
    private let clock: @Sendable () -> Int64

    /// `clock`: nanoseconds; it goes on while the machine sleeps.
    package init(clock: @escaping @Sendable () -> Int64 = { KernelClock.bootNanoseconds() }) {
        self.clock = clock
    }

    /// Now, for `extend(sentAt:)`.
    package var now: Int64 { clock() }

    /// To be taken before anything is read by which a request is judged.
    package var mark: Mark { Mark(value: changes.load(ordering: .acquiring)) }

    package var isHeld: Bool { clock() < deadline.load(ordering: .acquiring) }

    /// Whether what was judged under that mark may leave at this moment.
    package func permits(_ mark: Mark) -> Bool {
        isHeld && changes.load(ordering: .acquiring) == mark.value
    }

    /// A renewal that was sent at `moment` was answered, and what it brought along is in force. Never shortens.
    package func extend(sentAt moment: Int64) {
        let end = moment + Int64(Self.life / .nanoseconds(1))
        var known = deadline.load(ordering: .acquiring)
        while end > known {
            let (exchanged, original) = deadline.compareExchange(
                expected: known, desired: end, ordering: .acquiringAndReleasing)
            if exchanged { return }
            known = original
        }
    }

    /// Freezes or policy are others from now on. To be called when they are in force, before `extend`.
    package func noteChange() { changes.wrappingAdd(1, ordering: .acquiringAndReleasing) }

    /// Whether what is judged by time is judged wrong here: then nothing is judged, not even refused.
    package var isClockWrong: Bool { clockIsWrong.load(ordering: .acquiring) }

    /// What core and database say of this node's clock.
    package func judgeClock(isWrong: Bool) { clockIsWrong.store(isWrong, ordering: .releasing) }

    /// Whether other nodes hold a lease: what only this one can not do, they can.
    package var hasOthers: Bool { others.load(ordering: .relaxed) }
    package func noteOthers(_ are: Bool) { others.store(are, ordering: .relaxed) }

    /// The database refused it: nothing leaves any more.
    package func end() { deadline.store(.min, ordering: .releasing) }
}

import Diagnostics
import Glibc
import KeyStore
import Synchronization

/// How long what failed is held for the disk to come back, and whom the store tells of its state. Thread-safe.
final class StoreHold: Sendable {
    /// Microseconds between two tries: quick at first, then three a second.
    struct Pause {
        private var length: useconds_t = 10_000
        mutating func next() -> useconds_t {
            defer { length = min(length * 2, 320_000) }
            return length
        }
    }

    private struct Troubles {
        var commit: DiagnosedError.Code?
        var read: DiagnosedError.Code?
    }

    let observer: StoreObserver
    private let patience: Duration
    private let isOver = Atomic(false)
    /// Whether anything stands in `troubles`, so that the way without trouble takes no lock.
    private let isTroubled = Atomic(false)
    private let troubles = Mutex(Troubles())

    init(patience: Duration, observer: StoreObserver = StoreObserver()) {
        self.patience = patience
        self.observer = observer
    }

    /// Nothing is held any more.
    func end() { isOver.store(true, ordering: .relaxed) }

    /// Whether what failed with this error, and came then, is to be tried again.
    func keeps(_ error: DiagnosedError, since arrival: ContinuousClock.Instant, at now: ContinuousClock.Instant) -> Bool
    {
        error.maySettle && !isOver.load(ordering: .relaxed) && arrival.duration(to: now) < patience
    }

    /// How the last batch of commits ended.
    func noteCommit(_ trouble: DiagnosedError?) {
        guard trouble != nil || isTroubled.load(ordering: .relaxed) else { return }
        note(trouble, \.commit)
    }

    /// What a read met that is no matter of its own; nil at the end of a look that found all well.
    func noteRead(_ trouble: DiagnosedError?) {
        guard trouble != nil || isTroubled.load(ordering: .relaxed) else { return }
        note(trouble, \.read)
    }

    /// Tells under the lock, so that what is told last is what is so.
    private func note(_ trouble: DiagnosedError?, _ kind: WritableKeyPath<Troubles, DiagnosedError.Code?>) {
        // A defect of one change says nothing of the database.
        guard trouble?.fault != .internal else { return }
        troubles.withLock { troubles in
            guard troubles[keyPath: kind] != trouble?.code else { return }
            troubles[keyPath: kind] = trouble?.code
            let isClear = troubles.commit == nil && troubles.read == nil
            isTroubled.store(!isClear, ordering: .relaxed)
            if let trouble { observer.trouble(trouble) } else if isClear { observer.trouble(nil) }
        }
    }
}

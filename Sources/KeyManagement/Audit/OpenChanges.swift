/// The changes on their way into the trail: each begins before its commit and ends when its record is kept.
///
/// Says up to where in the ledger everything stands in the trail for sure, and whether something failed and has to be
/// completed from the ledger.
struct OpenChanges {
    /// Numbers of the changes, with the position of the last seal before they began.
    private var open: [UInt64: Int64] = [:]
    /// The ledger's position at the last seal.
    private var known: Int64 = 0
    private var last: UInt64 = 0
    private var failures: UInt64 = 0
    private var completed: UInt64 = 0
    private var waiting: [(through: UInt64, continuation: CheckedContinuation<Void, Never>)] = []

    mutating func begin() -> UInt64 {
        last += 1
        open[last] = known
        return last
    }

    /// Answers who has waited for this and can go on now.
    ///
    /// - Parameter isKept: false when its record may lack in the trail although it may stand in the ledger.
    mutating func end(_ number: UInt64, isKept: Bool) -> [CheckedContinuation<Void, Never>] {
        open.removeValue(forKey: number)
        if !isKept { failures += 1 }
        guard !waiting.isEmpty else { return [] }
        let oldest = open.keys.min() ?? .max
        let released = waiting.filter { $0.through < oldest }
        waiting.removeAll { $0.through < oldest }
        return released.map(\.continuation)
    }

    /// Whether the continuation has to wait for changes that are open now.
    mutating func wait(_ continuation: CheckedContinuation<Void, Never>) -> Bool {
        guard !open.isEmpty else { return false }
        waiting.append((last, continuation))
        return true
    }

    /// The latest failure that is not completed yet.
    var failed: UInt64? { failures > completed ? failures : nil }

    mutating func completed(through failure: UInt64) { completed = max(completed, failure) }

    /// The position that a seal may name; nil while something failed.
    mutating func position(newest: Int64) -> Int64? {
        known = newest
        return failed == nil ? open.values.min() ?? newest : nil
    }
}

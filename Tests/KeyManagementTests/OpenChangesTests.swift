import Testing

@testable import KeyManagement

@Suite("Changes on their way into the trail")
struct OpenChangesTests {
    @Test("a seal's position never passes a change that was open when an earlier seal was made")
    func position() {
        var changes = OpenChanges()
        #expect(changes.position(newest: 10) == 10)
        let early = changes.begin()
        #expect(changes.position(newest: 20) == 10)
        let late = changes.begin()
        _ = changes.end(early, isKept: true)
        #expect(changes.position(newest: 30) == 20)
        _ = changes.end(late, isKept: true)
        #expect(changes.position(newest: 40) == 40)
    }

    @Test("after a failure no position is named until everything up to that failure is completed")
    func failure() {
        var changes = OpenChanges()
        _ = changes.end(changes.begin(), isKept: false)
        let first = changes.failed
        #expect(first != nil && changes.position(newest: 5) == nil)
        // Another one fails while the first is completed.
        _ = changes.end(changes.begin(), isKept: false)
        changes.completed(through: first ?? 0)
        #expect(changes.failed != nil && changes.position(newest: 5) == nil)
        changes.completed(through: changes.failed ?? 0)
        #expect(changes.failed == nil && changes.position(newest: 6) == 6)
    }

    @Test("who waits is let go by the last change that was open then, and not held by later ones")
    func waiting() async {
        let changes = Shared(OpenChanges())
        let (first, second) = changes.withLock { ($0.begin(), $0.begin()) }
        let isWaiting = Shared(false)
        let isReleased = Shared(false)
        let waiter = Task {
            await withCheckedContinuation { continuation in
                let waits = changes.withLock { $0.wait(continuation) }
                isWaiting.withLock { $0 = waits }
            }
            isReleased.withLock { $0 = true }
        }
        while !isWaiting.value { await Task.yield() }
        let later = changes.withLock { $0.begin() }
        #expect(changes.withLock { $0.end(second, isKept: true).count } == 0)
        #expect(!isReleased.value)
        let released = changes.withLock { $0.end(first, isKept: true) }
        #expect(released.count == 1)
        for continuation in released { continuation.resume() }
        await waiter.value
        _ = changes.withLock { $0.end(later, isKept: true) }
        await withCheckedContinuation { continuation in
            if changes.withLock({ $0.wait(continuation) }) {
                Issue.record("nothing is open")
            } else {
                continuation.resume()
            }
        }
    }
}

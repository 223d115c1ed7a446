import Synchronization
import Testing

@testable import WebSocketChannel

@Suite("Inbound queue")
struct InboundQueueTests {
    @Test("Elements come in order, then the end")
    func order() async throws {
        let queue = InboundQueue<Int>(limit: 100)
        for number in 1...3 { #expect(queue.push(number, cost: 1)) }
        queue.finish()
        #expect(queue.push(4, cost: 1))
        var received: [Int] = []
        while let number = try await queue.next() { received.append(number) }
        #expect(received == [1, 2, 3])
        #expect(try await queue.next() == nil)
    }

    @Test("The producer is told to pause at the limit, and once there is room again")
    func backPressure() async throws {
        let rooms = Mutex(0)
        let queue = InboundQueue<Int>(limit: 10) { rooms.withLock { $0 += 1 } }
        #expect(queue.push(1, cost: 6))
        #expect(!queue.push(2, cost: 6))
        #expect(!queue.push(3, cost: 1))
        _ = try await queue.next()
        #expect(rooms.withLock { $0 } == 0)
        _ = try await queue.next()
        #expect(rooms.withLock { $0 } == 1)
        _ = try await queue.next()
        #expect(rooms.withLock { $0 } == 1)
        #expect(queue.push(4, cost: 1))
    }

    @Test("An error comes after what was there before it, once")
    func failure() async throws {
        struct Broken: Error {}
        let queue = InboundQueue<Int>(limit: 10)
        _ = queue.push(1, cost: 1)
        queue.finish(throwing: Broken())
        #expect(try await queue.next() == 1)
        await #expect(throws: Broken.self) { try await queue.next() }
        #expect(try await queue.next() == nil)
    }

    @Test("A waiting consumer is woken by an element, by the end, and by its own cancellation")
    func waiting() async throws {
        let queue = InboundQueue<Int>(limit: 10)
        let first = Task { try await queue.next() }
        _ = queue.push(7, cost: 1)
        #expect(try await first.value == 7)
        let cancelled = Task { try await queue.next() }
        cancelled.cancel()
        await #expect(throws: CancellationError.self) { try await cancelled.value }
        let last = Task { try await queue.next() }
        queue.finish()
        #expect(try await last.value == nil)
    }

    @Test("A sink gets what waited and what comes, and the producer goes on")
    func sink() {
        let rooms = Mutex(0)
        let received = Mutex<[Int]>([])
        let queue = InboundQueue<Int>(limit: 2) { rooms.withLock { $0 += 1 } }
        _ = queue.push(1, cost: 1)
        #expect(!queue.push(2, cost: 1))
        queue.redirect { number in received.withLock { $0.append(number) } }
        #expect(queue.push(3, cost: 100))
        #expect(received.withLock { $0 } == [1, 2, 3])
        #expect(rooms.withLock { $0 } == 1)
    }
}

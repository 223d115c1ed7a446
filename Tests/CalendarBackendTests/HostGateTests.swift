import CalendarBackend
import HTTPClient
import Testing

@testable import CalendarTransport

@Suite("Pace of requests to a host")
struct HostGateTests {
    @Test("So many at once, and so many in a second")
    func limits() {
        var gate = HostGate(.init(concurrent: 2, perSecond: 10))
        #expect(gate.ask(at: .zero) == .go)
        #expect(gate.ask(at: .milliseconds(40)) == .wait(.milliseconds(60)))
        #expect(gate.ask(at: .milliseconds(100)) == .go)
        #expect(gate.ask(at: .seconds(5)) == .full)
        gate.end(isWelcome: true)
        #expect(gate.ask(at: .seconds(5)) == .go)
    }

    @Test("A pause is as long as the host says; who would wait too long is told")
    func pause() {
        var gate = HostGate(.init(concurrent: 2, perSecond: 1000, patience: .seconds(10)))
        #expect(gate.ask(at: .zero) == .go)
        #expect(gate.pushedBack(at: .zero, retryAfter: .seconds(30)) == .seconds(30))
        #expect(gate.ask(at: .seconds(1)) == .refuse(.seconds(29)))
        #expect(gate.ask(at: .seconds(25)) == .wait(.seconds(5)))
        #expect(gate.ask(at: .seconds(30)) == .go)
    }

    @Test("Without a word pauses double up to a bound, and a welcome ends that")
    func doubling() {
        var gate = HostGate(.init(concurrent: 1, perSecond: 1000))
        var now = Duration.zero
        var pauses: [Duration] = []
        for _ in 0..<10 {
            #expect(gate.ask(at: now) == .go)
            pauses.append(gate.pushedBack(at: now, retryAfter: nil))
            now += pauses[pauses.count - 1]
        }
        #expect(pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 256].map { .seconds($0) })
        #expect(gate.ask(at: now) == .go)
        gate.end(isWelcome: true)
        #expect(gate.ask(at: now + .seconds(1)) == .go)
        #expect(gate.pushedBack(at: now, retryAfter: nil) == .seconds(1))
        #expect(gate.ask(at: now + .seconds(2)) == .go)
        #expect(gate.pushedBack(at: now, retryAfter: .seconds(1_000_000)) == HostGate.longestPause)
    }

    @Test("Requests wait in line and go when one ends, also when one of them gives up")
    func line() async throws {
        let pace = HostPace(.init(concurrent: 1, perSecond: 1_000_000), clock: SkippingClock())
        try await pace.enter()
        let givesUp = Task { try await pace.enter() }
        let patient = Task { try await pace.enter() }
        givesUp.cancel()
        await #expect(throws: CancellationError.self) { try await givesUp.value }
        await pace.leave(isWelcome: true)
        try await patient.value
        let refused = await pace.leave(retryAfter: .seconds(60))
        #expect(refused == .seconds(60))
        await #expect(throws: CalendarError.rateLimited(.seconds(60), "")) { try await pace.enter() }
    }

    @Test("Those who wait behind one that is refused are refused too, and nobody waits for ever")
    func refusedLine() async throws {
        let pace = HostPace(.init(concurrent: 1, perSecond: 1_000_000), clock: SkippingClock())
        try await pace.enter()
        let waiting = (0..<5).map { _ in Task { try await pace.enter() } }
        while await pace.waiters < 5 { await Task.yield() }
        _ = await pace.leave(retryAfter: .seconds(60))
        for task in waiting {
            await #expect(throws: CalendarError.rateLimited(.seconds(60), "")) { try await task.value }
        }
    }

    @Test("Retry-After is read as seconds and as a date against the server's own clock")
    func retryAfter() {
        func read(_ fields: [(String, String)]) -> Duration? {
            RetryAfter.read(WebResponse(status: 429, headers: fields))
        }
        #expect(read([]) == nil)
        #expect(read([("Retry-After", "120")]) == .seconds(120))
        #expect(read([("Retry-After", "-5")]) == .zero)
        #expect(read([("Retry-After", "soon")]) == nil)
        let date = [("Retry-After", "Sun, 06 Nov 1994 08:50:37 GMT"), ("Date", "Sun, 06 Nov 1994 08:49:37 GMT")]
        #expect(read(date) == .seconds(60))
        #expect(read([date[0]]) == nil)
        #expect(read([date[0], ("Date", "Sun, 06 Nov 1994 09:49:37 GMT")]) == .zero)
    }
}

import NIOCore
import Testing

@testable import HTTPServer

@Suite("Progress of a connection")
struct ConnectionProgressTests {
    /// A connection on which these requests were read whole.
    private func afterReading(keepsAlive: Bool...) -> ConnectionProgress {
        var progress = ConnectionProgress()
        for keepsAlive in keepsAlive {
            progress.readHead(keepsAlive: keepsAlive, contentLength: 0)
            progress.readEnd()
        }
        return progress
    }

    /// Writes one answer; what its head has to say, and whether the connection ends.
    private func answer(
        _ progress: inout ConnectionProgress, saysClose: Bool = false
    ) -> (headSaysClose: Bool, ends: Bool) {
        let headSaysClose = progress.writeHead(saysClose: saysClose)
        return (headSaysClose, progress.writeEnd())
    }

    @Test("It waits for the first request, a body, nothing, the next request")
    func waits() {
        var progress = ConnectionProgress()
        #expect(progress.wait == .firstRequest)
        progress.readHead(keepsAlive: true, contentLength: 5)
        #expect(progress.wait == .body)
        progress.readEnd()
        #expect(progress.wait == .none)
        let answer = answer(&progress)
        #expect(answer == (false, false))
        #expect(progress.wait == .nextRequest)
        #expect(progress.isIdle)
    }

    @Test("It ends after the answer that either side wanted to be the last")
    func closes() {
        var byRequest = afterReading(keepsAlive: false)
        let first = answer(&byRequest)
        #expect(first == (true, true))
        var byAnswer = afterReading(keepsAlive: true)
        let second = answer(&byAnswer, saysClose: true)
        #expect(second == (true, true))
    }

    @Test("A shutdown ends it at once when nothing runs, else after the answer")
    func quiesces() {
        var idle = ConnectionProgress()
        let endsIdle = idle.quiesce()
        #expect(endsIdle)
        var busy = afterReading(keepsAlive: true)
        let endsBusy = busy.quiesce()
        #expect(!endsBusy)
        let last = answer(&busy)
        #expect(last == (true, true))
    }

    @Test("Of pipelined requests all are answered before the end")
    func pipelined() {
        var progress = afterReading(keepsAlive: true, false)
        let first = answer(&progress)
        #expect(first == (false, false))
        let second = answer(&progress)
        #expect(second == (true, true))
    }

    @Test("A short rest of an unwanted body is read, a long or unknown one ends the connection")
    func rests() {
        for (length, isLong) in [(1 << 20, false), ((1 << 20) + 1, true), (nil, true)] as [(Int?, Bool)] {
            var progress = ConnectionProgress()
            progress.readHead(keepsAlive: true, contentLength: length)
            let closes = progress.writeHead(saysClose: false)
            #expect(closes == isLong)
        }
        var mostlyRead = ConnectionProgress()
        mostlyRead.readHead(keepsAlive: true, contentLength: 2 << 20)
        mostlyRead.readBody(1 << 20)
        let closes = mostlyRead.writeHead(saysClose: false)
        #expect(!closes)
    }

    @Test("Only the time in which the server reads counts against a slow body")
    func pace() {
        let start = NIODeadline.uptimeNanoseconds(0)
        var pace = BodyPace()
        func isFast(at second: Int64) -> Bool { pace.closeWindow(.seconds(15), now: start + .seconds(second)) }
        pace.startWaiting(now: start)
        pace.receive(15 * 1024)
        #expect(isFast(at: 15))
        pace.receive(15 * 1024 - 1)
        #expect(!isFast(at: 30))
        // The server was busy for most of this window.
        pace.stopWaiting(now: start + .seconds(37))
        #expect(isFast(at: 45))
        pace.startWaiting(now: start + .seconds(45))
        #expect(!isFast(at: 60))
    }
}

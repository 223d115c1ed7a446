import CalendarBackend
import CalendarTransport
import Diagnostics
import HTTPClient
import Synchronization
import Testing

@testable import ExchangeClient

/// Notices of changes by streaming subscriptions, from a played Exchange on a real socket.
@Suite("Notices of Exchange")
struct ExchangeNoticesTests {
    private enum Heard: Equatable, Sendable {
        case began([String])
        case changed(String)
        case ended(CalendarError.Reason?)
    }

    /// Listens, and tells what is heard.
    private static func listen(_ ground: ExchangeGround) async throws -> (AsyncStream<Heard>, Task<Void, Never>) {
        let account = try await ground.client.discover(BackendGround.alice)
        let (stream, sink) = AsyncStream.makeStream(of: Heard.self)
        let client = ground.client
        let task = Task {
            do {
                try await client.watch(
                    [account], began: { sink.yield(.began($0)) }, changed: { sink.yield(.changed($0)) })
                sink.yield(.ended(nil))
            } catch {
                sink.yield(.ended((error as? CalendarError)?.reason))
            }
        }
        return (stream, task)
    }

    @Test("A change is told as it happens, in whatever pieces it comes")
    func notices() async throws {
        let ground = try await ExchangeGround()
        let (stream, task) = try await Self.listen(ground)
        var heard = stream.makeAsyncIterator()
        #expect(await heard.next() == .began(["alice"]))
        for size in [1, 7, 100_000] {
            ground.server.notify("sub+0=", pieces: size)
            #expect(await heard.next() == .changed("alice"))
        }
        // What is of no subscription of ours is nothing.
        ground.server.notify("sub+9=")
        ground.server.notify("sub+0=")
        #expect(await heard.next() == .changed("alice"))
        task.cancel()
        await task.value
    }

    @Test("A subscription that the server does not know any more, and a connection that breaks, end the listening")
    func ends() async throws {
        for (code, closes) in [("ErrorSubscriptionNotFound", true), ("NoError", false)] {
            let ground = try await ExchangeGround()
            let (stream, task) = try await Self.listen(ground)
            var heard = stream.makeAsyncIterator()
            #expect(await heard.next() == .began(["alice"]))
            ground.server.endStreams(saying: code, closes: closes)
            guard case .ended(let reason?) = await heard.next() else {
                Issue.record("it goes on")
                return
            }
            #expect(closes ? reason == .protocolViolation : reason == .serverAway)
            await task.value
        }
    }

    @Test("A stream that the server ends at once, in order or not, is an error, so that the next waits")
    func hotLoop() async throws {
        let ground = try await ExchangeGround()
        let (stream, task) = try await Self.listen(ground)
        var heard = stream.makeAsyncIterator()
        #expect(await heard.next() == .began(["alice"]))
        ground.server.endStreams()
        #expect(await heard.next() == .ended(.serverAway))
        await task.value
    }

    @Test("Who may not be subscribed to is no reason not to listen for the others; nobody at all is")
    func refusedMailbox() async throws {
        let ground = try await ExchangeGround()
        let account = try await ground.client.discover(BackendGround.alice)
        var other = account
        other.calendars = [
            CalendarInformation(
                reference: CalendarReference(
                    user: BackendGround.alice, href: CalendarHref("/users/alice%40example.com/folders/gone/")),
                components: ["VEVENT"])
        ]
        let gone = other
        await #expect(throws: CalendarError.notFound("")) {
            try await ground.client.watch([gone], began: { _ in }, changed: { _ in })
        }
        let (stream, sink) = AsyncStream.makeStream(of: [String].self)
        let client = ground.client
        let task = Task { try? await client.watch([gone, account], began: { sink.yield($0) }, changed: { _ in }) }
        var began = stream.makeAsyncIterator()
        #expect(await began.next() == ["alice"])
        task.cancel()
        _ = await task.value
    }

    @Test("A stream of which no envelope ends is given up, and envelopes are told apart whatever their prefix is")
    func splitter() throws {
        var splitter = EnvelopeSplitter()
        let text = "<a:Envelope x=\"/Envelope>\"><Envelope/></a:Envelope >\n <Envelope><b></b></Envelope>"
        var found: [String] = []
        for octet in text.utf8 { found += try splitter.take([octet]).map { String(decoding: $0, as: UTF8.self) } }
        #expect(found.last?.hasSuffix("<Envelope><b></b></Envelope>") == true && found.count == 2)
        #expect(throws: CalendarError.self) {
            for _ in 0..<200 { _ = try splitter.take([UInt8](repeating: 0x61, count: 65_536)) }
        }
    }
}

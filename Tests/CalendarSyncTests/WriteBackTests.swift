import CalendarSync
import Diagnostics
import ICalendar
import TestServers
import Testing

@Suite("Write-back")
struct WriteBackTests {
    private static let href = "/alice/one.ics"

    private static func writer(_ server: SchedulingServer) -> WriteBack {
        WriteBack(store: server, merge: Samples.merge) { _ in await Task.yield() }
    }

    @Test("A write from a stale copy without If-Match resets an answer: the trap that the loop avoids")
    func trap() async throws {
        let server = SchedulingServer(seed: 1, troubles: 0)
        await server.set(Self.href, Samples.text(Samples.single))
        let stale = try #require(await server.read(Self.href))
        await server.accept("bob@example.org", in: Self.href)
        #expect(try await server.put(Self.href, stale.octets, matching: stale.etag) == .conflict)
        #expect(await server.text(Self.href).contains("ACCEPTED:mailto:bob"))
        await server.overwrite(Self.href, stale.octets)
        #expect(await !server.text(Self.href).contains("ACCEPTED:mailto:bob"))
    }

    @Test("What is there is written once and no second time")
    func once() async throws {
        let server = SchedulingServer(seed: 1, troubles: 0)
        await server.set(Self.href, Samples.text(Samples.single))
        #expect(try await Self.writer(server).put(Samples.edit(), at: Self.href, base: nil) == .written(tries: 1))
        #expect(try await Self.writer(server).put(Samples.edit(), at: Self.href, base: nil) == .unchanged)
        #expect(await server.writes == 1)
        #expect(
            try await Self.writer(server).put(Samples.edit(), at: "/none.ics", base: nil) == .refused(.noSuchMeeting))
    }

    @Test("Against somebody who always writes first it gives up after six tries and has written nothing")
    func contended() async throws {
        let many = (0..<20).map { "p\($0)@example.org" }
        let server = SchedulingServer(seed: 1, troubles: 100, toAccept: many)
        // Every put meets a reply; lost requests would hide it, so they are taken as tries, too.
        await server.set(Self.href, Samples.text(Samples.single))
        do {
            _ = try await Self.writer(server).put(Samples.edit(), at: Self.href, base: nil)
            Issue.record("written")
        } catch {
            #expect(error.fault == .peer)
        }
        #expect(await server.writes == 0)
    }

    /// Every attendee accepts while two connectors write; requests and answers get lost.
    @Test(
        "Bob accepts while details are written: no answer is lost, details stand once, alice's text is untouched",
        arguments: Array(1...20) + SeededGenerator.seeds.suffix(1))
    func story(_ seed: UInt64) async throws {
        let people =
            ["bob@example.org", "o'neil+x@example.org", "x@xn--bcher-kva.example"] + (0..<9).map { "p\($0)@a.example" }
        let lines = people.dropFirst().map { "ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:\($0)" }
        let text = Samples.text(Samples.single + lines + [JoinMergeTests.description, "X-KEEP:1"])
        let server = SchedulingServer(seed: seed, troubles: 40, toAccept: people)
        await server.set(Self.href, text)
        let base = try Samples.document(text)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<2 {
                group.addTask {
                    for _ in 0..<100 {
                        // What is left over when it gives up, its next round does.
                        let result = try? await Self.writer(server).put(Samples.edit(), at: Self.href, base: base)
                        if result != nil { return }
                    }
                    Issue.record("never written, seed \(seed)")
                }
            }
            group.addTask {
                for person in people.suffix(3) {
                    await server.accept(person, in: Self.href)
                    await Task.yield()
                }
            }
        }
        await server.acceptAll(in: Self.href)
        let after = await server.text(Self.href)
        for person in await server.accepted {
            #expect(after.contains("PARTSTAT=ACCEPTED:mailto:\(person)"), "seed \(seed): \(person)")
        }
        #expect(await server.accepted.count == people.count)
        #expect(after.ranges(of: "-=-=- join details").count == 1, "seed \(seed)")
        #expect(after.ranges(of: "CONFERENCE").count == 1, "seed \(seed)")
        #expect(await server.writes == 1, "seed \(seed): the second connector finds it written")
        let accepted = text.replacing("NEEDS-ACTION", with: "ACCEPTED")
        #expect(try JoinMergeTests.own(after) == JoinMergeTests.unfolded(accepted), "seed \(seed)")
    }

    @Test("Five hundred attendees answer and none of the answers is lost", arguments: [7] as [UInt64])
    func many(_ seed: UInt64) async throws {
        let people = (0..<500).map { "p\($0)@example.org" }
        let lines = people.map { "ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:\($0)" }
        let server = SchedulingServer(seed: seed, troubles: 30, toAccept: people)
        await server.set(Self.href, Samples.text(Samples.single + lines))
        for number in 0..<8 {
            let edit = Samples.edit("https://join.example/\(number)", revision: "r\(number)")
            var isDone = false
            for _ in 0..<100 where !isDone {
                isDone = (try? await Self.writer(server).put(edit, at: Self.href, base: nil)) != nil
            }
            #expect(isDone)
        }
        await server.acceptAll(in: Self.href)
        let after = await server.text(Self.href)
        #expect(after.ranges(of: "PARTSTAT=ACCEPTED").count == 501)
        #expect(after.ranges(of: "join.example/7").count == 2)
        #expect(after.ranges(of: "-=-=- join details").count == 1)
    }
}

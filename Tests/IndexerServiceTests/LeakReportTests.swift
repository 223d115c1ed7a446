import ControlSocket
import Diagnostics
import SearchIndexing
import SearchProtocol
import TestVectors
import Testing
import WireText

@testable import IndexerService

/// The attack on an organisation's own entries, as `hdsctl search leak-report` asks for it.
@Suite("The leak report", .serialized)
struct LeakReportTests {
    private static func text(_ text: String) throws -> JSONNode { try JSONDocument(Array(text.utf8)).root }

    @Test("what is asked for is bounded")
    func wishes() throws {
        #expect(try IndexerCommands.wish(Self.text("{}")) == LeakReporter.Wish())
        let wish = try IndexerCommands.wish(Self.text(#"{"messages":"200","known":"10,500"}"#))
        #expect(wish.messages == 200 && wish.known == [10, 500])
        for bad in [
            #"{"messages":"99"}"#, #"{"messages":"50001"}"#, #"{"known":""}"#, #"{"known":"0"}"#, #"{"known":"501"}"#,
            #"{"known":"1,2,3,4,5,6"}"#, #"{"seed":"1"}"#,
        ] {
            #expect(throws: DiagnosedError.self) { try IndexerCommands.wish(Self.text(bad)) }
        }
    }

    @Test(
        "stored entries of every profile are attacked, the control works, salted names nothing at rest, and changed entries are counted",
        .enabled(if: ChatCorpus.english.isAvailable), arguments: SearchProfile.allCases)
    func report(_ profile: SearchProfile) async throws {
        let world = IndexWorld()
        let messages = try ChatCorpus.english.messages(rooms: 6, ofRoom: 150)
        for message in messages { try world.say(message.text, in: message.room) }
        let indexer = try IndexWorld.Indexer(world, "one", profile: profile)
        try await indexer.read()
        // Of another's making, in the place of one.
        let broken = try #require(world.core.entries.first { $0.body != .tombstone })
        _ = try await world.core.call(
            .upload(
                SearchUpload([
                    .withdrawal(room: broken.room, message: broken.message, epoch: broken.epoch),
                    .entry(
                        try SearchEntry(
                            profile: broken.profile, analyser: broken.analyser, room: broken.room, epoch: broken.epoch,
                            message: broken.message, sequence: broken.sequence, body: broken.body,
                            mac: [UInt8](repeating: 1, count: SearchEntry.macByteCount))),
                ])))
        var wish = LeakReporter.Wish()
        wish.known = [100]
        wish.queries = [0, 100]
        let report = try await indexer.reporter.report(wish) { _ in true }
        #expect(report.messages == messages.count - 1 && report.notAuthentic == 1 && report.missing == 0)
        #expect(report.rooms == 6 && report.profile == profile)
        func share(_ name: String, _ queries: Int) -> Double {
            report.figures.first { $0.name == name && $0.figure.queries == queries }?.figure.share ?? -1
        }
        #expect(
            report.figures.count == 8 && report.figures.filter(\.isStored).map(\.name) == [profile.name, profile.name])
        #expect(share("one key for all", 0) > 0.2, "the attack works, also on few messages")
        #expect(share("list", 0) < share("one key for all", 0) && share("padded", 0) < share("list", 0))
        #expect(share("salted", 0) == 0 && share("salted", 100) > 0)
        var json = JSONWriter()
        json.beginObject()
        IndexerCommands.write(report, to: &json)
        json.endObject()
        let told = try Self.text(json.text())
        #expect(told["figures"]?.elements?.count == 8 && told["notAuthentic"]?.integer == 1)
        await #expect(throws: (any Error).self, "nobody waits for it any more") {
            _ = try await indexer.reporter.report(wish) { _ in false }
        }
    }
}

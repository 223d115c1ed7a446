import CoreLink
import FoundationEssentials
import SearchProtocol
import TestServers
import TestVectors
import Testing

@testable import IndexerService

/// Words of messages are nowhere but in the messages.
@Suite("Nothing in the clear", .serialized, .enabled(if: ChatCorpus.english.isAvailable))
struct IndexSecrecyTests {
    /// Runs of at least eight Latin letters, in small letters.
    private static func runs(_ octets: some Sequence<UInt8>) -> Set<[UInt8]> {
        var runs: Set<[UInt8]> = []
        var run: [UInt8] = []
        for octet in octets {
            let letter = octet | 0x20
            if (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(letter) {
                run.append(letter)
                continue
            }
            if run.count >= 8 { runs.insert(run) }
            run.removeAll(keepingCapacity: true)
        }
        if run.count >= 8 { runs.insert(run) }
        return runs
    }

    private static func files(_ world: IndexWorld) -> Set<[UInt8]> {
        world.folder.names(in: "").reduce(into: []) { found, name in
            found.formUnion(runs((try? Data(contentsOf: URL(filePath: world.folder.path + "/" + name))) ?? Data()))
        }
    }

    @Test("no word of the messages stands in an entry, in a query, or in the indexer's database")
    func words() async throws {
        let isLong = LongTests.areWanted
        let messages = try ChatCorpus.english.messages(rooms: isLong ? .max : 8, ofRoom: isLong ? 700 : 200)
        let world = IndexWorld()
        let indexer = try IndexWorld.Indexer(world, "one", page: 100)
        let own = Self.files(world)
        var words: Set<[UInt8]> = []
        for message in messages {
            words.formUnion(Self.runs(message.text.utf8))
            try world.say(message.text, in: message.room)
        }
        words.subtract(own)
        #expect(words.count > (isLong ? 10_000 : 100), "\(words.count) words")
        try await indexer.read(batch: 200)
        await indexer.walk.round(turn: nil)
        for _ in 0..<3 { _ = try await indexer.find("partition*", in: Set(messages.map(\.room)).prefix(50).sorted()) }
        let stored = world.core.entries.reduce(into: Set<[UInt8]>()) { $0.formUnion(Self.runs($1.encode())) }
        let rooms = Set(messages.map(\.room)).reduce(into: Set<[UInt8]>()) { $0.formUnion(Self.runs($1.utf8)) }
        let left = words.subtracting(rooms)
        #expect(stored.isDisjoint(with: left))
        #expect(Self.files(world).isDisjoint(with: left))
        // The look finds what it looks for.
        #expect(!Self.runs(world.core.feed().lazy.flatMap { Array("x ".utf8) + $0.octets.prefix(40) }).isEmpty)
        #expect(!Self.runs(messages[0...50].map(\.text).joined(separator: " ").utf8).isDisjoint(with: words))
        print("secrecy: \(left.count) words of \(messages.count) messages looked for, none found")
    }
}

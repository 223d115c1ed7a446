import Cryptography
import EDiscoveryCollection
import EDiscoveryModel
import KMSClient
import KMSProtocol
import LinkedService
import SecretMemory
import TestServers
import TestVectors
import Testing
import WireText

@testable import EDiscoveryService

/// 50,000 real messages with edits, deletions and leavers: a long test.
@Suite("A case of 50,000 real messages", .enabled(if: LongTests.areWanted && ChatCorpus.english.isAvailable))
struct LargeCaseTests {
    private static let count = 50_000

    /// The KMS gives every key at once.
    private struct Generous: KMSAsking {
        let key: SymmetricKey
        func perform(_ operation: KMSOperation, on behalf: KMSCaller.Behalf?) async throws -> KMSAnswer {
            let time = Timestamp(milliseconds: 0)
            switch operation {
            case .createSealingKey:
                return KMSAnswer(status: 200, requestID: nil, body: .sealingKey(.init(key: key, createDate: time)))
            case .useKey(let uri, _):
                return KMSAnswer(
                    status: 200, requestID: nil,
                    body: .key(
                        .init(
                            uri: uri, key: key, userID: "u", clientID: "c", createDate: time, expirationDate: time,
                            resourceURI: nil)))
            default: return KMSAnswer(status: 501, requestID: nil)
            }
        }
    }

    private struct Feed {
        var items: [[UInt8]] = []
        var edits = 0
        var deletions = 0
        var rooms = Set<String>()
        var sequences: [String: Int64] = [:]

        mutating func activity(
            _ verb: String, _ id: String, _ actor: String, _ room: String, _ time: Timestamp, _ object: String
        ) {
            let sequence = sequences[room, default: 0] + 1
            sequences[room] = sequence
            items.append(
                Array(
                    (#"{"type":"activity","activity":{"id":"\#(id)","verb":"\#(verb)","actor":"\#(actor)","sequence":\#(sequence),"#
                        + #""published":"\#(time.iso8601)","encryptionKeyUrl":"kms://k/keys/\#(sequence / 500)","#
                        + #""target":{"id":"\#(room)"},"object":\#(object)}}"#).utf8))
        }
    }

    private func feed(_ key: SymmetricKey) throws -> Feed {
        var feed = Feed()
        for (number, message) in try ChatCorpus.english.messages().prefix(Self.count).enumerated() {
            let time = Timestamp(milliseconds: message.published)
            let person = "p" + String(message.sender.utf8.reduce(0) { ($0 &* 31 &+ Int($1)) & 0xFFFF })
            if feed.rooms.insert(message.room).inserted {
                feed.items.append(
                    Array(
                        (#"{"type":"conversation","conversation":{"id":"\#(message.room)","creator":"\#(person)","#
                            + #""participants":[{"id":"leaver"}],"published":"1970-01-01T00:00:00.000Z"}}"#).utf8))
            }
            let jwe = try EncryptedText(encrypting: message.text, under: key).jwe
            feed.activity("post", message.id, person, message.room, time, #"{"displayName":"\#(jwe)"}"#)
            if number % 50 == 7 {
                let new = try EncryptedText(encrypting: "edited \(number)", under: key).jwe
                feed.activity(
                    "edit", "e\(number)", person, message.room, time,
                    #"{"id":"\#(message.id)","displayName":"\#(new)"}"#)
                feed.edits += 1
            }
            if number % 70 == 9 {
                feed.activity("delete", "d\(number)", person, message.room, time, #"{"id":"\#(message.id)"}"#)
                feed.deletions += 1
            }
            if number % 5000 == 4999 {
                feed.activity("leave", "l\(number)", "leaver", message.room, time, #"{"id":"leaver"}"#)
            }
        }
        return feed
    }

    @Test(
        "Collected at once, or by a worker that is cut off again and again, the items are the same, and none is missing"
    )
    func whole() async throws {
        let folder = TemporaryFolder()
        let kms = Generous(key: try SymmetricKey.random())
        let feed = try feed(kms.key)
        let mirror = try Mirror(path: folder.path + "/mirror.sqlite")
        for start in stride(from: 0, to: feed.items.count, by: 500) {
            try mirror.add(
                feed.items[start..<min(start + 500, feed.items.count)].map { (FeedEntry($0)!, $0) }, under: kms.key)
        }
        let commands = OfficerCommands(mirror: mirror, directory: Directory())
        func create(_ body: String) throws -> String {
            let asking = OfficerCommands.Asking(officer: "carol", matter: nil, key: kms.key)
            let text = try commands.perform("reports.create", JSONDocument(text: body).root, asking)
            return try #require(try JSONDocument(text: text).root["id"]?.string)
        }
        func collector(counted: @escaping @Sendable (Int) -> Void = { _ in }) -> Collector {
            Collector(
                consent: Consent(kms) { _ in }, mirror: mirror, kms: kms, directory: Directory(), report: { _ in },
                counted: counted)
        }
        func items(_ id: String) throws -> [[UInt8]] {
            var all: [[UInt8]] = [], after: Int64 = 0
            while case let page = try mirror.items(of: id, after: after, count: 1000, under: kms.key),
                let last = page.last
            {
                all += page.map(\.octets)
                after = last.place
            }
            return all
        }
        let first = try create(#"{"name":"all"}"#)
        await collector().work()
        let cut = try create(#"{"name":"all"}"#)
        var rounds = 0
        while try mirror.report(cut, under: kms.key)?.progress.state != .completed {
            // Cut off behind its first space.
            let (spaces, space) = AsyncStream.makeStream(of: Void.self)
            let worker = Task { [collector = collector(counted: { _ in space.yield() })] in
                await collector.work()
                space.finish()
            }
            for await _ in spaces { break }
            worker.cancel()
            await worker.value
            rounds += 1
            try #require(rounds < 1000)
        }
        let found = try items(first)
        #expect(found.count == Self.count && rounds > 1, "\(rounds) workers")
        #expect(try items(cut) == found)
        let read = try found.map { try CollectedItem(JSONDocument($0).root) }
        #expect(read.filter { !$0.history.isEmpty }.count == feed.edits)
        #expect(read.filter { $0.deletion != nil }.count == feed.deletions)
        #expect(read.allSatisfy { $0.problems.isEmpty && $0.text != nil })
        #expect(Set(read.map(\.id)).count == Self.count)
        // Who left reads nothing of what came later, also in a report of his own.
        let own = try create(#"{"name":"his","subjects":{"userIds":["leaver"],"role":"participant"}}"#)
        await collector().work()
        let his = try items(own).map { try CollectedItem(JSONDocument($0).root) }
        #expect(!his.isEmpty && his.count < Self.count)
        #expect(his.allSatisfy { item in item.participants.contains { $0.id == "leaver" } })
    }
}

import CoreLink
import Diagnostics
import KMSClient
import KMSProtocol
import LinkProtocol
import LinkedService
import SearchIndexing
import SearchProtocol
import SecretMemory
import Synchronization
import TestServers
import Testing
import TextAnalysis
import WireText

@testable import IndexerService
@testable import ServiceRuntime

/// A registry whose clock a test sets.
private struct Watched {
    struct Silence: EventRecorder {
        func isRecorded(_ severity: Severity) -> Bool { false }
        func write(_ event: Event, _ fields: LogFields) {}
    }

    final class Clock: Sendable {
        private let value = Mutex(Timestamp(seconds: 1_790_000_000))
        var now: Timestamp { value.withLock { $0 } }
        func advance(_ seconds: Int64) { value.withLock { $0 = $0.adding(seconds: seconds) } }
    }

    let clock = Clock()
    let metrics = MetricRegistry()
    let health: HealthRegistry

    init() { health = HealthRegistry(events: Silence(), metrics: metrics) }
    func standing(_ alarm: Alarm) -> String? { health.alarms.current.first { $0.alarm == alarm }?.detail.text }
}

@Suite("How far the index is")
struct IndexProgressTests {
    private let watched = Watched()
    private let trouble = DiagnosedError("away", fault: .peer, "the KMS is away")

    private func progress() -> IndexProgress {
        let clock = watched.clock
        return IndexProgress(watched.health, metrics: watched.metrics, now: { clock.now })
    }

    @Test("[HDS-INDEX-LAG] five minutes behind raise it with how long it will take; being at the end clears it")
    func lag() {
        let progress = progress()
        progress.take(.reading(behind: 10_000))
        #expect(progress.look().state == .ok)
        for _ in 0..<29 {
            watched.clock.advance(10)
            progress.done(100)
            progress.take(.reading(behind: 5_000))
            #expect(progress.look().state == .ok)
        }
        #expect(watched.standing(.indexLag) == nil)
        watched.clock.advance(10)
        progress.done(100)
        #expect(progress.look().state == .warn)
        let detail = watched.standing(.indexLag) ?? ""
        #expect(
            detail.contains("5000 items wait, about 501 s at 10 a second") || detail.contains("at 9 a second"),
            "\(detail)")
        #expect(watched.metrics.gauge(.indexBehind).value == 5_000)
        progress.take(.reading(behind: 0))
        #expect(progress.look() == .ok("everything is indexed"))
        #expect(watched.standing(.indexLag) == nil)
    }

    @Test("[HDS-INDEX-LAG] what is in the way is told at once, and raises it after a minute of standstill")
    func standstill() {
        let progress = progress()
        progress.take(.reading(behind: 3))
        progress.take(.failing(cursor: 4, trouble))
        #expect(progress.look().state == .warn && watched.standing(.indexLag) == nil)
        watched.clock.advance(61)
        _ = progress.look()
        #expect(watched.standing(.indexLag)?.contains("the KMS is away") == true)
        progress.take(.reading(behind: 0))
        #expect(watched.standing(.indexLag) == nil)
    }

    @Test("an indexer that waits for another's turn is not behind")
    func waiting() {
        let progress = progress()
        progress.take(.waiting)
        watched.clock.advance(1_000)
        #expect(progress.look().state == .ok && watched.standing(.indexLag) == nil)
    }
}

@Suite("How far a walk is")
struct WalkProgressTests {
    @Test("it tells what is done, how much of it, and how long the rest will take; and what is in the way")
    func told() {
        let watched = Watched()
        let clock = watched.clock
        let progress = WalkProgress(watched.health, pendingFormat: "padded", upTo: "b", now: { clock.now })
        #expect(progress.look().state == .warn, "its turn has not come")
        #expect(!progress.isBehind("a") && !progress.isBehind("b") && progress.isBehind("c"))
        progress.start(.anew, done: 1_000, total: 5_000, room: "b")
        clock.advance(10)
        progress.move(done: 1_500, room: "c")
        #expect(progress.look() == .ok("indexing anew: 1500 of 5000 messages, about 71 s at 50 a second"))
        #expect(!progress.isBehind("c") && progress.isBehind("d"))
        progress.fail(DiagnosedError("away", fault: .peer, "the KMS is away"))
        #expect(progress.look().state == .warn)
        progress.isAnew()
        progress.rest()
        #expect(!progress.isBehind("d") && progress.look() == .ok("nothing is to be done"))
    }
}

@Suite("The consent, and what hangs on it")
struct ConsentTests {
    /// A KMS that says what the test wants.
    private final class Answers: KMSAsking {
        let next = Mutex<Result<KMSAnswer.Body, any Error>>(.success(.none))
        let asked = Mutex(0)
        func perform(_ operation: KMSOperation) async throws -> KMSAnswer {
            asked.withLock { $0 += 1 }
            return KMSAnswer(status: 200, requestID: nil, body: try next.withLock { $0 }.get())
        }
    }

    private final class Counted: Sendable {
        let value = Mutex(0)
    }

    private static let refusal: KMSRefusal = {
        var answer = KMSAnswer(status: 403, requestID: nil)
        answer.reason = "the policy names no consent for this service (no-consent)"
        return KMSRefusal(answer)
    }()

    @Test(
        "[HDS-INDEX-CONSENT] a refusal raises it and forgets everything; the key clears it; a KMS that is away changes nothing"
    )
    func alarm() async throws {
        let watched = Watched()
        let checks = ConsentHealth(watched.health, .indexConsent)
        let answers = Answers()
        let forgotten = Counted()
        let clock = watched.clock
        let consent = Consent(answers, now: { clock.now }) { state in
            checks.report(state)
            if case .refused = state { forgotten.value.withLock { $0 += 1 } }
        }
        answers.next.withLock { $0 = .failure(Self.refusal) }
        await #expect(throws: DiagnosedError.self) { _ = try await consent.sealingKey() }
        #expect(watched.standing(.indexConsent)?.contains("no-consent") == true)
        #expect(forgotten.value.withLock { $0 } == 1)
        let key = SymmetricKey(copying: [UInt8](repeating: 7, count: 32))
        answers.next.withLock { $0 = .success(.sealingKey(KMSSealingKey(key: key, createDate: clock.now))) }
        #expect(try await consent.sealingKey().isEqual(to: key))
        #expect(watched.standing(.indexConsent) == nil)
        let count = answers.asked.withLock { $0 }
        clock.advance(299)
        #expect(try await consent.sealingKey().isEqual(to: key))
        #expect(answers.asked.withLock { $0 } == count, "its word counts for five minutes")
        answers.next.withLock { $0 = .failure(DiagnosedError(.kmsNoAnswer, fault: .peer, "away")) }
        await consent.renew()
        #expect(try await consent.sealingKey().isEqual(to: key))
        clock.advance(1)
        await #expect(throws: DiagnosedError.self) { _ = try await consent.sealingKey() }
        #expect(watched.standing(.indexConsent) == nil && forgotten.value.withLock { $0 } == 1)
    }

    @Test("The KMS is asked at once, then each minute, and each five seconds while nobody answers")
    func due() async throws {
        let watched = Watched()
        let answers = Answers()
        let clock = watched.clock
        let consent = Consent(answers, now: { clock.now }) { _ in }
        func asked(after seconds: Int64) async -> Int {
            clock.advance(seconds)
            let before = answers.asked.withLock { $0 }
            await consent.renewIfDue()
            return answers.asked.withLock { $0 } - before
        }
        answers.next.withLock { $0 = .failure(DiagnosedError(.kmsNoAnswer, fault: .peer, "away")) }
        #expect(await asked(after: 0) == 1)
        #expect(await asked(after: 4) == 0)
        #expect(await asked(after: 1) == 1)
        answers.next.withLock { $0 = .failure(Self.refusal) }
        #expect(await asked(after: 5) == 1)
        #expect(await asked(after: 59) == 0)
        #expect(await asked(after: 1) == 1)
        #expect(await asked(after: -3_600) == 1, "a clock that was set back delays nothing")
    }

    @Test("refusals that concern one message for good are told from those that stop everything")
    func refusals() {
        func isFinal(_ status: Int, _ reason: String) -> Bool {
            var answer = KMSAnswer(status: status, requestID: nil)
            answer.reason = reason
            return IndexRun.isFinal(KMSRefusal(answer))
        }
        #expect(isFinal(404, "no such key kms://kms.example.com/keys/1"))
        #expect(isFinal(403, "the consent indexer is for other spaces (space-not-covered)"))
        #expect(!isFinal(403, "the policy names no consent for this service (no-consent)"))
        #expect(!isFinal(403, "release of keys is frozen (frozen:1)"))
        #expect(!isFinal(429, "too many") && !isFinal(500, "internal error"))
    }
}

@Suite("What the indexer keeps, sealed")
struct SealedStoreTests {
    private let key = SymmetricKey(copying: [UInt8](repeating: 1, count: 32))
    private let folder = TemporaryFolder()
    private var path: String { folder.path + "/index.sqlite" }

    private func octets(_ words: String...) -> [[UInt8]] { words.map { Array($0.utf8) } }

    @Test("words of rooms come back after a restart, many additions are put together, and patterns find them")
    func words() throws {
        var store = try SealedStore(path: path)
        for round in 0..<150 { try store.add(["a": octets("word\(round)")], under: key) }
        try store.add(["b": octets("other", "wordy")], under: key)
        try store.close()
        store = try SealedStore(path: path)
        #expect(try store.words(of: "a", under: key).count == 150)
        let vocabulary = StoredVocabulary(store: store, key: key)
        let found = try vocabulary.words(of: "a", matching: .prefix(Array("word14".utf8)), limit: 20)
        #expect(
            found.isComplete && Set(found.words) == Set((140...149).map { Array("word\($0)".utf8) } + octets("word14")))
        #expect(try !vocabulary.words(of: "a", matching: .prefix(Array("word".utf8)), limit: 20).isComplete)
        #expect(
            try vocabulary.words(of: "b", matching: .prefix(Array("word".utf8)), limit: 20).words == octets("wordy"))
        try store.close()
    }

    @Test("under another key nothing opens, and no word stands in the file")
    func sealed() throws {
        let store = try SealedStore(path: path)
        try store.add(["a": octets("xylophonist")], under: key)
        #expect(try store.resource(of: "a", firstSeen: "kms://kms.example.com/resources/1", under: key) != nil)
        let other = SymmetricKey(copying: [UInt8](repeating: 2, count: 32))
        #expect(throws: DiagnosedError.self) { try store.words(of: "a", under: other) }
        #expect(throws: DiagnosedError.self) { try store.resource(of: "a", firstSeen: nil, under: other) }
        try store.close()
        for name in folder.names(in: "") {
            let text = try folder.contents(of: name)
            #expect(!text.contains("xylophonist") && !text.contains("resources/1"), "\(name)")
        }
    }

    @Test("a room keeps the resource that it was first seen with")
    func pinned() throws {
        let store = try SealedStore(path: path)
        #expect(try store.resource(of: "a", firstSeen: nil, under: key) == nil)
        #expect(try store.resource(of: "a", firstSeen: "one", under: key) == "one")
        #expect(try store.resource(of: "a", firstSeen: "two", under: key) == "one")
        #expect(try store.first("format", "padded en") == "padded en")
        #expect(try store.first("format", "list de") == "padded en")
        try store.close()
    }
}

@Suite("Configuration of hds-indexer")
struct IndexerConfigurationTests {
    private static let example: String = {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        return (try? FileLocation("\(root)/config/hds-indexer.yaml").text()) ?? ""
    }()

    private static func decode(_ text: String) throws -> IndexerConfiguration {
        try ConfigurationFile.decode(Array(text.utf8), file: "hds-indexer.yaml", folder: "/etc/hds")
    }

    @Test("the example shows every key and is taken")
    func example() throws {
        let read = try Self.decode(Self.example)
        #expect(read.node == "indexer-1" && read.index.profile == .padded && read.index.languages == .english)
        #expect(read.index.batch == 256 && read.index.messagesPerEpoch == 100_000)
        let names =
            IndexerConfiguration.CodingKeys.allCases.map(\.rawValue) + IndexSection.CodingKeys.allCases.map(\.rawValue)
        for name in names { #expect(Self.example.contains("\(name):"), "\(name)") }
    }

    @Test(
        "what can not be meant is refused",
        arguments: [
            ("profile: padded", "profile: open"), ("languages: [en]", "languages: [en, klingon]"),
            ("languages: [en]", "languages: []"), ("batch: 256", "batch: 0"), ("host: kms.example.com", "host: KMS"),
            ("node: indexer-1", "nodes: indexer-1"),
        ])
    func refused(_ change: (String, String)) {
        #expect(throws: (any Error).self) {
            try Self.decode(
                Self.example.replacing("\n  \(change.0)", with: "\n  \(change.1)")
                    .replacing("\n\(change.0)", with: "\n\(change.1)"))
        }
    }

    @Test("norwegian is a language and not a denial")
    func norwegian() throws {
        let read = try Self.decode(Self.example.replacing("languages: [en]", with: "languages: [no, en]"))
        #expect(read.index.languageCodes == ["no", "en"])
    }
}

@Suite("Items of the feed")
struct FeedEventTests {
    private func event(_ text: String) throws -> FeedEvent { try FeedEvent(Array(text.utf8)) }

    @Test("messages, deletions and removals are read; what is of no matter is passed over; nonsense is an error")
    func events() throws {
        let target = #""target":{"objectType":"conversation","id":"r"},"published":"2026-11-27T10:00:00.000Z""#
        let post = try event(
            #"{"type":"activity","activity":{"id":"m","sequence":4,"verb":"post","actor":"A","encryptionKeyUrl":"k",\#(target),"object":{"displayName":"j"}}}"#
        )
        guard case .message(let message) = post else {
            Issue.record("no message")
            return
        }
        #expect(message.room == "r" && message.id == "m" && message.sequence == 4 && message.actor == "a")
        #expect(message.type == "comment" && message.keyURI == "k" && message.files.isEmpty)
        guard
            case .message(let edit) = try event(
                #"{"type":"activity","activity":{"id":"e","sequence":9,"verb":"edit","actor":"A","encryptionKeyUrl":"k2",\#(target),"object":{"id":"m","displayName":"j2"}}}"#
            )
        else {
            Issue.record("no edit")
            return
        }
        #expect(edit.id == "m" && edit.sequence == 9 && edit.keyURI == "k2" && edit.type == "comment")
        #expect(edit.digest != message.digest)
        guard
            case .deletion("r", "m", 5) = try event(
                #"{"type":"activity","activity":{"id":"d","sequence":5,"verb":"delete","object":{"id":"m"},\#(target)}}"#
            )
        else {
            Issue.record("no deletion")
            return
        }
        guard
            case .deletion("r", "m", 4) = try event(
                #"{"type":"expired","conversation":"r","message":"m","sequence":4}"#)
        else {
            Issue.record("nothing has expired")
            return
        }
        guard
            case .removal("r") = try event(
                #"{"type":"activity","activity":{"id":"l","sequence":6,"verb":"leave","object":{"id":"x"},\#(target)}}"#
            )
        else {
            Issue.record("no removal")
            return
        }
        for text in [
            #"{"type":"conversation","conversation":{}}"#, #"{"type":"new kind"}"#,
            #"{"type":"activity","activity":{"id":"t","sequence":7,"verb":"tombstone",\#(target)}}"#,
        ] {
            guard case .other = try event(text) else {
                Issue.record("\(text)")
                return
            }
        }
        #expect(throws: DiagnosedError.self) { try event("no json") }
    }
}

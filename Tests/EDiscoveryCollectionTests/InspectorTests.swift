import ContentInspection
import Diagnostics
import EDiscoveryCollection
import KMSClient
import LinkedService
import ServiceRuntime
import Synchronization
import TestServers
import Testing
import WireText

@testable import EDiscoveryService

@Suite("Inspection of messages as they come") struct InspectorTests {
    private final class Log: Sendable {
        let lines = Mutex<[String]>([])
        func add(_ line: String) { lines.withLock { $0.append(line) } }
        var all: [String] { lines.withLock { $0 } }
    }

    private struct World {
        let folder = TemporaryFolder()
        let kms = FakeKMS()
        let core = FakeCore()
        let mirror: Mirror
        let log = Log()
        let now = Timestamp(iso8601: "2026-02-01T00:00:00Z")!

        init() throws { mirror = try Mirror(path: folder.path + "/mirror.sqlite") }

        func inspector(_ rules: [InspectionRule], scanner: (any TextScanning)? = nil) -> Inspector {
            Inspector(
                rules: rules, scanner: scanner, scannerActions: [.alert],
                consent: Consent(kms, now: { [now] in now }) { _ in },
                kms: kms, mirror: mirror, now: { [now] in now }, found: { [log] in log.add("\($0) \($1)") },
                counted: { [log] in log.add($0) })
        }

        func add(_ items: [[UInt8]]) throws { try mirror.add(items.map { (FeedEntry($0)!, $0) }, under: kms.key) }

        func said(_ sequence: Int, _ text: String) throws -> [UInt8] {
            let jwe = try EncryptedText(encrypting: text, under: kms.key).jwe
            return event(sequence, "post", "ada", #"{"displayName":"\#(jwe)"}"#, key: "kms://k/keys/report")
        }
    }

    private static let cards = InspectionRule(name: "cards", detectors: [.cardNumber], actions: [.alert, .remove])

    @Test("What was there before is left alone; each message that comes is looked at once, also over a new worker")
    func once() async throws {
        let world = try World()
        world.kms.givesServices.withLock { $0 = true }
        try world.add([beginning, world.said(1, "4111111111111111")])
        while try await world.inspector([Self.cards]).work() {}
        #expect(world.log.all.isEmpty)
        try world.add([world.said(2, "hello"), world.said(3, "pay with 4111 1111 1111 1111")])
        while try await world.inspector([Self.cards]).work() {}
        #expect(world.log.all == ["clean", "found", "cards 1"])
        while try await world.inspector([Self.cards]).work() {}
        #expect(world.log.all.count == 3)
        let findings = try world.mirror.documents("finding", under: world.kms.key)
        #expect(findings.count == 1 && findings[0].root["activityId"]?.string == "a3")
        #expect(!findings[0].root.rawText.contains("4111"), "a finding has no text")
        // What it wants removed is done by the job for all removals, which asks the holds.
        #expect(try world.mirror.removals(because: "inspection").wanted == 1)
    }

    @Test("An edit is looked at as well, and it is its message that goes")
    func edited() async throws {
        let world = try World()
        world.kms.givesServices.withLock { $0 = true }
        _ = try await world.inspector([Self.cards]).work()
        let jwe = try EncryptedText(encrypting: "4111111111111111", under: world.kms.key).jwe
        try world.add([
            beginning, world.said(1, "clean"),
            event(2, "edit", "ada", #"{"id":"a1","displayName":"\#(jwe)"}"#, key: "kms://k/keys/report"),
        ])
        _ = try await world.inspector([Self.cards]).work()
        let destroyer = Destroyer(
            consent: Consent(world.kms) { _ in }, mirror: world.mirror,
            vault: try FileVault(folder: world.folder.path + "/files", largest: 1), core: world.core,
            sign: { _ in "signed" })
        try await destroyer.work()
        #expect(world.core.removed.withLock { $0 } == ["room/a1"])
    }

    @Test("What can not be opened is counted and passed over; while the KMS is away nothing is passed over")
    func closed() async throws {
        let world = try World()
        _ = try await world.inspector([Self.cards]).work()
        try world.add([beginning, world.said(1, "4111111111111111")])
        world.kms.away.withLock { $0 = true }
        await #expect(throws: (any Error).self) { try await world.inspector([Self.cards]).work() }
        #expect(world.log.all.isEmpty)
        world.kms.away.withLock { $0 = false }
        _ = try await world.inspector([Self.cards]).work()
        #expect(world.log.all == ["unreadable"], "no consent for that space")
    }

    @Test("A scanner's word counts beside the rules") func scanned() async throws {
        let world = try World()
        world.kms.givesServices.withLock { $0 = true }
        _ = try await world.inspector([], scanner: FixedScanner()).work()
        try world.add([beginning, world.said(1, "a virus"), world.said(2, "none")])
        _ = try await world.inspector([], scanner: FixedScanner()).work()
        #expect(world.log.all == ["found", "eicar 1", "clean"])
    }

    private struct FixedScanner: TextScanning {
        func verdict(on text: String) async throws -> String? { text.contains("virus") ? "eicar" : nil }
    }

    private struct File: Decodable {
        let dlp: DLPSection
        enum CodingKeys: String, CodingKey, CaseIterable { case dlp }
    }

    @Test("Rules are taken as they stand in the file") func taken() throws {
        let text =
            "dlp:\n  rules:\n    - {name: a, cards: true, words: [x], at-least: 2, spaces: [S], actions: [remove]}\n"
        let file: File = try ConfigurationFile.decode(Array(text.utf8), file: "f.yaml", folder: "/")
        let rule = try #require(file.dlp.rules.first)
        #expect(rule.detectors.count == 2 && rule.atLeast == 2 && rule.spaces == ["s"] && rule.actions == [.remove])
    }

    @Test(
        "Rules that can not be meant are refused by their place",
        arguments: [
            ("rules: []", "rules"), ("rules: [{name: a}]", "name"), ("rules: [{name: a, patterns: ['(']}]", "patterns"),
            ("rules: [{name: a, cards: true, actions: [freeze]}]", "actions"),
            ("rules: [{name: a, cards: true}, {name: a, cards: true}]", "rules"),
            ("scanner: {url: 'http://scanner.example.com/'}", "url"),
        ])
    func section(text: String, place: String) throws {
        let octets = Array("dlp:\n  \(text)\n".utf8)
        let error = #expect(throws: ConfigurationError.self) {
            try ConfigurationFile.decode(octets, file: "f.yaml", folder: "/") as File
        }
        #expect(error?.problems.contains { $0.path.contains(place) } == true, "\(String(describing: error?.problems))")
    }
}

import Diagnostics
import EDiscoveryCollection
import EDiscoveryModel
import GRDB
import KMSClient
import KMSProtocol
import LinkedService
import SecretMemory
import Synchronization
import TestServers
import Testing
import WireText

@testable import EDiscoveryService

/// A KMS with one officer, whose report key belongs to `carol` for matter m7; content keys are given on behalf of ada alone.
final class FakeKMS: KMSAsking {
    let key = SymmetricKey(copying: [UInt8](repeating: 7, count: 32))
    let space = "kms://kms.example.com/resources/00000000-0000-4000-8000-000000000001"
    let asked = Mutex<[String]>([])
    let consents = Mutex(true)
    let away = Mutex(false)
    let ended = Mutex(false)
    /// Whether content keys are given to the service itself, as by a consent for all spaces.
    let givesServices = Mutex(false)
    let holds = Mutex<[String]>([])

    private func refusal(_ status: Int, _ reason: String) -> KMSRefusal {
        var answer = KMSAnswer(status: status, requestID: nil)
        answer.reason = reason
        return KMSRefusal(answer)
    }

    func perform(_ operation: KMSOperation, on behalf: KMSCaller.Behalf?) async throws -> KMSAnswer {
        let time = Timestamp(milliseconds: 0)
        func given(_ owner: String) -> KMSAnswer {
            KMSAnswer(
                status: 200, requestID: nil,
                body: .key(
                    KMSKey(
                        uri: operation.uri, key: key, userID: owner, clientID: "c", createDate: time,
                        expirationDate: time, resourceURI: space)))
        }
        switch operation {
        case .createSealingKey:
            guard consents.withLock({ $0 }) else { throw refusal(403, "the policy names no consent (no-consent)") }
            return KMSAnswer(
                status: 200, requestID: nil, body: .sealingKey(KMSSealingKey(key: key, createDate: time)))
        case .createHold(let resource, _):
            holds.withLock { $0.append("create \(resource)") }
            return KMSAnswer(status: 201, requestID: nil)
        case .deleteHold(let resource):
            holds.withLock { $0.append("delete \(resource)") }
            return KMSAnswer(status: 200, requestID: nil)
        case .createSignature: return KMSAnswer(status: 201, requestID: nil, body: .signature("signed"))
        case .useKey(let uri, .report):
            guard uri.hasPrefix("kms://kms.example.com/keys/report") else { throw refusal(403, "(not-the-askers-key)") }
            return given(uri.hasSuffix("mallory") ? "mallory" : "carol")
        case .retrieveResource:
            guard behalf?.person == behalf?.officer, behalf?.officer == "carol", behalf?.matter == "m7" else {
                throw refusal(403, "(not-an-agent)")
            }
            return KMSAnswer(status: 200, requestID: nil)
        case .useKey(let uri, .content):
            if away.withLock({ $0 }) { throw refusal(503, "away") }
            if ended.withLock({ $0 }) { throw refusal(403, "this person is no officer (not-an-agent)") }
            asked.withLock {
                $0.append("\(uri) \(behalf?.person ?? "-") \(behalf?.officer ?? "-") \(behalf?.matter ?? "-")")
            }
            if behalf == nil, givesServices.withLock({ $0 }) { return given("ada") }
            guard behalf?.person == "ada" else { throw refusal(403, "not a member") }
            return given("ada")
        default: throw refusal(501, "not here")
        }
    }
}

@Suite("The desk for officers, and the collector behind it") struct DeskTests {
    private struct World {
        let folder = TemporaryFolder()
        let kms = FakeKMS()
        let mirror: Mirror
        let consent: Consent
        let desk: OfficerDesk
        let now: Timestamp

        init() throws {
            mirror = try Mirror(path: folder.path + "/mirror.sqlite")
            let now = Timestamp(iso8601: "2026-02-01T00:00:00Z")!
            self.now = now
            consent = Consent(kms, now: { now }) { _ in }
            let commands = OfficerCommands(
                mirror: mirror,
                directory: try Directory(Array(#"{"people":[{"id":"ADA","emails":["Ada@x.test","al@x.test"]}]}"#.utf8)),
                now: { now })
            desk = OfficerDesk(consent: consent, kms: kms, commands: commands)
        }

        var collector: Collector {
            Collector(
                consent: consent, mirror: mirror, kms: kms, directory: Directory(), report: { _ in }, counted: { _ in })
        }

        /// Space `room` of the collection tests in several copies, sealed under the key.
        func fill(_ spaces: [String]) throws {
            for space in spaces {
                func named(_ octets: [UInt8]) -> [UInt8] {
                    Array(
                        String(decoding: octets, as: UTF8.self).replacing(#""id":"room""#, with: #""id":"\#(space)""#)
                            .utf8)
                }
                let jwe = try EncryptedText(encrypting: "said in \(space)", under: kms.key).jwe
                let items = [beginning, event(1, "post", "ada", #"{"displayName":"\#(jwe)"}"#)].map(named)
                try mirror.add(items.map { (FeedEntry($0)!, $0) }, under: kms.key)
            }
        }

        func command(
            _ name: String, _ body: String = "{}", matter: String = "m7", id: String = UUIDText.random(),
            late seconds: Int64 = 0, user: String = "carol", key: String = "report"
        ) throws -> [UInt8] {
            let text =
                #"{"type":"command","id":"\#(id)","time":"\#(now.adding(seconds: -seconds).iso8601)","#
                + #""command":"\#(name)","matter":"\#(matter)","body":\#(body)}"#
            let jwe = try EncryptedText(encrypting: text, under: kms.key).jwe
            return Array(
                #"{"userId":"\#(user)","message":"\#(jwe)","encryptionKeyUrl":"kms://kms.example.com/keys/\#(key)"}"#
                    .utf8)
        }

        /// Status and body of the sealed answer; the cover's status alone when nothing is sealed.
        func answer(_ command: [UInt8]) async throws -> (status: Int, body: String) {
            let answer = await desk.answer(command)
            guard answer.status == 200 else { return (answer.status, "") }
            var octets: [UInt8] = [], status = 0
            for message in answer.messages {
                let root = try JSONDocument(text: EncryptedText(received: message).text(with: kms.key)).root
                status = Int(root["status"]?.integer ?? 0)
                octets += try #require(root["octets"]?.string.flatMap { Base64URL.decode($0) })
            }
            return (status, String(decoding: octets, as: UTF8.self))
        }

        func create(_ body: String = #"{"name":"r","caseId":"m7"}"#) async throws -> String {
            let answer = try await answer(command("reports.create", body))
            return try #require(try JSONDocument(text: answer.body).root["id"]?.string, "\(answer)")
        }
    }

    @Test("A command is taken once, fresh, from its key's owner, and from an officer of its matter only") func who()
        async throws
    {
        let world = try World()
        let id = UUIDText.random()
        #expect(try await world.answer(world.command("reports.list", id: id)).status == 200)
        #expect(try await world.answer(world.command("reports.list", id: id)).status == 409, "again")
        #expect(try await world.answer(world.command("reports.list", late: 121)).status == 409)
        #expect(try await world.answer(world.command("reports.list", late: -121)).status == 409)
        #expect(try await world.answer(world.command("reports.list", late: 119)).status == 200)
        #expect(try await world.answer(world.command("reports.list", matter: "m8")).status == 403)
        #expect(try await world.answer(world.command("reports.list", user: "mallory")).status == 403)
        #expect(
            try await world.answer(world.command("reports.list", user: "mallory", key: "report-mallory")).status == 403)
        #expect(try await world.answer(world.command("reports.list", key: "of-a-room")).status == 403)
        let trail = try world.mirror.audited(newest: 10, under: world.kms.key)
        #expect(trail.count == 4 && trail.filter { $0.contains("refused") }.count == 2, "\(trail)")
    }

    @Test("Without consent nothing is answered") func consent() async throws {
        let world = try World()
        world.kms.consents.withLock { $0 = false }
        let answer = await world.desk.answer(try world.command("reports.list"))
        #expect(answer.status == 503 && answer.messages.isEmpty && answer.reason?.contains("consent") == true)
    }

    @Test("Addresses are found by every alias and in any case; unknown ones are an error that lists them")
    func addresses() async throws {
        let world = try World()
        let found = try await world.create(#"{"name":"r","caseId":"m7","subjects":{"emails":["AL@X.test"]}}"#)
        #expect(try world.mirror.report(found, under: world.kms.key)?.subjects == ["ada"])
        let answer = try await world.answer(
            world.command(
                "reports.create", #"{"name":"r","caseId":"m7","subjects":{"emails":["ada@x.test","no@x.test"]}}"#))
        #expect(answer.status == 400 && answer.body.contains("no@x.test") && !answer.body.contains("ada@x.test"))
    }

    @Test("The same idempotency key gives the same report") func idempotent() async throws {
        let world = try World()
        let body = #"{"name":"r","caseId":"m7","idempotencyKey":"one"}"#
        #expect(try await world.create(body) == world.create(body))
        #expect(try world.mirror.reports(under: world.kms.key).count == 1)
    }

    @Test("Cut off in the middle and worked at by another, a report has the items of one that was not") func resumed()
        async throws
    {
        let world = try World()
        try world.fill(["r1", "r2", "r3"])
        let whole = try await world.create(), cut = try await world.create()
        await world.collector.work()
        #expect(try world.mirror.report(cut, under: world.kms.key)?.progress.state == .completed)
        let again = try await world.create()
        // The first space by hand, as a worker that ended behind it; then what a dead one leaves, and another.
        let report = try #require(try world.mirror.report(again, under: world.kms.key))
        let first = try #require(try world.mirror.space(after: nil, until: report.until))
        let keys = ContentKeys(
            world.kms, officer: "carol", matter: "m7", sealing: { world.kms.key }, now: { world.now })
        var step = ReportProgress.Step()
        step.add(
            try await SpaceCollection(report.asked, subjects: [], people: { Person(id: $0) }, opener: keys)
                .items(of: world.mirror.log(of: first, under: world.kms.key)))
        (step.spaces, step.checkpoint) = (1, .init(space: first))
        try world.mirror.update(again, under: world.kms.key) { report in
            report.progress.begin(spaces: 3)
            _ = report.progress.take(step, limits: .init(items: 10, fails: false))
            return step.texts
        }
        world.kms.away.withLock { $0 = true }
        await world.collector.work()
        #expect(try world.mirror.report(again, under: world.kms.key)?.progress.state == .collecting, "the KMS was away")
        world.kms.away.withLock { $0 = false }
        await world.collector.work()
        func octets(_ id: String) throws -> [[UInt8]] {
            try world.mirror.items(of: id, after: 0, count: 100, under: world.kms.key).map(\.octets)
        }
        #expect(try octets(whole).count == 3)
        #expect(try octets(again) == octets(whole) && octets(cut) == octets(whole))
        #expect(
            world.kms.asked.withLock { $0 }.allSatisfy { $0.hasSuffix("ada carol m7") },
            "in the officer's name and matter")
    }

    @Test("An officer whose capacity has ended gets a failed report that says so, and no item") func ended()
        async throws
    {
        let world = try World()
        try world.fill(["r1"])
        let report = try await world.create()
        world.kms.ended.withLock { $0 = true }
        await world.collector.work()
        let kept = try #require(try world.mirror.report(report, under: world.kms.key))
        #expect(kept.progress.state == .failed && kept.progress.reason?.contains("not-an-agent") == true)
        #expect(try world.mirror.items(of: report, after: 0, count: 9, under: world.kms.key).isEmpty)
    }

    @Test("What arrives after a report was ordered is not part of it, and what came first at a place stays")
    func fixed() async throws {
        let world = try World()
        try world.fill(["r1"])
        let report = try await world.create()
        try world.fill(["r0", "r1"])
        await world.collector.work()
        let answer = try await world.answer(world.command("reports.items", #"{"id":"\#(report)"}"#))
        #expect(answer.body.contains("said in r1") && !answer.body.contains("said in r0"))
        #expect(try world.mirror.last() == 4)
    }

    @Test("A changed row of the audit is noticed") func chained() async throws {
        let world = try World()
        for _ in 0..<3 { _ = try await world.answer(world.command("reports.list")) }
        #expect(try world.mirror.audited(newest: 10, under: world.kms.key).count == 3)
        let database = try DatabaseQueue(path: world.folder.path + "/mirror.sqlite")
        try await database.write { try $0.execute(sql: "UPDATE audit SET sealed = x'00' WHERE position = 2") }
        #expect(throws: DiagnosedError.self) { try world.mirror.audited(newest: 10, under: world.kms.key) }
    }
}

import Cryptography
import EDiscoveryService
import Foundation
import Glibc
import JOSESignature
import KMSClient
import KMSProtocol
import SecretMemory
import TestVectors
import WireText

/// Reports of real messages: into the mirror, collected with keys on behalf of participants, exported in every form and sealed.
/// The KMS answers in the process at once, so the figures are those of the worker.
struct BenchEDiscovery {
    let folder: URL

    /// What an officer may expect of two cores for text.
    private static let aim = 5000.0

    func measure() async throws -> [Measurement] {
        guard ChatCorpus.english.isAvailable else { return [] }
        let messages = try ChatCorpus.english.messages()
        var lines: [Measurement] = []
        var resident: [Int: Double] = [:]
        for count in [10_000, messages.count] {
            let place = folder.appending(path: "ediscovery-\(count)")
            try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
            let figures = try await measure(Array(messages.prefix(count)), in: place)
            resident[count] = figures.resident
            try FileManager.default.removeItem(at: place)
            guard count == messages.count else { continue }
            lines += [
                Measurement("items of the feed into the mirror", figures.mirrored, "items/s"),
                Measurement(
                    "report of \(count) messages, collected", figures.collected, "items/s", limit: Self.aim, "aim"),
                Measurement(
                    "export of them in seven forms, sealed", figures.exported, "items/s", limit: Self.aim, "aim"),
                Measurement("collected and exported", figures.both, "items/s", limit: Self.aim, "aim"),
            ]
        }
        if let small = resident[10_000], let large = resident[messages.count] {
            lines.append(
                Measurement(
                    "most memory with \(messages.count) messages", large, "MB", limit: small * 1.5,
                    "1.5 times that with 10,000"))
        }
        return lines
    }

    private struct Figures {
        var mirrored = 0.0
        var collected = 0.0
        var exported = 0.0
        var both = 0.0
        var resident = 0.0
    }

    private func measure(_ messages: [ChatMessage], in place: URL) async throws -> Figures {
        let key = try SymmetricKey.random()
        let officer = try PrivateKey.generateP256()
        var json = JSONWriter()
        json.beginObject()
        json.name("keys")
        json.beginArray()
        JWK(publicKey: officer.publicKey, kid: "officer", use: "enc").write(to: &json)
        json.endArray()
        json.endObject()
        let recipients = place.appending(path: "recipients.json")
        try Data(json.bytes()).write(to: recipients)
        let run = try CollectingRun(folder: place.path, recipients: recipients.path) { operation, _ in
            try Self.answer(operation, key, officer)
        }
        let items = try Self.feed(messages, key)
        var figures = Figures()
        var start = ContinuousClock.now
        for batch in stride(from: 0, to: items.count, by: 256) {
            try await run.add(Array(items[batch..<min(items.count, batch + 256)]))
        }
        figures.mirrored = Double(items.count) / Self.seconds(since: start)
        let report = try await run.ask("reports.create", #"{"name":"all"}"#)["id"]?.string ?? ""
        start = .now
        await run.collect()
        let collecting = Self.seconds(since: start)
        let state = try await run.ask("reports.get", #"{"id":"\#(report)"}"#)
        guard state["state"]?.string == "completed", let found = state["summary"]?["items"]?.integer else {
            throw BenchFailure("the report did not complete: \(state.rawText)")
        }
        figures.collected = Double(found) / collecting
        let export = try await run.ask("exports.create", #"{"reportId":"\#(report)","encryptTo":"officer"}"#)["id"]?
            .string
        start = .now
        try await run.export()
        let exporting = Self.seconds(since: start)
        let made = try await run.ask("exports.get", #"{"id":"\#(export ?? "")"}"#)
        guard made["state"]?.string == "completed" else {
            throw BenchFailure("the export did not complete: \(made.rawText)")
        }
        figures.exported = Double(found) / exporting
        figures.both = Double(found) / (collecting + exporting)
        figures.resident = Self.mostResident()
        return figures
    }

    struct BenchFailure: Error, CustomStringConvertible {
        let description: String
        init(_ description: String) { self.description = description }
    }

    private static func seconds(since start: ContinuousClock.Instant) -> Double {
        let time = start.duration(to: .now).components
        return Double(time.seconds) + Double(time.attoseconds) / 1e18
    }

    /// The most so far, in MB.
    private static func mostResident() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return Double(usage.ru_maxrss) / 1024
    }

    private static func answer(_ operation: KMSOperation, _ key: SymmetricKey, _ signer: PrivateKey) throws -> KMSAnswer
    {
        let time = Timestamp(milliseconds: 0)
        switch operation {
        case .createSealingKey:
            return KMSAnswer(status: 200, requestID: nil, body: .sealingKey(KMSSealingKey(key: key, createDate: time)))
        case .useKey(let uri, _):
            return KMSAnswer(
                status: 200, requestID: nil,
                body: .key(
                    KMSKey(
                        uri: uri, key: key, userID: "u", clientID: "c", createDate: time, expirationDate: time,
                        resourceURI: "kms://k/resources/00000000-0000-4000-8000-000000000001")))
        case .createSignature(let digest):
            let payload = #"{"type":"hds-ediscovery-export","digest":"\#(Base64URL.encode(digest))"}"#
            let jws = try JWS.sign(
                Array(payload.utf8), with: signer, algorithm: .es256, kid: nil, typ: "hds-ediscovery-export+jws")
            return KMSAnswer(status: 201, requestID: nil, body: .signature(jws))
        default: return KMSAnswer(status: 200, requestID: nil)
        }
    }

    /// As the core tells it: a beginning of each room with its people, then its messages.
    private static func feed(_ messages: [ChatMessage], _ key: SymmetricKey) throws -> [[UInt8]] {
        var items: [[UInt8]] = []
        var places: [String: Int64] = [:]
        var people: [String: Set<String>] = [:]
        for message in messages { people[message.room, default: []].insert(message.sender) }
        for message in messages {
            if places[message.room] == nil {
                var json = JSONWriter()
                json.beginObject()
                json.member("type", "conversation")
                json.name("conversation")
                json.beginObject()
                json.member("id", message.room)
                json.member("creator", message.sender)
                json.name("participants")
                json.beginArray()
                for person in (people[message.room] ?? []).sorted().prefix(20) {
                    json.beginObject()
                    json.member("id", person)
                    json.endObject()
                }
                json.endArray()
                json.member("published", Timestamp(milliseconds: 0).iso8601)
                json.endObject()
                json.endObject()
                items.append(json.bytes())
            }
            let sequence = places[message.room, default: 0] + 1
            places[message.room] = sequence
            var json = JSONWriter(reserving: 1024)
            json.beginObject()
            json.member("type", "activity")
            json.name("activity")
            json.beginObject()
            json.member("id", message.id)
            json.member("verb", "post")
            json.member("actor", message.sender)
            json.member("sequence", sequence)
            json.member("published", Timestamp(milliseconds: message.published).iso8601)
            json.member("encryptionKeyUrl", "kms://k/keys/\(sequence / 1000)")
            json.name("target")
            json.beginObject()
            json.member("id", message.room)
            json.endObject()
            json.name("object")
            json.beginObject()
            json.member("displayName", try EncryptedText(encrypting: message.text, under: key).jwe)
            json.endObject()
            json.endObject()
            json.endObject()
            items.append(json.bytes())
        }
        return items
    }
}

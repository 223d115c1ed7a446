import Diagnostics
import EDiscoveryCollection
import KMSClient
import KMSProtocol
import LinkedService
import SecretMemory
import WireText

/// Takes commands of compliance officers (docs/ediscovery.md, Channel).
///
/// Rules (security model, 31):
/// 1. The key of the command tells whose it is: the KMS gives it only when it is its creator's alone, and for report requests
///    alone. A command in another name is refused.
/// 2. The KMS lets the officer look at the space of that key through this service, on his own behalf, for the matter of the command: it does
///    so for officers of the signed policy only.
/// 3. A command is at most two minutes old, and is taken once.
/// 4. Each command stands in the audit before it is done, refused ones as well. An officer sees his own reports only.
actor OfficerDesk {
    static let patience: Int64 = 120

    private let consent: Consent
    private let kms: any KMSAsking
    private let mirror: Mirror
    private let directory: Directory
    private let now: @Sendable () -> Timestamp
    private static let limits = JSONDocument.Limits(maximumDepth: 12, maximumNodes: 20_000, maximumBytes: 256 << 10)
    /// Octets of items in one answer.
    static let page = 192 << 10

    init(
        consent: Consent, kms: any KMSAsking, mirror: Mirror, directory: Directory,
        now: @escaping @Sendable () -> Timestamp = { .now() }
    ) {
        self.consent = consent
        self.kms = kms
        self.mirror = mirror
        self.directory = directory
        self.now = now
    }

    /// What the core brings and takes back: it sees who asks whom, and lengths.
    struct Refused: Error {
        let status: Int
        let reason: String
    }

    struct Answer: Sendable {
        var status = 200
        var reason: String?
        /// Parts of the sealed answer, in their order.
        var messages: [String] = []

        func encoded() -> [UInt8] {
            var json = JSONWriter(reserving: 4096)
            json.beginObject()
            json.member("status", status)
            json.member("reason", ifPresent: reason)
            json.member("messages", messages)
            json.endObject()
            return json.bytes()
        }
    }

    func answer(_ octets: [UInt8]) async -> Answer {
        do {
            return try await answered(octets)
        } catch let refused as Refused {
            return Answer(status: refused.status, reason: refused.reason)
        } catch let error as DiagnosedError where error.code == .ediscoveryConsent {
            return Answer(status: 503, reason: "the organisation's consent for this service is missing")
        } catch let refusal as KMSRefusal {
            return Answer(status: 503, reason: "the KMS refuses: \(refusal.status)")
        } catch {
            return Answer(status: 503, reason: "the worker can not do this at present")
        }
    }

    private func answered(_ octets: [UInt8]) async throws -> Answer {
        guard let root = try? JSONDocument(octets, limits: Self.limits).root, let user = root["userId"]?.string,
            let message = root["message"]?.string, let uri = root["encryptionKeyUrl"]?.string
        else { throw Refused(status: 400, reason: "the command is malformed") }
        let sealing = try await consent.sealingKey()
        let key = try await key(uri, of: user)
        guard let text = try? EncryptedText(received: message).text(with: key.key),
            let command = try? JSONDocument(text: text, limits: Self.limits).root,
            command["type"]?.string == "command", let id = command["id"]?.string, UUIDText.isValid(id),
            let name = command["command"]?.string,
            let time = command["time"]?.string.flatMap({ Timestamp(iso8601: $0) })
        else { throw Refused(status: 400, reason: "the command does not open under its key, or is malformed") }
        // From here on everything that is answered is sealed.
        var status = 200
        var body: String
        let present = now()
        do {
            guard abs(time.milliseconds - present.milliseconds) <= Self.patience * 1000 else {
                throw Refused(status: 409, reason: "the command's time is more than two minutes from the worker's")
            }
            guard try mirror.isNew(command: id, until: time.adding(seconds: 2 * Self.patience), now: present) else {
                throw Refused(status: 409, reason: "the command was taken before")
            }
            let matter = try await demandOfficer(key, user, command, name, under: sealing)
            try note(name, key.userID, matter, command["body"]?["id"]?.string, "taken", under: sealing)
            body = try perform(name, command["body"], officer: key.userID, matter: matter, under: sealing)
        } catch let refused as Refused {
            (status, body) = (refused.status, Self.object("reason", refused.reason))
        } catch let error as DiagnosedError where error.fault == .client {
            (status, body) = (400, Self.object("reason", error.description))
        }
        return Answer(messages: try Self.seal(body, status: status, answering: id, under: key.key))
    }

    // MARK: - Who asks

    /// Rule 1.
    private func key(_ uri: String, of user: String) async throws -> KMSKey {
        do {
            guard case .key(let key) = try await kms.perform(.useKey(uri, .report), on: nil).body else {
                throw DiagnosedError(.kmsMismatch, fault: .peer, "the KMS gave no key")
            }
            guard key.userID.lowercased() == user.lowercased() else {
                throw Refused(status: 403, reason: "the command is another person's")
            }
            return key
        } catch let refusal as KMSRefusal where [403, 404, 501].contains(refusal.status) {
            throw Refused(status: 403, reason: "the KMS does not give the command's key for report requests")
        }
    }

    /// Rule 2.
    private func demandOfficer(
        _ key: KMSKey, _ user: String, _ command: JSONNode, _ name: String, under sealing: SymmetricKey
    ) async throws -> String? {
        let matter = command["matter"]?.string
        guard let resource = key.resourceURI else { throw Refused(status: 403, reason: "the key has no space") }
        do {
            try await kms.perform(
                .retrieveResource(resource), on: .init(of: key.userID, officer: key.userID, matter: matter))
        } catch let refusal as KMSRefusal where [403, 404].contains(refusal.status) {
            try note(name, key.userID, matter, nil, "refused", under: sealing)
            throw Refused(
                status: 403,
                reason: "the KMS does not take you for a compliance officer of this matter: \(refusal.reason)")
        }
        return matter
    }

    // MARK: - What is asked

    private func perform(
        _ name: String, _ body: JSONNode?, officer: String, matter: String?, under key: SymmetricKey
    ) throws -> String {
        switch name {
        case "reports.create":
            guard let body else { throw Refused(status: 400, reason: "a report needs a request") }
            return try create(body, officer: officer, matter: matter, under: key)
        case "reports.list":
            let own = try mirror.reports(under: key).filter { $0.officer == officer && $0.matter == matter }
            var json = JSONWriter(reserving: 4096)
            json.beginObject()
            json.name("reports")
            json.beginArray()
            for report in own.sorted(by: { ($0.created, $0.id) < ($1.created, $1.id) }).suffix(200) {
                report.write(to: &json)
            }
            json.endArray()
            json.endObject()
            return json.text()
        case "audit.query":
            let entries = try mirror.audited(newest: 500, under: key)
            return "{\"entries\":[" + entries.joined(separator: ",") + "]}"
        case "reports.get": return try own(body, officer, matter, key).text()
        case "reports.pause": return try order(.pause, body, officer, matter, key)
        case "reports.resume": return try order(.resume, body, officer, matter, key)
        case "reports.cancel": return try order(.cancel, body, officer, matter, key)
        case "reports.delete":
            let report = try own(body, officer, matter, key)
            try mirror.delete(report.id)
            return Self.object("deleted", report.id)
        case "reports.items": return try items(own(body, officer, matter, key), body, key)
        default: throw Refused(status: 400, reason: "there is no such command")
        }
    }

    private func create(
        _ body: JSONNode, officer: String, matter: String?, under key: SymmetricKey
    ) throws -> String {
        let request = try ReportRequest(body)
        guard request.matter == matter else {
            throw Refused(status: 400, reason: "caseId is not the matter of the command")
        }
        if let idempotencyKey = request.idempotencyKey {
            for known in try mirror.reports(under: key) where known.officer == officer {
                if try known.asked.idempotencyKey == idempotencyKey { return known.text() }
            }
        }
        let report = Report(
            id: UUIDText.random(), officer: officer, created: now(), until: try mirror.last(), request: body.rawText,
            subjects: try directory.ids(of: request))
        try mirror.insert(report, under: key)
        return report.text()
    }

    private func own(_ body: JSONNode?, _ officer: String, _ matter: String?, _ key: SymmetricKey) throws -> Report {
        guard let id = body?["id"]?.string, let report = try mirror.report(id, under: key), report.officer == officer,
            report.matter == matter
        else { throw Refused(status: 404, reason: "you have no such report in this matter") }
        return report
    }

    private func order(
        _ order: ReportProgress.Order, _ body: JSONNode?, _ officer: String, _ matter: String?, _ key: SymmetricKey
    ) throws -> String {
        let report = try own(body, officer, matter, key)
        let changed = try mirror.update(report.id, under: key) { report in
            try report.progress.order(order)
            return []
        }
        return (changed ?? report).text()
    }

    private func items(_ report: Report, _ body: JSONNode?, _ key: SymmetricKey) throws -> String {
        let after = body?["after"]?.integer ?? 0
        let limit = Int(min(max(body?["limit"]?.integer ?? 200, 1), 1000))
        var texts: [String] = [], size = 0, next: Int64?
        for (place, octets) in try mirror.items(of: report.id, after: after, count: limit, under: key) {
            guard texts.isEmpty || size + octets.count <= Self.page else { break }
            size += octets.count
            next = place
            // One that fits into no answer is named.
            texts.append(
                size > 2 * Self.page
                    ? "{\"place\":\(place),\"problems\":[{\"class\":\"tooLarge\"}]}"
                    : String(decoding: octets, as: UTF8.self))
        }
        return "{\"items\":[" + texts.joined(separator: ",") + "]" + (next.map { ",\"next\":\($0)" } ?? "") + "}"
    }

    private func note(
        _ name: String, _ officer: String, _ matter: String?, _ report: String?, _ outcome: String,
        under key: SymmetricKey
    ) throws {
        var json = JSONWriter()
        json.beginObject()
        json.member("time", now().iso8601)
        json.member("officer", officer)
        json.member("action", name)
        json.member("matter", ifPresent: matter)
        json.member("report", ifPresent: report)
        json.member("outcome", outcome)
        json.endObject()
        try mirror.audit(json.bytes(), under: key)
    }

    // MARK: - Sealing

    private static func object(_ name: String, _ text: String) -> String {
        var json = JSONWriter()
        json.beginObject()
        json.member(name, text)
        json.endObject()
        return json.text()
    }

    /// In parts, for a sealed text has a limit; each says which command it answers and which part it is.
    private static func seal(
        _ body: String, status: Int, answering id: String, under key: SymmetricKey
    ) throws -> [String] {
        let octets = Array(body.utf8), size = 36 << 10
        let starts = stride(from: 0, to: max(1, octets.count), by: size)
        let count = Array(starts).count
        return try starts.enumerated().map { part, start in
            var json = JSONWriter(reserving: 50 << 10)
            json.beginObject()
            json.member("type", "answer")
            json.member("id", id)
            json.member("status", status)
            json.member("part", part)
            json.member("parts", count)
            json.member("octets", Base64URL.encode(Array(octets[start..<min(octets.count, start + size)])))
            json.endObject()
            return try EncryptedText(encrypting: json.text(), under: key).jwe
        }
    }
}

extension Report {
    var matter: String? { try? asked.matter }

    func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("id", id)
        json.member("name", ifPresent: try? asked.name)
        json.member("caseId", ifPresent: matter)
        json.member("created", created.iso8601)
        progress.write(to: &json)
        json.endObject()
    }

    func text() -> String {
        var json = JSONWriter(reserving: 2048)
        write(to: &json)
        return json.text()
    }
}

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
    private let commands: OfficerCommands
    private let now: @Sendable () -> Timestamp
    private static let limits = JSONDocument.Limits(maximumDepth: 12, maximumNodes: 20_000, maximumBytes: 256 << 10)
    private typealias Refused = OfficerCommands.Refused
    /// Where officers reach the console, if there is one.
    private let console: (sessions: OfficerSessions, base: String)?

    init(
        consent: Consent, kms: any KMSAsking, commands: OfficerCommands,
        console: (sessions: OfficerSessions, base: String)? = nil
    ) {
        self.console = console
        self.consent = consent
        self.kms = kms
        self.commands = commands
        now = commands.now
    }

    /// What the core brings and takes back: it sees who asks whom, and lengths.
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
        else { throw Refused(400, "the command is malformed") }
        let sealing = try await consent.sealingKey()
        let key = try await key(uri, of: user)
        guard let text = try? EncryptedText(received: message).text(with: key.key),
            let command = try? JSONDocument(text: text, limits: Self.limits).root,
            command["type"]?.string == "command", let id = command["id"]?.string, UUIDText.isValid(id),
            let name = command["command"]?.string,
            let time = command["time"]?.string.flatMap({ Timestamp(iso8601: $0) })
        else { throw Refused(400, "the command does not open under its key, or is malformed") }
        // From here on everything that is answered is sealed.
        var status = 200
        var body: String
        let present = now()
        do {
            guard abs(time.milliseconds - present.milliseconds) <= Self.patience * 1000 else {
                throw Refused(409, "the command's time is more than two minutes from the worker's")
            }
            guard try commands.mirror.isNew(command: id, until: time.adding(seconds: 2 * Self.patience), now: present)
            else {
                throw Refused(409, "the command was taken before")
            }
            let matter = try await demandOfficer(key, user, command, name, under: sealing)
            if name == "api.open" {
                body = try await open(command["body"], key, matter, under: sealing)
            } else {
                body = try commands.perform(
                    name, command["body"], .init(officer: key.userID, matter: matter, key: sealing))
            }
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
                throw Refused(403, "the command is another person's")
            }
            return key
        } catch let refusal as KMSRefusal where [403, 404, 501].contains(refusal.status) {
            throw Refused(403, "the KMS does not give the command's key for report requests")
        }
    }

    /// Rule 2.
    private func demandOfficer(
        _ key: KMSKey, _ user: String, _ command: JSONNode, _ name: String, under sealing: SymmetricKey
    ) async throws -> String? {
        let matter = command["matter"]?.string
        guard let resource = key.resourceURI else { throw Refused(403, "the key has no space") }
        try await OfficerCapacity.demand(key.userID, matter, resource, kms) {
            try commands.note(name, key.userID, matter, nil, "refused", under: sealing)
        }
        return matter
    }

    /// A link to the console that is good once, or a token for the HTTP interface.
    private func open(
        _ body: JSONNode?, _ key: KMSKey, _ matter: String?, under sealing: SymmetricKey
    ) async throws -> String {
        guard let console else {
            throw Refused(409, "this worker serves no console: its configuration has no section console")
        }
        guard let kind = body?["kind"]?.string, ["console", "token"].contains(kind), let resource = key.resourceURI
        else {
            throw Refused(400, "kind is console or token")
        }
        let seconds = min(max((body?["minutes"]?.integer ?? 60) * 60, 60), OfficerSessions.longest)
        let session = OfficerSessions.Session(
            officer: key.userID, matter: matter, resource: resource, until: now().adding(seconds: seconds))
        try commands.note("api.open", key.userID, matter, nil, "taken", under: sealing)
        let secret =
            kind == "console"
            ? try await console.sessions.ticket(for: session) : try await console.sessions.begin(session)
        return OfficerCommands.object { json in
            json.member("url", kind == "console" ? "\(console.base)/#\(secret)" : "\(console.base)/api/v1")
            if kind == "token" { json.member("token", secret) }
            json.member("until", session.until.iso8601)
        }
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

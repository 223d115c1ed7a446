import Cryptography
import Diagnostics
import EDiscoveryCollection
import LinkedService
import SecretMemory
import WireText

/// Does what retention, purges and erasures want, and what the core deleted for its age; counts previews; writes certificates.
///
/// Every step may be cut off and done again: what is wanted stands in the database, and is judged against the holds in the
/// transaction that destroys it.
actor Destroyer {
    private let consent: Consent
    private let mirror: Mirror
    private let vault: FileVault
    private let core: any CoreAsking
    private let now: @Sendable () -> Timestamp
    /// Has the KMS sign the digest of a certificate.
    private let sign: @Sendable (_ digest: [UInt8]) async throws -> String
    private var retentionDue: Timestamp?
    private static let retentionPeriod: Int64 = 3600

    init(
        consent: Consent, mirror: Mirror, vault: FileVault, core: any CoreAsking,
        sign: @escaping @Sendable (_ digest: [UInt8]) async throws -> String,
        now: @escaping @Sendable () -> Timestamp = { .now() }
    ) {
        (self.consent, self.mirror, self.vault, self.core) = (consent, mirror, vault, core)
        (self.sign, self.now) = (sign, now)
    }

    /// One turn; throws what is in the way.
    func work() async throws {
        let key = try await consent.sealingKey()
        while try !mirror.noteFacts(under: key) { await Task.yield() }
        for preview in try mirror.documents("preview", under: key) where preview.root["state"]?.string == "counting" {
            try await count(preview.root, key)
        }
        let destructions = try mirror.documents("destruction", under: key)
        for destruction in destructions where destruction.root["state"]?.string == "selecting" {
            try await select(destruction.root, key)
        }
        try await applyRetention(key)
        let released = try mirror.document("again", "holds", under: key) != nil
        for space in try mirror.spacesWithRemovals(alsoHeld: released) {
            vault.remove(try mirror.destroy(in: space, under: key).files)
            await Task.yield()
        }
        if released { try mirror.deleteDocument("again", "holds") }
        for destruction in try mirror.documents("destruction", under: key)
        where destruction.root["state"]?.string == "destroying" {
            try await certify(destruction.root, key)
        }
        for removal in try mirror.atCore(limit: 200) {
            try await core.remove(removal.message, in: removal.space)
            try mirror.doneAtCore(removal.space, removal.sequence)
        }
    }

    // MARK: - Steps

    private func eachSpace(
        until: Int64, _ key: SymmetricKey, _ take: (SpaceLog) throws -> Void
    ) async throws {
        var after: String?
        while let space = try mirror.space(after: after, until: until) {
            after = space
            try mirror.eachPage(of: space, until: until, under: key, take)
            await Task.yield()
        }
    }

    private func count(_ preview: JSONNode, _ key: SymmetricKey) async throws {
        guard let id = preview["previewId"]?.string, let selection = preview["selection"].flatMap({ Selection($0) })
        else { return }
        let holds = try mirror.documents("hold", under: key).map { try LegalHold($0.root) }
        var spaces = Set<String>(), items = 0, held = 0, bytes: UInt64 = 0
        try await eachSpace(until: preview["until"]?.integer ?? 0, key) { log in
            let found = selection.messages(of: log)
            if !found.isEmpty { spaces.insert(log.id) }
            for message in found {
                if holds.contains(where: { $0.covers(message, in: log) }) {
                    held += 1
                } else {
                    items += 1
                    bytes += message.files.compactMap(\.size).reduce(0, +)
                }
            }
        }
        _ = try mirror.change("preview", id, under: key) { node in
            Self.changed(node, state: "ready") { json in
                json.member("containers", spaces.count)
                json.member("items", items)
                json.member("bytes", Int64(clamping: bytes))
                json.member("blockedByHold", held)
            }
        }
    }

    private func select(_ destruction: JSONNode, _ key: SymmetricKey) async throws {
        guard let id = destruction["id"]?.string, let selection = destruction["selection"].flatMap({ Selection($0) })
        else { return }
        try await eachSpace(until: destruction["until"]?.integer ?? 0, key) { log in
            try mirror.want(selection.messages(of: log), of: log.id, because: id)
        }
        _ = try mirror.change("destruction", id, under: key) { Self.changed($0, state: "destroying") { _ in } }
    }

    private func applyRetention(_ key: SymmetricKey) async throws {
        let present = now()
        if let retentionDue, present < retentionDue { return }
        let rules = Dictionary(
            try mirror.documents("retention", under: key).compactMap { rule in
                rule.root["scope"]?.string.flatMap { scope in rule.root["days"]?.integer.map { (scope, $0) } }
            }, uniquingKeysWith: { first, _ in first })
        if let shortest = rules.values.min() {
            for space in try mirror.spacesWithMessages(before: present.adding(seconds: -shortest * 86_400)) {
                // The rule of a space stands before that of all.
                guard let days = rules[space] ?? rules[OfficerCommands.everywhere] else { continue }
                try mirror.wantOld(
                    in: space, before: present.adding(seconds: -days * 86_400), because: "retention", under: key)
                await Task.yield()
            }
        }
        retentionDue = present.adding(seconds: Self.retentionPeriod)
    }

    /// A new rule counts at once.
    func retentionChanged() { retentionDue = nil }

    private func certify(_ destruction: JSONNode, _ key: SymmetricKey) async throws {
        guard let id = destruction["id"]?.string else { return }
        let left = try mirror.removals(because: id)
        guard left.wanted == 0 else { return }
        let places = try mirror.destroyed(because: id)
        var digest = [UInt8](repeating: 0, count: 32)
        for place in places {
            digest = SHA256.hash(digest + SHA256.hash(Array("\(place.space)/\(place.sequence)".utf8)))
        }
        let text = OfficerCommands.object { json in
            json.member("type", "hds-ediscovery-destruction")
            for name in ["id", "kind", "officer", "second", "begun", "reason", "selection"] {
                guard let value = destruction[name] else { continue }
                json.member(name, value)
            }
            json.member("ended", now().iso8601)
            json.member("containers", Set(places.map(\.space)).count)
            json.member("removed", places.count)
            json.member("held", left.held)
            json.member("digest", Hexadecimal.encode(digest))
        }
        let signature = try await sign(SHA256.hash(Array(text.utf8)))
        let certificate = OfficerCommands.object { json in
            json.member("id", id)
            json.name("certificate")
            json.raw(text)
            // Over SHA-256 of the certificate's octets.
            json.member("signature", signature)
        }
        try mirror.put("certificate", id, Array(certificate.utf8), under: key)
        _ = try mirror.change("destruction", id, under: key) { Self.changed($0, state: "done") { _ in } }
    }

    private static func changed(_ node: JSONNode, state: String, _ more: (inout JSONWriter) -> Void) -> [UInt8] {
        Array(
            OfficerCommands.object { json in
                for (name, value) in node.members ?? [] where name != "state" {
                    json.member(name, value)
                }
                json.member("state", state)
                more(&json)
            }.utf8)
    }
}

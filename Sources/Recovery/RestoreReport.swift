import Cryptography
package import Diagnostics
package import KeyManagement
package import KeyStore
package import MasterKey
import SecretMemory
package import WireText

extension DiagnosedError.Code {
    /// What an officer accepts is not what is unknown.
    package static let restoreGap: Self = "restore-gap"
}

/// What became of a restored store: what was taken away again, what is not known, and who accepted that.
///
/// Sealed as the setting `restored`; the freeze that stands until an officer's yes bears its id.
package struct RestoreReport: Sendable, Equatable {
    package struct Count: Sendable, Equatable {
        package let kind: Removal.Kind
        /// In the journals, and not in the backup.
        package let found: Int, applied: Int
    }

    package struct Accepted: Sendable, Equatable {
        package let gap: String
        package let officers: [String]
        package let time: Timestamp
    }

    package static let setting = "restored"
    /// So many names of what was taken away again are kept.
    private static let longest = 500

    package let backup: String
    package let node: String
    package let created: Timestamp
    package let restored: Timestamp
    package let freeze: String
    package let counts: [Count]
    /// What was taken away again: kind and id.
    package let names: [String]
    /// What could not be, with the reason.
    package let left: [String]
    package let nodes: [JournalReading.Node]
    /// What is not known, each with its time range; empty when all is.
    package let gaps: [String]
    /// In which the store begins, as the backup or whoever restored it says: under a lower one than it has seen before the
    /// core takes no link.
    package let epoch: Int64
    package internal(set) var accepted: Accepted?

    /// What an officer names who accepts the gaps: it changes with them. Nil when nothing is unknown.
    package var gap: String? {
        guard !gaps.isEmpty else { return nil }
        return Hexadecimal.encode(SHA256.hash(Array((backup + "\n" + gaps.joined(separator: "\n")).utf8)).prefix(4))
    }

    init(
        _ header: BackupHeader, _ manifest: BackupManifest, _ reading: JournalReading?,
        _ outcome: RemovalReplay.Outcome, freeze: String, epoch: Int64, now: Timestamp
    ) {
        self.epoch = epoch
        (backup, node, created) = (header.id, header.node, header.created)
        (restored, self.freeze) = (now, freeze)
        counts = Removal.Kind.allCases.compactMap { kind in
            guard let found = outcome.found[kind] else { return nil }
            return Count(kind: kind, found: found, applied: outcome.applied(kind))
        }
        names = outcome.applied.prefix(Self.longest).map { "\($0.kind.words): \($0.name)" }
        left = outcome.left.map { "\($0.removal.kind.words), \($0.removal.name): \($0.reason)" }
        nodes = reading?.nodes ?? []
        gaps = Self.gaps(header, manifest, reading)
    }

    private static func gaps(
        _ header: BackupHeader, _ manifest: BackupManifest, _ reading: JournalReading?
    ) -> [String] {
        let what = "what was removed, frozen, revoked or erased"
        guard let reading, reading.nodes.contains(where: { $0.file != nil }) else {
            return ["no journal was given: unknown is \(what) from \(header.created) on"]
        }
        var gaps = reading.nodes.compactMap { node -> String? in
            guard let trouble = node.trouble else { return nil }
            let from = max(node.knownUntil ?? header.created, header.created)
            return "node \(node.node): \(trouble): unknown is \(what) there from \(from) on"
        }
        if !manifest.heads.contains(where: { $0.journal != nil }) {
            gaps.append("the backup does not say which nodes there were: unknown is \(what) at others")
        }
        return gaps
    }

    // MARK: The setting

    package func json() -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        write(to: &json)
        json.endObject()
        return json.bytes()
    }

    package func write(to json: inout JSONWriter) {
        json.member("backup", backup)
        json.member("node", node)
        json.member("created", created.iso8601)
        json.member("restored", restored.iso8601)
        json.member("freeze", freeze)
        json.name("counts")
        json.beginArray()
        for count in counts {
            json.beginObject()
            json.member("kind", count.kind.rawValue)
            json.member("found", count.found)
            json.member("applied", count.applied)
            json.endObject()
        }
        json.endArray()
        json.member("names", names)
        json.member("left", left)
        json.name("nodes")
        json.beginArray()
        for node in nodes {
            json.beginObject()
            json.member("node", node.node)
            json.member("file", ifPresent: node.file)
            json.member("entries", node.entries)
            json.member("knownUntil", ifPresent: node.knownUntil?.iso8601)
            json.member("trouble", ifPresent: node.trouble)
            json.endObject()
        }
        json.endArray()
        json.member("gaps", gaps)
        json.member("gap", ifPresent: gap)
        json.member("epoch", epoch)
        guard let accepted else { return }
        json.name("accepted")
        json.beginObject()
        json.member("gap", accepted.gap)
        json.member("officers", accepted.officers)
        json.member("time", accepted.time.iso8601)
        json.endObject()
    }

    /// Nil when it is of another form.
    package init?(_ root: JSONNode) {
        func time(_ node: JSONNode?) -> Timestamp? { node?.string.flatMap { Timestamp(iso8601: $0) } }
        guard let backup = root["backup"]?.string, let node = root["node"]?.string,
            let created = time(root["created"]), let restored = time(root["restored"]),
            let freeze = root["freeze"]?.string, let counts = root["counts"]?.elements,
            let names = root["names"]?.strings, let left = root["left"]?.strings, let nodes = root["nodes"]?.elements,
            let gaps = root["gaps"]?.strings
        else { return nil }
        (self.backup, self.node, self.created, self.restored) = (backup, node, created, restored)
        (self.freeze, self.names, self.left, self.gaps) = (freeze, names, left, gaps)
        epoch = root["epoch"]?.integer ?? 1
        self.counts = counts.compactMap { count in
            guard let kind = count["kind"]?.string.flatMap({ Removal.Kind(rawValue: $0) }),
                let found = count["found"]?.integer, let applied = count["applied"]?.integer
            else { return nil }
            return Count(kind: kind, found: Int(found), applied: Int(applied))
        }
        self.nodes = nodes.compactMap { node in
            node["node"]?.string.map {
                JournalReading.Node(
                    node: $0, file: node["file"]?.string, entries: Int(node["entries"]?.integer ?? 0),
                    knownUntil: time(node["knownUntil"]), trouble: node["trouble"]?.string)
            }
        }
        guard let accepted = root["accepted"] else { return }
        guard let gap = accepted["gap"]?.string, let officers = accepted["officers"]?.strings,
            let when = time(accepted["time"])
        else { return nil }
        self.accepted = Accepted(gap: gap, officers: officers, time: when)
    }

    /// Of the store; nil when it was never restored.
    package static func standing(_ store: any KeyStore, ring: SealRing) async throws -> RestoreReport? {
        guard let value = try await store.setting(setting), value.count > 8 else { return nil }
        let version = value.prefix(8).reduce(Int64(0)) { $0 << 8 | Int64($1) }
        let plain = try ring.open(Array(value.dropFirst(8)), kind: .setting, id: setting, version: version)
        return try plain.withUnsafeBytes { RestoreReport(try JSONDocument(Array($0)).root) }
    }

    func keep(in store: any KeyStore, ring: SealRing) async throws {
        for _ in 0..<8 {
            let old = try await store.setting(Self.setting)
            let version = (old.map { $0.prefix(8).reduce(Int64(0)) { $0 << 8 | Int64($1) } } ?? 0) + 1
            var value: [UInt8] = []
            value.append(bigEndian: version)
            value += try json().withUnsafeBytes {
                try ring.seal($0, kind: .setting, id: Self.setting, version: version)
            }
            let change = StoreChange(
                writes: [.putSetting(name: Self.setting, value: value)],
                expectations: [.setting(name: Self.setting, value: old)])
            if try await store.commit(change) == .committed { return }
        }
        throw DiagnosedError(.storeBusy, fault: .store, "others change the restored store at the same time")
    }

    /// Writes down that officers accept the gap that they name, in the store, before the freeze is lifted.
    /// - Parameter gap: what they name; nil says that they know of none.
    package static func accept(
        _ gap: String?, officers: [String], in store: any KeyStore, ring: SealRing, now: Timestamp
    ) async throws -> RestoreReport {
        guard var report = try await standing(store, ring: ring) else {
            throw DiagnosedError(.restoreGap, fault: .client, "this store was not restored")
        }
        guard report.gap == gap else {
            throw DiagnosedError(
                .restoreGap, fault: .client, "what is accepted is not what is unknown",
                expected: report.gap ?? "no gap", found: gap ?? "no gap",
                hint: "hdsctl restore status says what is unknown and its name")
        }
        report.accepted = Accepted(gap: gap ?? "none", officers: officers, time: now)
        try await report.keep(in: store, ring: ring)
        return report
    }
}

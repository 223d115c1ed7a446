import KMSProtocol
import KeyStore
package import WireText

/// What the KMS knows about one person beside key material: spaces, entries on lists, keys' URIs and dates, sessions.
///
/// For the person's right to know. Made in parts, for there may be much of it: the first has what belongs to no space.
/// Never holds an octet of a key.
package struct KeyMetadataExport: Sendable {
    /// One JSON object; the members `sessions` and `unboundKeys` are in the first part only.
    package let json: String
    /// Where the next part begins; nil after the last.
    package let next: String?
}

extension Oversight {
    /// Rows (entries and keys) in one part, roughly.
    static let exportPart = 5_000

    package func metadata(
        of user: String, after start: String?, now: Timestamp, progress: Progress = { _ in true }
    ) async throws -> KeyMetadataExport {
        var json = JSONWriter(reserving: 1 << 16)
        var rows = 0
        var last = start
        json.beginObject()
        json.member("user", user)
        json.member("time", now.iso8601)
        if start == nil {
            json.name("sessions")
            try await writeSessions(of: user, &json)
            json.name("unboundKeys")
            try await writeUnboundKeys(of: user, &json, progress)
        }
        json.name("spaces")
        json.beginArray()
        var isWhole = true
        var count = 0
        // A writer can not be captured: pages are walked here.
        walking: while true {
            let page = try await store.resources(after: last, limit: Self.page)
            guard let end = page.last else { break }
            for record in page {
                guard rows < Self.exportPart else {
                    isWhole = false
                    break walking
                }
                rows += try await writeSpace(record, of: user, now, &json)
                last = record.id
            }
            last = end.id
            count += page.count
            _ = progress("spaces looked at: \(count)")
            await Task.yield()
        }
        json.endArray()
        json.endObject()
        return KeyMetadataExport(json: json.text(), next: isWhole ? nil : last)
    }

    private func writeSessions(of user: String, _ json: inout JSONWriter) async throws {
        json.beginArray()
        for record in try await sessionRecords(of: user) {
            guard let content = try await sessions.content(of: record) else { continue }
            json.beginObject()
            json.member("uri", names.session(record.id))
            json.member("client", content.clientID)
            json.member("created", content.created.iso8601)
            json.member("expires", content.expires.iso8601)
            json.endObject()
        }
        json.endArray()
    }

    private func writeUnboundKeys(of user: String, _ json: inout JSONWriter, _ progress: Progress) async throws {
        json.beginArray()
        var last: String?
        var count = 0
        while true {
            let page = try await store.unboundKeys(after: last, limit: Self.page)
            guard let end = page.last else { break }
            for record in page {
                guard let content = try vault.contentUnlessErased(record) else { continue }
                guard content.owner.canonicalAuthID == user else { continue }
                json.beginObject()
                json.member("uri", names.key(record.id))
                json.member("client", content.clientID)
                json.member("created", content.created.iso8601)
                json.member("expires", content.expires.iso8601)
                json.endObject()
            }
            last = end.id
            count += page.count
            _ = progress("unbound keys looked at: \(count)")
            await Task.yield()
        }
        json.endArray()
    }

    /// The space, if the person made it, is or was on its list, or reads it through another; how many rows that were.
    private func writeSpace(
        _ record: ResourceRecord, of user: String, _ now: Timestamp, _ json: inout JSONWriter
    ) async throws -> Int {
        let head = try vault.content(record)
        let lookup = vault.lookup(authID: user, resource: record.id)
        let own = try await store.authorizations(ofResource: record.id, includingRemoved: true)
            .filter { $0.lookup == lookup }
        let ways = try await ways(of: user, to: record, at: Moment(time: now, isPast: false))
        let isCreator = head.creator.canonicalAuthID == user
        guard isCreator || !own.isEmpty || !ways.isEmpty else { return 0 }
        json.beginObject()
        json.member("uri", names.resource(record.id))
        json.member("created", head.created.iso8601)
        json.member("createdByUser", isCreator)
        json.member("deleted", ifPresent: head.deletedAt?.iso8601)
        json.member("expires", ifPresent: head.expires?.iso8601)
        json.member(
            "canRead",
            ways.map { way in
                guard case .nested(let path) = way.path else { return "member" }
                return "nested: " + path.map(names.resource).joined(separator: ", ")
            })
        json.name("authorizations")
        json.beginArray()
        for row in own {
            let content = try vault.content(row)
            json.beginObject()
            json.member("uri", names.authorization(row.id))
            json.member("created", content.created.iso8601)
            json.member("createdByUser", content.createdBy.canonicalAuthID == user)
            json.member("role", ifPresent: content.roleURI)
            json.member("expires", ifPresent: content.expires?.iso8601)
            json.member("removed", ifPresent: content.removedAt?.iso8601)
            json.endObject()
        }
        json.endArray()
        let keys = try await writeKeys(of: record, head, of: user, all: !ways.isEmpty, &json)
        json.endObject()
        return 1 + own.count + keys
    }

    /// All keys of a space that the person can read; of another one those that the person made.
    private func writeKeys(
        of space: ResourceRecord, _ head: ResourceContent, of user: String, all: Bool, _ json: inout JSONWriter
    ) async throws -> Int {
        json.name("keys")
        json.beginArray()
        var count = 0
        var last: KeyRecord?
        while true {
            let page = try await store.keys(ofResource: space.id, behind: last, limit: Self.page)
            guard let end = page.last else { break }
            for record in page {
                guard let content = try vault.contentUnlessErased(record) else { continue }
                if case .searchIndex = content.purpose { continue }
                let isOwn = content.owner.canonicalAuthID == user
                guard all || isOwn else { continue }
                json.beginObject()
                json.member("uri", names.key(record.id))
                json.member("bound", ifPresent: content.boundAt?.iso8601)
                json.member("createdByUser", isOwn)
                json.endObject()
                count += 1
                // The answer has to fit: what is beyond can be asked of the space itself.
                if count == Self.exportPart * 4 { break }
            }
            guard count < Self.exportPart * 4 else { break }
            last = end
        }
        json.endArray()
        if count >= Self.exportPart * 4 { json.member("keysCut", true) }
        return count
    }
}

import Introspection
import KeyStore

/// Heads of spaces that were opened lately: what most retrievals need is at hand without opening it again.
///
/// A head is taken from here only if its row is octet for octet the one that was opened, so nothing here is ever stale.
final class HeadCache: Sendable {
    private struct Opened: Sendable {
        let record: ResourceRecord
        let content: ResourceContent
    }

    private let opened = TwoGenerationCache<String, Opened>(capacity: 2048)

    func content(of record: ResourceRecord) -> ResourceContent? {
        guard let opened = opened[record.id], opened.record == record else { return nil }
        return opened.content
    }

    /// The highest version that was seen and is remembered.
    func version(of id: String) -> Int64? { opened[id]?.record.version }

    func keep(_ content: ResourceContent, of record: ResourceRecord) {
        guard version(of: record.id).map({ $0 <= record.version }) ?? true else { return }
        opened[record.id] = Opened(record: record, content: content)
    }
}

extension RecordVault {
    /// The same as `content`, mostly without opening anything.
    func head(_ record: ResourceRecord) throws -> ResourceContent {
        if let content = heads.content(of: record) { return content }
        let content = try content(record)
        heads.keep(content, of: record)
        return content
    }
}

extension KeyManagement {
    /// The head of a space; refuses one that is older than one that was read before. Always that of this row: what was read
    /// in one view with it is judged by it.
    func head(_ record: ResourceRecord) async throws -> ResourceContent {
        if let known = vault.heads.version(of: record.id), record.version < known {
            // Read before the other one came, perhaps. What is read now is not.
            let again = try await store.resource(record.id)
            // A space that was erased is gone, and so are its keys.
            if let again, again.version < known {
                freezes?.rollback.report(
                    .init(
                        .head, id: record.id,
                        "a space is there in version \(again.version), and was read in version \(known)"))
                throw RollbackGuard.stopped
            }
        }
        return try vault.head(record)
    }

    /// Whether a grant that the store calls live was not removed by what the head says. The head must have been read before
    /// the row, or with it: then nothing that came between can explain a difference.
    func stands(_ content: AuthorizationContent, _ row: AuthorizationRecord, in head: ResourceContent) -> Bool {
        guard content.removedAt == nil, head.removed.contains(content.order) else { return true }
        freezes?.rollback.report(
            .init(.grant, id: row.id, "an authorization that was removed is in the database again"))
        return false
    }
}

import Diagnostics
import KeyStore
import LinkedService
import MasterKey
import Recovery
import ServiceLifecycle
import ServiceRuntime
import WireText

/// Drops from the journals of removals, once an hour, what no backup needs any more: entries that are older than every
/// backup of this KMS in the folder, and than `journal.keep-days`, for copies that lie elsewhere.
///
/// A backup has what was taken away before it. Without `keep-days`, or without a backup in the folder, nothing is dropped.
struct JournalPruning: Service {
    /// What a backup may lie behind the entries of its time: clocks of nodes differ.
    static let margin: Int64 = 3600
    private static let pause = Duration.seconds(3600)

    private let journal: RemovalJournal
    private let days: Int?
    private let store: any KeyStore
    private let ring: SealRing
    private let oldestBackup: @Sendable () async throws -> Timestamp?
    /// Names of nodes that officers took off the list.
    private let removed: @Sendable () async -> Set<String>
    private let events: any EventRecorder
    private let log: KMSRequestLog

    init(
        _ journal: RemovalJournal, days: Int?, store: any KeyStore, ring: SealRing,
        oldestBackup: @escaping @Sendable () async throws -> Timestamp?,
        removed: @escaping @Sendable () async -> Set<String>, events: any EventRecorder, log: KMSRequestLog
    ) {
        (self.journal, self.days, self.store, self.ring) = (journal, days, store, ring)
        (self.oldestBackup, self.removed, self.events, self.log) = (oldestBackup, removed, events, log)
    }

    func run() async throws {
        await recurring(every: Self.pause) {
            do { try await look(now: .now()) } catch {
                log.failure(error, while: "pruning the journal of removals")
            }
        }
    }

    /// Up to when nothing is needed; nil when nobody can say it.
    func limit(now: Timestamp) async throws -> Timestamp? {
        guard let days, let oldest = try await oldestBackup() else { return nil }
        return min(oldest.adding(seconds: -Self.margin), now.adding(seconds: -Int64(days) * 86_400))
    }

    /// A node that was removed may have its journal on a disk of its own, which went with it. When its last entry is older than
    /// every backup, backups of from now on do not ask for it.
    /// - Returns: their names.
    private func forgetRemoved(before limit: Timestamp) async throws -> [String] {
        var forgotten: [String] = []
        for node in await removed().sorted() {
            guard var heads = try await NodeHeads.kept(of: node, in: store, ring: ring), let tip = heads.tip,
                tip.time < limit
            else { continue }
            (heads.journal, heads.tip) = (nil, nil)
            try await heads.keep(in: store, ring: ring)
            forgotten.append(node)
        }
        return forgotten
    }

    func look(now: Timestamp) async throws {
        guard let limit = try await limit(now: now) else { return }
        let count = try await journal.prune(before: limit, now: now)
        var gone = try journal.removeEnded(before: limit) { ring.journalKey($0) }
        // Backups of from now on do not ask for them.
        for node in gone { try await NodeHeads(node: node).keep(in: store, ring: ring) }
        gone += try await forgetRemoved(before: limit)
        guard count > 0 || !gone.isEmpty else { return }
        let nodes: Loggable = gone.isEmpty ? "" : ", journals of \(reviewed: gone.joined(separator: ", "))"
        events.record(
            .journalPruned,
            [
                .file: Loggable(reviewed: journal.path),
                .detail: "\(Loggable(count)) entries of before \(reviewed: limit.iso8601)\(nodes)",
            ])
    }
}

import Diagnostics
import KeyManagement
import KeyStore
import MasterKey
import Recovery
import ServiceLifecycle
package import ServiceRuntime
import WireText

/// The journal of removals as the service keeps it: opened before anything is answered, marked each minute, watched.
struct KMSJournal: Service {
    private let journal: RemovalJournal
    private let node: String
    private let store: any KeyStore
    private let ring: SealRing
    private let auditHead: @Sendable () -> String?
    private let alarms: AlarmBoard
    private let log: KMSRequestLog

    static func open(
        _ configuration: KMSServiceConfiguration, _ context: ServiceContext, ring: SealRing, now: Timestamp
    ) throws -> RemovalJournal {
        let journal = try RemovalJournal.open(
            folder: configuration.journalFolder, host: configuration.host, node: configuration.node, now: now
        ) { ring.journalKey($0) }
        let cut: Loggable = journal.cut.map { ", what a crash left behind it is in \(reviewed: $0)" } ?? ""
        context.events.record(
            .journalOpened,
            [.file: Loggable(reviewed: journal.path), .detail: "\(Loggable(Int(journal.tip.number))) entries\(cut)"])
        return journal
    }

    init(
        _ journal: RemovalJournal, node: String, store: any KeyStore, ring: SealRing, alarms: AlarmBoard,
        log: KMSRequestLog, auditHead: @escaping @Sendable () -> String?
    ) {
        (self.journal, self.node, self.store, self.ring) = (journal, node, store, ring)
        (self.auditHead, self.alarms, self.log) = (auditHead, alarms, log)
    }

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            var marked: ContinuousClock.Instant?
            while !Task.isCancelled {
                // A disk that has room again is noticed without a removal.
                if journal.blocked != nil || marked.map({ $0.duration(to: .now) >= .seconds(60) }) ?? true {
                    marked = .now
                    await beat(now: .now())
                }
                report()
                try await Task.sleep(for: .seconds(5))
            }
        }
    }

    /// Renews the mark, and what backups say about this node.
    func beat(now: Timestamp) async {
        do {
            try await journal.mark(now: now)
            let heads = NodeHeads(
                node: node, journal: journal.header.journal, tip: journal.tip, auditHead: auditHead())
            try await heads.keep(in: store, ring: ring)
        } catch {
            log.failure(error, while: "marking the journal of removals")
        }
    }

    func report() {
        if let blocked = journal.blocked {
            alarms.raise(.journalBlocked, Loggable(blocked))
        } else {
            alarms.clear(.journalBlocked, "what is taken away is written down again")
        }
    }
}

/// Where the journal of removals lies, and how long its entries are kept.
package struct JournalSection: Decodable, Sendable {
    /// Nil: beside the key store or the audit trail.
    package let folder: FileLocation?
    /// Days; nil: for ever.
    package let keepDays: Int?

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case folder
        case keepDays = "keep-days"
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        folder = try section.optional(.folder)
        keepDays = section.contains(.keepDays) ? try section.value(.keepDays, in: 1...36_500) : nil
    }
}

import Diagnostics
import LinkedService
import Recovery
import ServiceLifecycle
import ServiceRuntime
import WireText

/// Watches that what is lost can be had again: an escrow whose holders have proved their shares, and a recent backup.
///
/// Looks every minute. It also wraps root keys that are newer than the escrow to it.
struct RecoveryWatch: Service {
    let book: EscrowBook
    /// Why an operator should be told of the newest backup; nil when it is new enough.
    let staleness: @Sendable (Timestamp) async -> Loggable?
    let alarms: AlarmBoard
    let log: KMSRequestLog

    func run() async throws {
        await recurring(every: .seconds(60)) { await look(now: .now()) }
    }

    func look(now: Timestamp) async {
        do {
            try await book.wrapNewVersions()
            if let trouble = Self.trouble(try await book.state(), now: now) {
                alarms.raise(.masterKeyNotEscrowed, trouble)
            } else {
                alarms.clear(.masterKeyNotEscrowed, "every holder has proved his share within a year")
            }
        } catch {
            log.failure(error, while: "looking after the escrow")
            alarms.raise(.masterKeyNotEscrowed, Loggable(error: error))
        }
        if let staleness = await staleness(now) {
            alarms.raise(.backupStale, staleness)
        } else {
            alarms.clear(.backupStale, "there is a recent backup")
        }
    }

    /// Nil when all is well.
    static func trouble(_ state: EscrowState?, now: Timestamp) -> Loggable? {
        guard let state else { return "there is no escrow" }
        let unproved = state.unproved(now: now)
        guard !unproved.isEmpty else { return nil }
        let numbers = unproved.map(String.init).joined(separator: ", ")
        return "shares without a proof of this year: \(reviewed: numbers), of \(Loggable(state.shares.count))"
    }
}

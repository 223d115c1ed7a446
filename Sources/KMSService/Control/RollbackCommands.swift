import ControlSocket
import KeyManagement
import KeyStore
import SignedPolicy
import WireText

/// Commands about a key store that somebody else changed: what was seen, and going on with it as it is.
///
/// Accepting names the gap exactly, so that nobody accepts what he was not shown; it needs an officer with the duty
/// `freeze`, as opening a restored store does.
enum RollbackCommands {
    static func all(_ kms: RunningKMS) -> [ControlCommand] {
        [
            ControlCommand("rollback-status") { arguments, _, _, _ in
                _ = try ControlArguments(arguments, [])
                return status(kms.rollback)
            },
            ControlCommand(
                "rollback-accept", duty: .freeze,
                run: { arguments, approval, _, _ in
                    let gap = try ControlArguments(arguments, ["gap"]).text("gap")
                    let officers = approval.map { [$0.officer.id] + ($0.second.map { [$0.id] } ?? []) } ?? []
                    try await kms.rollback.accept(gap, by: officers.joined(separator: " and "), now: .now())
                    return status(kms.rollback)
                }),
        ]
    }

    private static func status(_ detector: RollbackDetector) -> ControlAnswer {
        let (memory, epoch, scan) = (detector.memory, detector.epoch, detector.lastScan)
        return ControlAnswer { json in
            json.member("gap", ifPresent: detector.rollback.gap)
            json.name("findings")
            json.beginArray()
            for finding in detector.rollback.findings {
                json.beginObject()
                json.member("kind", finding.kind.rawValue)
                json.member("id", finding.id)
                json.member("text", finding.text)
                json.endObject()
            }
            json.endArray()
            json.member("writer", memory.writer)
            json.member("remembersSince", memory.began.iso8601)
            json.name("counters")
            json.beginArray()
            for row in memory.rows.values.sorted(by: { $0.writer < $1.writer }) {
                json.beginObject()
                json.member("writer", row.writer)
                json.member("counter", row.counter)
                json.endObject()
            }
            json.endArray()
            if let epoch {
                json.member("epoch", epoch.id)
                json.member("epochCause", "\(epoch.cause)")
                json.member("epochSince", epoch.time.iso8601)
                json.member("epochNote", epoch.note)
            }
            if let scan {
                json.member("scanned", scan.at.iso8601)
                json.member("rows", scan.scan.rows)
                json.member("rowsAdd", scan.scan.adds)
                json.member("rowsBroken", scan.scan.brokenCount)
            }
        }
    }
}

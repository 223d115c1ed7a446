import AuditTrail
import ControlSocket
import Diagnostics
import KeyManagement
import Recovery
import SignedPolicy
import WireText

/// Commands about a store that was restored: what is known of it, and the officer's yes.
enum RestoreCommands {
    static func all(_ kms: RunningKMS) -> [ControlCommand] {
        [
            ControlCommand("restore-status") { arguments, _, peer, _ in
                _ = try ControlArguments(arguments, [])
                try await kms.audit.keep(
                    OfficeAct(.lookup, by: OversightCommands.name(peer), command: "restore-status"), now: .now())
                let report = try await RestoreReport.standing(kms.store, ring: kms.ring)
                return ControlAnswer { json in
                    json.member("isRestored", report != nil)
                    json.member("isFrozen", freeze(kms) != nil)
                    report?.write(to: &json)
                }
            },
            ControlCommand(
                "restore-open", duty: .freeze,
                needsSecond: { _ in
                    guard let freeze = freeze(kms) else { return false }
                    return try await FreezeCommands.exceedsLimit(freeze.scope, kms)
                },
                run: { node, approval, _, _ in
                    let arguments = try ControlArguments(node, ["gap"])
                    guard let approval, let freeze = freeze(kms) else {
                        throw DiagnosedError(.restoreGap, fault: .client, "nothing that was restored waits")
                    }
                    let officers = [approval.officer.id] + (approval.second.map { [$0.id] } ?? [])
                    let report = try await RestoreReport.accept(
                        try arguments.optional("gap"), officers: officers, in: kms.store, ring: kms.ring, now: .now())
                    _ = try await kms.freezes.lift(freeze.id)
                    return ControlAnswer { report.write(to: &$0) }
                }),
        ]
    }

    /// The one that stands since the restore.
    private static func freeze(_ kms: RunningKMS) -> Freeze? {
        kms.freezes.standing.first { $0.orderedBy == Restore.orderedBy }
    }
}

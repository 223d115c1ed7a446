import AuditTrail
import ControlSocket
import Diagnostics
import JOSESignature
import KMSProtocol
import KeyManagement
import KeyStore
import SignedPolicy
import WireText

/// Commands that destroy keys for ever, and those that keep anybody from it.
///
/// Erasing needs an officer with the duty `erasure`, and a second one unless the policy says otherwise. Holds need one
/// with the duty `compliance`. Plans and certificates need the operators' group.
enum ErasureCommands {
    static func all(_ kms: RunningKMS) -> [ControlCommand] {
        [
            ControlCommand("erase-plan") { arguments, _, peer, progress in
                let subject = try OversightSubject(
                    ControlArguments(arguments, ["subject"]).text("subject"), names: kms.names)
                try await note(kms, peer, "erase-plan", subject)
                let counts = try await kms.erasure.plan(subject, progress: { progress($0) })
                return ControlAnswer { json in
                    json.name("counts")
                    counts.json(into: &json)
                    json.member("needsSecondOfficer", kms.policy.current.signed.erasure.fourEyes)
                }
            },
            ControlCommand(
                "erase", duty: .erasure, needsSecond: { _ in kms.policy.current.signed.erasure.fourEyes },
                run: { arguments, approval, _, progress in try await erase(kms, arguments, approval, progress) }),
            ControlCommand("erase-certificate") { arguments, _, peer, _ in
                let subject = try OversightSubject(
                    ControlArguments(arguments, ["subject"]).text("subject"), names: kms.names)
                try await note(kms, peer, "erase-certificate", subject)
                guard let file = try await kms.erasure.certificate(of: subject) else {
                    throw DiagnosedError(
                        .subjectUnknown, fault: .client, "no finished erasure of this subject is known",
                        hint: "an erasure that was interrupted goes on when it is ordered again")
                }
                return ControlAnswer(result: file)
            },
            ControlCommand("hold-list") { arguments, _, peer, _ in
                _ = try ControlArguments(arguments, [])
                try await note(kms, peer, "hold-list", nil)
                let holds = try await HoldList.standing(kms.store, kms.vault)
                return ControlAnswer { json in
                    json.name("holds")
                    json.beginArray()
                    for (resource, reason) in holds.entries {
                        json.beginObject()
                        json.member("space", kms.names.resource(resource))
                        json.member("reason", reason)
                        json.endObject()
                    }
                    json.endArray()
                }
            },
            ControlCommand("hold-add", duty: .compliance) { arguments, approval, _, _ in
                let fields = try ControlArguments(arguments, ["space", "reason"])
                let officer = approval?.officer.id ?? "-"
                return try await hold(
                    kms, fields.text("space"), reason: "\(fields.text("reason")) (\(officer), \(Timestamp.now()))")
            },
            ControlCommand("hold-remove", duty: .compliance) { arguments, _, _, _ in
                try await hold(kms, ControlArguments(arguments, ["space"]).text("space"), reason: nil)
            },
        ]
    }

    private static func note(
        _ kms: RunningKMS, _ peer: PeerCredentials, _ command: String, _ subject: OversightSubject?
    ) async throws {
        var act = OfficeAct(.lookup, by: OversightCommands.name(peer), command: command)
        if let subject { act = act.about(subject, kms) }
        try await kms.audit.keep(act, now: .now())
    }

    private static func erase(
        _ kms: RunningKMS, _ node: JSONNode, _ approval: OfficerDesk.Approval?, _ progress: ControlProgress
    ) async throws -> ControlAnswer {
        guard let approval else {
            throw DiagnosedError(.controlFailure, fault: .internal, "an erasure came without an officer")
        }
        let arguments = try ControlArguments(node, ["subject", "backupsUntil"])
        let subject = try OversightSubject(arguments.text("subject"), names: kms.names)
        let backups = try await backupsUntil(kms, stated: arguments.moment("backupsUntil"), now: .now())
        let officers = [approval.officer.id] + (approval.second.map { [$0.id] } ?? [])
        let order = Erasure.Order(officers: officers, request: approval.digest, backupsUntil: backups)
        // The order stands in the trail already, under the digest; this record is about whom.
        var act = OfficeAct(.erasure, by: "officer:\(approval.officer.id)", command: "erase", rule: "erasure-begun")
            .about(subject, kms)
        let id = try await kms.audit.keep(act, now: .now())
        let file = try await kms.erasure.run(subject, order: order, id: id, progress: { progress($0) })
        act.rule = "erasure-finished"
        act.detail = file
        try await kms.audit.keep(act, now: .now())
        return ControlAnswer(result: file)
    }

    /// The later one of what the officer says and what the configuration of backups makes sure.
    private static func backupsUntil(
        _ kms: RunningKMS, stated: Timestamp?, now: Timestamp
    ) async throws -> Timestamp {
        if let stated, stated < now {
            throw ControlArguments.malformed(
                "backupsUntil says until when backups may hold what is destroyed", expected: "a time from now on")
        }
        let known = try await kms.backups.erasableUntil(now: now)
        guard let until = [stated, known].compactMap({ $0 }).max() else {
            throw ControlArguments.malformed(
                "nothing here says until when backups may hold what is destroyed",
                expected:
                    "--backups-until DATE, or backup.folder with backups that were all made since the keys are erasable"
            )
        }
        return until
    }

    private static func hold(_ kms: RunningKMS, _ text: String, reason: String?) async throws -> ControlAnswer {
        guard case .space(let id) = try OversightSubject(text, names: kms.names) else {
            throw ControlArguments.malformed(
                "holds are of spaces", expected: "kms://\(kms.names.host)/resources/UUID", found: text.quotedForError)
        }
        guard try await kms.store.resource(id) != nil || reason == nil else {
            throw DiagnosedError(
                .subjectUnknown, fault: .client, "there is no record of this space", found: text.quotedForError,
                hint: "a space that was erased can not be held any more")
        }
        do {
            try await HoldList.change([id], reason: reason, store: kms.store, vault: kms.vault)
        } catch let failure as KMSFailure {
            throw DiagnosedError(.erasureBusy, fault: .store, failure.reason)
        }
        return ControlAnswer { json in
            json.member("space", kms.names.resource(id))
            json.member("held", reason != nil)
        }
    }
}

extension RunningKMS {
    var erasure: Erasure { Erasure(oversight: oversight, audit: audit, node: configuration.node) }
}

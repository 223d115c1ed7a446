import AuditTrail
import ControlSocket
import Diagnostics
import JOSESignature
import KMSProtocol
import KeyManagement
import KeyStore
import SignedPolicy
import WireText

/// Commands that look into the KMS: why a key was refused, who can read, what is known about somebody.
///
/// They need the operators' group, and each stands in the audit trail before it answers: who asked, about whom.
enum OversightCommands {
    static func all(_ kms: RunningKMS) -> [ControlCommand] {
        [
            ControlCommand("explain") { arguments, _, peer, _ in
                let needsOfficers = kms.policy.current.signed.explanations.fourEyes
                return try await explain(kms, arguments, by: name(peer), opening: !needsOfficers)
            },
            // The same with names where the policy leaves those to two officers.
            ControlCommand(
                "explain-opened", duty: .compliance,
                needsSecond: { _ in kms.policy.current.signed.explanations.fourEyes },
                run: { arguments, approval, _, _ in
                    try await explain(
                        kms, arguments, by: "officer:" + (approval?.officer.id ?? "-"), opening: approval != nil)
                }),
            ControlCommand("access") { arguments, _, peer, progress in
                try await access(kms, arguments, peer, progress)
            },
            ControlCommand("audit-lookup") { arguments, _, peer, _ in try await lookup(kms, arguments, peer) },
            ControlCommand("export-metadata") { arguments, _, peer, progress in
                try await metadata(kms, arguments, peer, progress)
            },
        ]
    }

    /// Who asks, as the trail names him.
    static func name(_ peer: PeerCredentials) -> String { "operator:\(peer.uid)" }

    /// `id` is one that the KMS made: then the clear part is opened. Any other is a client's request id: a search.
    private static func explain(
        _ kms: RunningKMS, _ node: JSONNode, by who: String, opening: Bool
    ) async throws -> ControlAnswer {
        let arguments = try ControlArguments(node, ["id"])
        let text = try arguments.text("id")
        var act = OfficeAct(.lookup, by: who, command: "explain")
        act.result = opening ? "opened" : nil
        act.object = text
        try await kms.audit.keep(act, now: .now())
        if let id = AuditID(text) {
            let explanation = try await kms.oversight.explain(
                id, audit: kms.audit, opening: opening, now: .now())
            return ControlAnswer { json in
                json.member("opened", opening)
                json.name("explanation")
                json.beginObject()
                explanation.json(into: &json)
                json.endObject()
            }
        }
        let hits = try await kms.oversight.search(requestID: text, audit: kms.audit)
        guard !hits.isEmpty else {
            throw DiagnosedError(
                .subjectUnknown, fault: .client, "no decision with this request id stands in the trail of this node",
                found: text.quotedForError, hint: "ask the other nodes; request ids are those that the client chose")
        }
        return ControlAnswer { json in
            json.name("hits")
            json.beginArray()
            for hit in hits {
                json.beginObject()
                hit.json(into: &json)
                json.endObject()
            }
            json.endArray()
        }
    }

    private static func access(
        _ kms: RunningKMS, _ node: JSONNode, _ peer: PeerCredentials, _ progress: ControlProgress
    ) async throws -> ControlAnswer {
        let arguments = try ControlArguments(node, ["subject", "at", "after"])
        let subject = try OversightSubject(arguments.text("subject"), names: kms.names)
        let moment = try arguments.moment("at")
        let after = try arguments.optional("after")
        // Each part anew: whoever begins in the middle has looked, too.
        var act = OfficeAct(.lookup, by: name(peer), command: "access").about(subject, kms)
        act.detail = moment.map { "at \($0)" }
        try await kms.audit.keep(act, now: .now())
        let report = try await kms.oversight.access(
            to: subject, at: moment, after: after, now: .now(), progress: { progress($0) })
        return ControlAnswer(result: report.json().text())
    }

    private static func lookup(
        _ kms: RunningKMS, _ node: JSONNode, _ peer: PeerCredentials
    ) async throws -> ControlAnswer {
        let arguments = try ControlArguments(node, ["user", "object", "client"])
        let (user, object, client) = (
            try arguments.optional("user"), try arguments.optional("object"), try arguments.optional("client")
        )
        guard [user, object, client].compactMap({ $0 }).count == 1 else {
            throw ControlArguments.malformed("one of user, object and client is looked up at a time")
        }
        var act = OfficeAct(.lookup, by: name(peer), command: "audit-lookup")
        (act.user, act.object, act.client) = (user, object, client)
        try await kms.audit.keep(act, now: .now())
        let pseudonyms =
            user.map { [kms.audit.pseudonym(user: $0)] } ?? client.map { [kms.audit.pseudonym(client: $0)] }
            ?? forms(of: object ?? "", kms).map { kms.audit.pseudonym(object: $0) }
        return ControlAnswer { json in json.member("pseudonyms", pseudonyms) }
    }

    /// Objects stand in the trail as clients name them: as a path of this KMS, or with its host.
    private static func forms(of object: String, _ kms: RunningKMS) -> [String] {
        let cluster = kms.names.cluster
        if object.hasPrefix("/") { return [cluster + object, object] }
        return object.hasPrefix(cluster + "/") ? [object, String(object.dropFirst(cluster.count))] : [object]
    }

    private static func metadata(
        _ kms: RunningKMS, _ node: JSONNode, _ peer: PeerCredentials, _ progress: ControlProgress
    ) async throws -> ControlAnswer {
        let arguments = try ControlArguments(node, ["user", "after"])
        let subject = try OversightSubject(arguments.text("user"), names: kms.names)
        guard case .user(let user) = subject else {
            throw ControlArguments.malformed("the metadata of users are exported", expected: "a user's id")
        }
        let after = try arguments.optional("after")
        let act = OfficeAct(.lookup, by: name(peer), command: "export-metadata").about(subject, kms)
        try await kms.audit.keep(act, now: .now())
        let export = try await kms.oversight.metadata(
            of: user, after: after, now: .now(), progress: { progress($0) })
        return ControlAnswer { json in
            json.name("part")
            json.raw(export.json)
            json.member("next", ifPresent: export.next)
        }
    }
}

extension OfficeAct {
    /// With whom or what it is about.
    func about(_ subject: OversightSubject, _ kms: RunningKMS) -> OfficeAct {
        var act = self
        switch subject {
        case .user(let user): act.user = user
        case .space(let id): act.object = kms.names.resource(id)
        }
        return act
    }
}

extension RunningKMS {
    var oversight: Oversight {
        Oversight(management: keyManagement, sessions: sessions) { [policy, partners] in
            let now = policy.current
            return Oversight.PolicyReaders(now.signed, partners: partners.nestedReaders(by: now))
        }
    }
}

import AuditTrail
import ControlSocket
import Diagnostics
import JOSESignature
import KMSProtocol
import KeyManagement
import Recovery
import SignedPolicy
import WireText

/// Commands that stop the release of keys and let it go on.
///
/// Ordering and lifting need an officer with the duty `freeze`. Where the policy names `freeze.secondOfficerOver`, a
/// freeze that hits more users or spaces needs a second one, and so does lifting it. Without that number nothing is
/// counted before a freeze stands.
enum FreezeCommands {
    static func all(_ kms: RunningKMS) -> [ControlCommand] {
        [
            ControlCommand("freeze-simulate") { arguments, _, peer, progress in
                let scope = try scope(arguments, kms)
                try await note(kms, peer, "freeze-simulate", detail: "\(scope)")
                let impact = try await kms.oversight.impact(of: scope, now: .now(), progress: { progress($0) })
                let limit = kms.policy.current.signed.freeze.secondOfficerOver
                return ControlAnswer { json in
                    impact.json(into: &json)
                    json.member("needsSecondOfficer", limit.map { impact.exceeds($0) } ?? false)
                }
            },
            ControlCommand("freeze-list") { arguments, _, peer, _ in
                _ = try ControlArguments(arguments, [])
                try await note(kms, peer, "freeze-list", detail: nil)
                return ControlAnswer { json in
                    json.name("freezes")
                    json.beginArray()
                    for freeze in kms.freezes.standing { write(freeze, kms, &json) }
                    json.endArray()
                }
            },
            ControlCommand(
                "freeze", duty: .freeze,
                needsSecond: { arguments in try await exceedsLimit(try scope(arguments, kms), kms) },
                run: { arguments, approval, _, _ in try await order(kms, arguments, approval) }),
            ControlCommand(
                "freeze-lift", duty: .freeze,
                needsSecond: { arguments in
                    let id = try ControlArguments(arguments, ["id"]).text("id")
                    return try await exceedsLimit(try standing(id, kms).scope, kms)
                },
                run: { arguments, _, _, _ in
                    let id = try ControlArguments(arguments, ["id"]).text("id")
                    guard try standing(id, kms).orderedBy != Restore.orderedBy else {
                        throw DiagnosedError(
                            .restoreGap, fault: .client, "this freeze stands since the key store was restored",
                            hint: "hdsctl restore status says what is unknown; hdsctl restore open ends the freeze")
                    }
                    guard let lifted = try await kms.freezes.lift(id) else { throw unknown(id) }
                    return ControlAnswer { json in
                        json.name("lifted")
                        write(lifted, kms, &json)
                    }
                }),
        ]
    }

    private static func order(
        _ kms: RunningKMS, _ node: JSONNode, _ approval: OfficerDesk.Approval?
    ) async throws -> ControlAnswer {
        guard let approval else {
            throw DiagnosedError(.controlFailure, fault: .internal, "a freeze came without an officer")
        }
        let officers = [approval.officer.id] + (approval.second.map { [$0.id] } ?? [])
        let reason = try ControlArguments(node, names).text("reason")
        let freeze = Freeze(
            scope: try scope(node, kms), reason: reason, orderedBy: officers.joined(separator: " and "), since: .now())
        try await kms.freezes.order(freeze)
        return ControlAnswer { json in
            json.name("freeze")
            write(freeze, kms, &json)
        }
    }

    static func exceedsLimit(_ scope: Freeze.Scope, _ kms: RunningKMS) async throws -> Bool {
        guard let limit = kms.policy.current.signed.freeze.secondOfficerOver else { return false }
        return try await kms.oversight.impact(of: scope, stoppingOver: limit, now: .now()).exceeds(limit)
    }

    private static func standing(_ id: String, _ kms: RunningKMS) throws(DiagnosedError) -> Freeze {
        guard let freeze = kms.freezes.standing.first(where: { $0.id == id }) else { throw unknown(id) }
        return freeze
    }

    private static func unknown(_ id: String) -> DiagnosedError {
        DiagnosedError(
            .subjectUnknown, fault: .client, "no freeze of this id stands", found: id.quotedForError,
            hint: "hdsctl freeze list shows those that stand")
    }

    private static func note(
        _ kms: RunningKMS, _ peer: PeerCredentials, _ command: String, detail: String?
    ) async throws {
        var act = OfficeAct(.lookup, by: OversightCommands.name(peer), command: command)
        act.detail = detail
        try await kms.audit.keep(act, now: .now())
    }

    // MARK: Scopes

    private static let names = [
        "everything", "space", "user", "device", "boundFrom", "boundUntil", "service", "partner", "reason",
    ]

    private static func scope(_ node: JSONNode, _ kms: RunningKMS) throws(DiagnosedError) -> Freeze.Scope {
        let arguments = try ControlArguments(node, names)
        var scopes: [Freeze.Scope] = []
        if node["everything"]?.boolean == true { scopes.append(.everything) }
        if let space = try arguments.optional("space") {
            guard case .space(let id) = try OversightSubject(space, names: kms.names) else {
                throw ControlArguments.malformed(
                    "this names no space", expected: "kms://\(kms.names.host)/resources/UUID",
                    found: space.quotedForError)
            }
            scopes.append(.space(id))
        }
        if let user = try arguments.optional("user") { scopes.append(.user(user)) }
        if let device = try arguments.optional("device") { scopes.append(.device(device)) }
        let (from, until) = (try arguments.moment("boundFrom"), try arguments.moment("boundUntil"))
        if from != nil || until != nil { scopes.append(.bound(from: from, until: until)) }
        if let service = try arguments.optional("service") { scopes.append(.service(service)) }
        if let partner = try arguments.optional("partner") { scopes.append(.partner(partner.lowercased())) }
        guard scopes.count == 1, let scope = scopes.first else {
            throw ControlArguments.malformed(
                "a freeze is of one thing", expected: "one of " + names.dropLast().joined(separator: ", "),
                found: scopes.isEmpty ? "none" : "\(scopes.count)")
        }
        return scope
    }

    private static func write(_ freeze: Freeze, _ kms: RunningKMS, _ json: inout JSONWriter) {
        json.beginObject()
        json.member("id", freeze.id)
        switch freeze.scope {
        case .everything: json.member("everything", true)
        case .space(let id): json.member("space", kms.names.resource(id))
        case .user(let user): json.member("user", user)
        case .device(let device): json.member("device", device)
        case .bound(let from, let until):
            json.member("boundFrom", ifPresent: from?.iso8601)
            json.member("boundUntil", ifPresent: until?.iso8601)
        case .service(let name): json.member("service", name)
        case .partner(let host): json.member("partner", host)
        }
        json.member("reason", freeze.reason)
        json.member("orderedBy", freeze.orderedBy)
        json.member("since", freeze.since.iso8601)
        json.endObject()
    }
}

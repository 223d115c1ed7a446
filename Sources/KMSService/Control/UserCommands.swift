import AuditTrail
import ControlSocket
import CoreLink
import Diagnostics
import KMSProtocol
import KeyManagement
import LinkProtocol
import LinkedService
import SignedPolicy
import WireText

/// Commands about a person who is cut off: read the issuers' lists now, and say what the KMS knows.
///
/// Neither needs an officer: who is disabled says the customer's authorization service in its signed list, and these can
/// add nobody to it (docs/decisions/150-the-issuer-says-who-is-cut-off.md). Each stands in the audit trail.
enum UserCommands {
    static func all(_ kms: RunningKMS) -> [ControlCommand] {
        [
            ControlCommand("user-cut") { arguments, _, peer, _ in
                let given = try ControlArguments(arguments, ["user", "wipe"])
                let user = try given.text("user", upTo: 256)
                let wipes = try given.flag("wipe")
                try await note(kms, peer, wipes ? "user-wipe" : "user-cut", user)
                let begun = ContinuousClock.now
                let readings = await kms.disabled.read()
                let took = begun.duration(to: .now)
                // Tokens are refused by now: a client that asks because of the word gets none.
                let word: ClientWord? = wipes ? await ClientWord.wipe(user, kms.links) : nil
                return try await answer(kms, user, readings, took: took, word)
            },
            ControlCommand("user-status") { arguments, _, peer, _ in
                let user = try user(arguments)
                try await note(kms, peer, "user-status", user)
                return try await answer(kms, user, [], took: nil)
            },
        ]
    }

    private static func user(_ node: JSONNode) throws(DiagnosedError) -> String {
        try ControlArguments(node, ["user"]).text("user", upTo: 256)
    }

    private static func note(_ kms: RunningKMS, _ peer: PeerCredentials, _ command: String, _ user: String) async throws
    {
        var act = OfficeAct(.lookup, by: OversightCommands.name(peer), command: command)
        act.user = user
        try await kms.audit.keep(act, now: .now())
    }

    private static func answer(
        _ kms: RunningKMS, _ user: String, _ readings: [DisabledKeeper.Reading], took: Duration?,
        _ word: ClientWord? = nil
    ) async throws -> ControlAnswer {
        let entry = kms.disabled.disabled.entry(of: user)
        let sessions = try await kms.sessions.living(ofUser: user, now: .now())
        let issuers = kms.disabled.polls.filter(\.isCustomerControlled)
        return ControlAnswer { json in
            json.member("host", kms.configuration.host)
            json.member("node", kms.configuration.node)
            json.member("disabled", entry != nil)
            json.member("issuer", ifPresent: entry?.issuer)
            json.member("since", ifPresent: entry?.since.iso8601)
            json.member("sessions", Int64(sessions))
            json.member("sessionsEnded", Int64(kms.disabled.sessionsEnded(of: user)))
            if let took { json.member("milliseconds", Int64(took / .milliseconds(1))) }
            json.member("sharesStore", kms.lease != nil)
            switch word {
            case .told?: json.member("wipeTold", true)
            case .untold(let trouble)?:
                json.member("wipeTold", false)
                json.member("wipeTrouble", trouble)
            case nil: break
            }
            json.name("issuers")
            json.beginArray()
            for poll in issuers {
                json.beginObject()
                json.member("issuer", poll.list.issuer)
                json.member("everySeconds", poll.interval.components.seconds)
                json.member("trouble", ifPresent: readings.first { $0.issuer == poll.list.issuer }?.trouble)
                json.endObject()
            }
            json.endArray()
            json.member("partners", kms.partners.nestedReaders(by: kms.policy.current).keys.sorted())
            json.member("services", kms.policy.current.signed.services.map(\.name))
        }
    }
}

/// A word to the clients of a user that the core brings: ask your authorization service, there is an order for you. The order
/// itself comes from there; the core can neither make one nor learn more than that there is one.
enum ClientWord {
    case told
    case untold(String)

    private static let destination = "clients://core"

    static func wipe(_ user: String, _ links: LinkHolder) async -> ClientWord {
        var json = JSONWriter(reserving: 128)
        json.beginObject()
        json.member("word", "wipe")
        json.member("userId", user)
        json.endObject()
        switch await links.link?.call(destination, text: json.bytes(), within: .seconds(3)) {
        case .answered(let octets)?:
            let status = (try? JSONDocument(octets).root)?["status"]?.integer
            return status == 200 ? .told : .untold("it answers \(status.map(String.init) ?? "nothing that is known")")
        case .refused(let reason)?: return .untold(String(reason.rawValue.filter(\.isASCII).prefix(40)))
        case nil: return .untold("no link to the core")
        }
    }
}

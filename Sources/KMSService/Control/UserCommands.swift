import AuditTrail
import ControlSocket
import Diagnostics
import KMSProtocol
import KeyManagement
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
                let user = try user(arguments)
                try await note(kms, peer, "user-cut", user)
                let begun = ContinuousClock.now
                let readings = await kms.disabled.read()
                let took = begun.duration(to: .now)
                return try await answer(kms, user, readings, took: took)
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
        _ kms: RunningKMS, _ user: String, _ readings: [DisabledKeeper.Reading], took: Duration?
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

import AuditTrail
import ControlSocket
import Diagnostics
import KeyManagement
import KeyStore
import ServiceRuntime
import SignedPolicy
import WireText

/// Commands that only read: how the KMS is, and what its policy says.
enum ReadingCommands {
    static func all(_ kms: RunningKMS) -> [ControlCommand] {
        [
            ControlCommand("status") { _, _, _, _ in await status(kms) },
            ControlCommand("policy") { _, _, _, _ in policy(kms) },
            ControlCommand("clients") { _, _, _, _ in clients(kms) },
        ]
    }

    /// Which clients brought tokens since the start, and how the policy in force takes each.
    private static func clients(_ kms: RunningKMS) -> ControlAnswer {
        let policy = kms.policy.current.signed
        let now = Timestamp.now()
        let seen = kms.clients.all
        let named = Set(policy.services.compactMap(\.client)).subtracting(seen.map(\.client)).sorted()
        return ControlAnswer { json in
            json.member("since", kms.started.iso8601)
            json.member("policyVersion", policy.version)
            json.name("clients")
            json.beginArray()
            for (client, count) in seen {
                json.beginObject()
                json.member("client", client)
                json.member("integration", count.isIntegration)
                json.member("standing", standing(of: client, count.isIntegration, policy, now))
                json.member("requests", count.requests)
                json.member("refusals", count.refusals)
                json.member("last", count.last.iso8601)
                json.endObject()
            }
            for client in named {
                json.beginObject()
                json.member("client", client)
                json.member("standing", standing(of: client, false, policy, now))
                json.member("requests", 0)
                json.member("refusals", 0)
                json.endObject()
            }
            json.endArray()
        }
    }

    private static func standing(
        of client: String, _ isIntegration: Bool, _ policy: Policy, _ now: Timestamp
    ) -> String {
        let consents = policy.services.filter { $0.client == client }
        if let valid = consents.first(where: { ($0.notBefore ?? now) <= now && now < $0.notAfter }) {
            return "service-consent:\(valid.name)"
        }
        if !consents.isEmpty { return "consent-expired" }
        if policy.services.contains(where: { $0.subject == client && $0.client == nil && now < $0.notAfter }) {
            return "service"
        }
        if isIntegration { return "integration-without-consent" }
        if case .only(let names) = policy.personalClients, !names.contains(client) { return "unknown-client" }
        return "personal"
    }

    private static func status(_ kms: RunningKMS) async -> ControlAnswer {
        let details = await StatusDetails.of(kms)
        let report = kms.health.report
        let policy = kms.policy.current.signed
        let trail = kms.audit.trail.state
        return ControlAnswer { json in
            json.member("service", KMSAssembly.identity.name)
            json.member("version", KMSAssembly.identity.version)
            json.member("host", kms.configuration.host)
            json.member("node", kms.configuration.node)
            json.member("organisation", kms.configuration.organisation)
            json.member("started", kms.started.iso8601)
            json.member("status", report.state.rawValue)
            json.member("ready", report.isReady)
            json.member("sentence", report.sentence)
            json.name("policy")
            json.beginObject()
            json.member("version", policy.version)
            if policy.version > 0 {
                json.member("issued", policy.issued.iso8601)
                json.member("digest", Hexadecimal.encode(policy.digest))
                json.member("services", policy.services.map(\.name))
            }
            json.endObject()
            json.name("officers")
            json.beginArray()
            for officer in kms.officers.roster.officers {
                json.beginObject()
                json.member("id", officer.id)
                json.member("name", officer.name)
                json.member("duties", officer.duties.map(\.rawValue).sorted())
                json.endObject()
            }
            json.endArray()
            json.member("freezes", kms.freezes.standing.count)
            if let lease = kms.lease {
                let standing = lease.standing
                json.name("lease")
                json.beginObject()
                json.member("held", lease.lease.isHeld)
                json.member("epoch", standing.epoch)
                json.member("synchronous", standing.isSynchronous)
                json.member("reason", ifPresent: standing.trouble?.found ?? standing.trouble?.summary)
                json.endObject()
            }
            json.name("audit")
            json.beginObject()
            json.member("records", trail.lastSeq)
            json.member("percent", Int64(trail.percent))
            json.member("blocked", ifPresent: trail.blocked?.summary)
            json.endObject()
            json.member("alarms", report.alarms.map { "\($0.alarm.id): \($0.detail.text)" })
            json.member("warnings", report.warnings.map(\.text.text))
            details.write(to: &json)
        }
    }

    private static func policy(_ kms: RunningKMS) -> ControlAnswer {
        let policy = kms.policy.current.signed
        return ControlAnswer { json in
            json.member("version", policy.version)
            json.member(
                "sentences",
                policy.version > 0
                    ? PolicySentences.sentences(policy, now: .now())
                    : ["No policy is in force: nobody but the members of a space gets its keys."])
        }
    }
}

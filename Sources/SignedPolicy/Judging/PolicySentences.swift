package import WireText

/// Says in sentences what a policy allows, for the people who sign it.
package enum PolicySentences {
    /// One sentence a line, without a heading.
    package static func sentences(_ policy: Policy, now: Timestamp) -> [String] {
        var lines = [
            "This is version \(policy.version) of the policy of \(policy.organisation), issued at \(policy.issued)."
        ]
        if policy.services.isEmpty { lines.append("No service may get any key.") }
        for service in policy.services {
            let state =
                now >= service.notAfter
                ? " It is over." : (service.notBefore.map { now < $0 } ?? false ? " It has not begun." : "")
            lines.append("The service \(service.name) has a consent: \(consent(service)).\(state)")
        }
        if case .only = policy.personalClients {
            lines.append("Persons may come in with \(coverage(policy.personalClients)) only.")
        }
        if policy.agents.isEmpty { lines.append("Nobody has the capacity of a compliance officer.") }
        for agent in policy.agents {
            let matter = agent.matter.map { "in the matter \($0)" } ?? "in every matter"
            let over = agent.notAfter.map { now >= $0 } ?? false ? " That is over." : ""
            lines.append("\(agent.user) may read as a compliance officer \(matter), \(end(agent.notAfter)).\(over)")
        }
        if policy.partners.isEmpty { lines.append("There are no partners: no key is shared with another KMS.") }
        for partner in policy.partners { lines.append("\(partner.host) is a partner: \(self.partner(partner)).") }
        if let federation = policy.federation, federation.isEmpty {
            lines.append("Users of no domain may share keys with partners.")
        } else if policy.federation == nil, !policy.partners.isEmpty {
            lines.append("Users of every domain may share keys with the partners.")
        }
        for domain in policy.federation ?? [] {
            lines.append("Users of \(domain.domain) may share keys with \(coverage(domain.partners)) of the partners.")
        }
        lines.append(
            policy.freeze.secondOfficerOver.map { "A freeze of more than \($0) users or spaces needs two officers." }
                ?? "A freeze never needs a second officer.")
        if policy.explanations.fourEyes {
            lines.append("Who stands in an explained decision is shown to two officers only.")
        }
        lines.append(policy.erasure.fourEyes ? "An erasure needs two officers." : "An erasure needs one officer.")
        lines.append(
            policy.moderation
                ? "In moderated spaces only moderators add and remove."
                : "Moderators have no more rights than other members.")
        lines.append(
            policy.publicAuthorizations ? "Spaces may be made readable to everybody." : "No space can be made public.")
        return lines + numbers(policy)
    }

    static func consent(_ service: ServiceConsent) -> String {
        var text = "\(service.type) with the account \(service.subject)"
        if let client = service.client { text += " through the client \(client)" }
        text += ", may \(list(service.operations)) in "
        text += service.spaces == .all ? "all spaces" : "the spaces \(coverage(service.spaces))"
        if !service.organisations.isEmpty { text += " of \(list(service.organisations))" }
        if let notBefore = service.notBefore { text += ", from \(notBefore)" }
        text += ", \(end(service.notAfter))"
        if service.mayActOnBehalf { text += ", also on behalf of others" }
        if service.formerMembers { text += ", also for former members" }
        return text
    }

    static func partner(_ partner: Partner) -> String {
        let direction =
            switch partner.direction {
            case .inbound: "may ask this KMS"
            case .outbound: "may be asked"
            case .both: "may ask this KMS and be asked"
            }
        let users = partner.domains.union(partner.issuers).union(partner.users)
        let whose = users.isEmpty ? "speaks for nobody" : "speaks for the users of \(list(users))"
        let cache = partner.cacheSeconds == 0 ? "nothing is cached" : "key bytes are cached \(partner.cacheSeconds) s"
        let proofs = partner.anchors.count + partner.pins.count
        return
            "\(partner.organisation), \(direction), \(whose), proven by \(proofs) "
            + "\(proofs == 1 ? "anchor" : "anchors"), \(cache)"
    }

    static func coverage(_ coverage: Coverage) -> String {
        switch coverage {
        case .all: "all"
        case .only(let texts): texts.isEmpty ? "none" : list(texts)
        }
    }

    static func list(_ texts: Set<String>) -> String { texts.sorted().joined(separator: ", ") }

    static func end(_ moment: Timestamp?) -> String { moment.map { "until \($0)" } ?? "without an end" }
    static func moment(_ moment: Timestamp?) -> String { moment.map { "\($0)" } ?? "at once" }

    private static func numbers(_ policy: Policy) -> [String] {
        let values: [(String, Int?)] = [
            ("Deleted keys stay sealed for %d days.", policy.retention.tombstoneDays),
            ("Intervals of authorization are kept for %d days.", policy.retention.intervalDays),
            ("The audit is kept for %d days.", policy.retention.auditDays),
            ("A user may ask %d times in a minute.", policy.limits.perUserPerMinute),
            ("A service may ask %d times in a minute.", policy.limits.perServicePerMinute),
            ("A device may ask %d times in a minute.", policy.limits.perDevicePerMinute),
            ("A device may open %d sessions in an hour.", policy.limits.sessionOpeningsPerDevice),
            ("A member may delete %d keys and spaces in a day.", policy.limits.massDeletion),
            ("More than %d keys read by a user in an hour are reported.", policy.anomaly.keyReadsPerUserPerHour),
            ("More than %d spaces read by a user in an hour are reported.", policy.anomaly.spacesPerUserPerHour),
            ("More than %d refusals of a user in an hour are reported.", policy.anomaly.refusalsPerUserPerHour),
            ("More than %d new devices of a user in a day are reported.", policy.anomaly.newDevicesPerUserPerDay),
        ]
        return values.compactMap { text, number in
            number.map { number in
                let parts = text.split(separator: "%d", maxSplits: 1)
                return "\(parts[0])\(number)\(parts[1])"
            }
        }
    }
}

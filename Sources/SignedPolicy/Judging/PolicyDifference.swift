/// One difference between two policies: what it does, where it stands, in a sentence.
package struct PolicyChange: Sendable, Equatable {
    package enum Effect: String, Sendable {
        /// Somebody may more than before, or less is checked: audited as a decision.
        case widens
        case narrows
        /// Nobody may more or less.
        case describes
    }

    package let effect: Effect
    package let path: String
    package let sentence: String
}

/// Says how one policy differs from another, and which way.
///
/// Where it can not be told which way a change goes it counts as widening: better a decision too many in the audit.
package struct PolicyDifference {
    private(set) var changes: [PolicyChange] = []

    package static func changes(from old: Policy, to new: Policy) -> [PolicyChange] {
        var difference = PolicyDifference()
        difference.compareServices(old, new)
        difference.compareAgents(old.agents, new.agents)
        difference.comparePartners(old, new)
        difference.compareRules(old, new)
        return difference.changes
    }

    private mutating func add(_ effect: PolicyChange.Effect, _ path: String, _ sentence: String) {
        changes.append(PolicyChange(effect: effect, path: path, sentence: sentence))
    }

    private mutating func compareServices(_ old: Policy, _ new: Policy) {
        for service in old.services where !new.services.contains(where: { $0.name == service.name }) {
            add(.narrows, "services.\(service.name)", "the consent is withdrawn")
            compareClient(service, in: new)
        }
        for service in new.services {
            guard let before = old.services.first(where: { $0.name == service.name }) else {
                add(.widens, "services.\(service.name)", "a new consent: \(PolicySentences.consent(service))")
                continue
            }
            compare(before, service)
            if before.client != service.client { compareClient(before, in: new) }
        }
        compare(old.personalClients, new.personalClients, "personalClients", "persons may come in with")
    }

    /// Once no consent names a client, its tokens of persons are judged by nothing but the persons' rights.
    private mutating func compareClient(_ service: ServiceConsent, in new: Policy) {
        guard let client = service.client, !new.services.contains(where: { $0.client == client }),
            new.personalClients.covers(client)
        else { return }
        add(
            .widens, "services.\(service.name).client",
            "persons' tokens of the client \(client) are no longer held against a consent; to shut it out, keep the "
                + "consent with a notAfter that is over, or list personalClients")
    }

    private mutating func compare(_ old: ServiceConsent, _ new: ServiceConsent) {
        let path = "services.\(new.name)"
        if old.subject != new.subject {
            add(.widens, "\(path).subject", "another service account: \(old.subject) -> \(new.subject)")
        }
        if old.client != new.client {
            add(
                new.client == nil || old.client != nil ? .widens : .narrows, "\(path).client",
                "the client: \(old.client ?? "any") -> \(new.client ?? "any")")
        }
        if old.type != new.type { add(.widens, "\(path).type", "another kind of service: \(old.type) -> \(new.type)") }
        compare(old.spaces, new.spaces, "\(path).spaces", "spaces")
        let before = old.organisations.isEmpty ? Coverage.all : .only(old.organisations)
        let after = new.organisations.isEmpty ? Coverage.all : .only(new.organisations)
        compare(before, after, "\(path).organisations", "organisations")
        compare(.only(old.operations), .only(new.operations), "\(path).operations", "operations")
        if old.notAfter != new.notAfter {
            add(
                new.notAfter > old.notAfter ? .widens : .narrows, "\(path).notAfter",
                "the end: \(old.notAfter) -> \(new.notAfter)")
        }
        if old.notBefore != new.notBefore {
            let earlier = new.notBefore.map { after in old.notBefore.map { after < $0 } ?? false } ?? true
            add(
                earlier ? .widens : .narrows, "\(path).notBefore",
                "the beginning: \(PolicySentences.moment(old.notBefore)) -> \(PolicySentences.moment(new.notBefore))")
        }
        compare(old.mayActOnBehalf, new.mayActOnBehalf, widensWhen: true, "\(path).mayActOnBehalf", "acting for others")
        compare(
            old.formerMembers, new.formerMembers, widensWhen: true, "\(path).formerMembers",
            "reading for former members")
    }

    private mutating func compareAgents(_ old: [Agent], _ new: [Agent]) {
        func same(_ left: Agent, _ right: Agent) -> Bool { left.user == right.user && left.matter == right.matter }
        func name(_ agent: Agent) -> String { "agents.\(agent.user)" + (agent.matter.map { " (\($0))" } ?? "") }
        for agent in old where !new.contains(where: { same($0, agent) }) {
            add(.narrows, name(agent), "no compliance officer any more")
        }
        for agent in new {
            guard let before = old.first(where: { same($0, agent) }) else {
                add(.widens, name(agent), "a new compliance officer, \(PolicySentences.end(agent.notAfter))")
                continue
            }
            guard before.notAfter != agent.notAfter else { continue }
            let later = agent.notAfter.map { after in before.notAfter.map { after > $0 } ?? false } ?? true
            add(
                later ? .widens : .narrows, "\(name(agent)).notAfter",
                "\(PolicySentences.end(before.notAfter)) -> \(PolicySentences.end(agent.notAfter))")
        }
    }

    private mutating func comparePartners(_ old: Policy, _ new: Policy) {
        for partner in old.partners where !new.partners.contains(where: { $0.host == partner.host }) {
            add(.narrows, "partners.\(partner.host)", "no partner any more")
        }
        for partner in new.partners {
            let path = "partners.\(partner.host)"
            guard let before = old.partners.first(where: { $0.host == partner.host }) else {
                add(.widens, path, "a new partner: \(PolicySentences.partner(partner))")
                continue
            }
            compare(.only(before.domains), .only(partner.domains), "\(path).domains", "domains")
            compare(.only(before.issuers), .only(partner.issuers), "\(path).issuers", "issuers")
            compare(.only(before.users), .only(partner.users), "\(path).users", "users")
            if before.organisation != partner.organisation {
                add(.widens, "\(path).organisation", "\(before.organisation) -> \(partner.organisation)")
            }
            if Set(before.anchors) != Set(partner.anchors) || Set(before.pins) != Set(partner.pins) {
                let fewer =
                    Set(partner.anchors).isSubset(of: before.anchors) && Set(partner.pins) == Set(before.pins)
                    && !partner.anchors.isEmpty
                add(fewer ? .narrows : .widens, "\(path).anchors", "what proves the partner has changed")
            }
            if before.direction != partner.direction {
                add(
                    before.direction == .both ? .narrows : .widens, "\(path).direction",
                    "\(before.direction.rawValue) -> \(partner.direction.rawValue)")
            }
            if before.cacheSeconds != partner.cacheSeconds {
                add(
                    partner.cacheSeconds > before.cacheSeconds ? .widens : .narrows, "\(path).cacheSeconds",
                    "\(before.cacheSeconds) s -> \(partner.cacheSeconds) s")
            }
        }
        guard let named = old.federation, let renamed = new.federation else {
            if old.federation != nil { add(.widens, "federation", "domains named -> every domain") }
            if new.federation != nil { add(.narrows, "federation", "every domain -> domains named") }
            return
        }
        for domain in Set(named.map(\.domain) + renamed.map(\.domain)).sorted() {
            let before = named.first { $0.domain == domain }?.partners ?? .nothing
            let after = renamed.first { $0.domain == domain }?.partners ?? .nothing
            compare(before, after, "federation.\(domain)", "partners")
        }
    }

    private mutating func compareRules(_ old: Policy, _ new: Policy) {
        compare(old.publicAuthorizations, new.publicAuthorizations, widensWhen: true, "publicAuthorizations", "/public")
        compare(old.moderation, new.moderation, widensWhen: false, "moderation", "moderators only")
        compare(old.erasure.fourEyes, new.erasure.fourEyes, widensWhen: false, "erasure.fourEyes", "two officers")
        compare(
            old.explanations.fourEyes, new.explanations.fourEyes, widensWhen: false, "explanations.fourEyes",
            "two officers")
        compareLimit(old.freeze.secondOfficerOver, new.freeze.secondOfficerOver, "freeze.secondOfficerOver", "never")
        for (path, before, after) in [
            ("retention.tombstoneDays", old.retention.tombstoneDays, new.retention.tombstoneDays),
            ("retention.intervalDays", old.retention.intervalDays, new.retention.intervalDays),
            ("limits.perUserPerMinute", old.limits.perUserPerMinute, new.limits.perUserPerMinute),
            ("limits.perServicePerMinute", old.limits.perServicePerMinute, new.limits.perServicePerMinute),
            ("limits.perDevicePerMinute", old.limits.perDevicePerMinute, new.limits.perDevicePerMinute),
            (
                "limits.sessionOpeningsPerDevice", old.limits.sessionOpeningsPerDevice,
                new.limits.sessionOpeningsPerDevice
            ),
            ("limits.massDeletion", old.limits.massDeletion, new.limits.massDeletion),
            ("anomaly.keyReadsPerUserPerHour", old.anomaly.keyReadsPerUserPerHour, new.anomaly.keyReadsPerUserPerHour),
            ("anomaly.spacesPerUserPerHour", old.anomaly.spacesPerUserPerHour, new.anomaly.spacesPerUserPerHour),
            ("anomaly.refusalsPerUserPerHour", old.anomaly.refusalsPerUserPerHour, new.anomaly.refusalsPerUserPerHour),
            (
                "anomaly.newDevicesPerUserPerDay", old.anomaly.newDevicesPerUserPerDay,
                new.anomaly.newDevicesPerUserPerDay
            ),
        ] { compareLimit(before, after, path, "the service's own") }
        // Shorter evidence lets more go unseen.
        if old.retention.auditDays != new.retention.auditDays {
            let shorter =
                new.retention.auditDays.map { after in old.retention.auditDays.map { after < $0 } ?? true } ?? true
            add(shorter ? .widens : .narrows, "retention.auditDays", "how long the audit is kept has changed")
        }
        if old.organisation != new.organisation {
            add(.widens, "organisation", "\(old.organisation) -> \(new.organisation)")
        }
    }

    private mutating func compareLimit(_ old: Int?, _ new: Int?, _ path: String, _ none: String) {
        guard old != new else { return }
        let higher = new.map { after in old.map { after > $0 } ?? false } ?? true
        add(
            higher ? .widens : .narrows, path,
            "\(old.map(String.init) ?? none) -> \(new.map(String.init) ?? none)")
    }

    private mutating func compare(
        _ old: Bool, _ new: Bool, widensWhen wide: Bool, _ path: String, _ what: String
    ) {
        guard old != new else { return }
        add(new == wide ? .widens : .narrows, path, "\(what): \(old ? "yes" : "no") -> \(new ? "yes" : "no")")
    }

    private mutating func compare(_ old: Coverage, _ new: Coverage, _ path: String, _ what: String) {
        switch (old, new) {
        case (.all, .all): break
        case (.all, .only): add(.narrows, path, "\(what): all -> \(PolicySentences.coverage(new))")
        case (.only, .all): add(.widens, path, "\(what): \(PolicySentences.coverage(old)) -> all")
        case (.only(let before), .only(let after)):
            let added = after.subtracting(before), removed = before.subtracting(after)
            if !added.isEmpty { add(.widens, path, "\(what) added: \(PolicySentences.list(added))") }
            if !removed.isEmpty { add(.narrows, path, "\(what) removed: \(PolicySentences.list(removed))") }
        }
    }
}

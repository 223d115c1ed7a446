import CoreLink
import Cryptography
import Diagnostics
import HTTPClient
import IssuerKeys
import KMSProtocol
import KeyManagement
import LinkedService
import LinkProtocol
import ServiceLifecycle
import ServiceRuntime
import TLSChannel
import WireText

// Federation from its section of the configuration, over calls of the link. It stands ready without that section too: the
// signed policy may name partners at any time.
extension KMSAssembly {
    struct FederationParts {
        let partners: PartnersInForce
        let sweep: FederationSweep
        private let health: HealthRegistry

        fileprivate init(_ federation: Federation, _ client: FederationClient, _ health: HealthRegistry) {
            partners = PartnersInForce(federation)
            sweep = FederationSweep(client: client)
            self.health = health
        }

        func use(_ settings: FederationSettings) {
            partners.replace(settings.partners, ownUsers: settings.ownUsers)
            settings.warn(health)
        }
    }

    /// What the section and the files that it names say, judged.
    struct FederationSettings {
        let partners: [FederationPartner]
        let ownUsers: Set<String>
        private let isUnlisted: Bool

        init(_ section: FederationSection?, own: KMSNames, route: WebRoute) throws {
            partners = try (section?.partners ?? []).map { try KMSAssembly.partner($0, own: own, route: route) }
            ownUsers = try section?.ownUsers.map { try KMSAssembly.userIDs(in: $0) } ?? []
            try KMSAssembly.judgeLists(partners, ownUsers: ownUsers)
            isUnlisted = section?.ownUsers == nil && partners.contains { $0.mayAskUs && $0.users == nil }
        }

        fileprivate func warn(_ health: HealthRegistry) {
            let id = "partner-users-unlisted"
            guard isUnlisted else { return health.withdraw(warning: id) }
            health.warn(
                StandingWarning(
                    id, "a partner may speak for users whom nobody listed, and own users who never came are not known",
                    fix: "name the file of own users in federation.own-users, or list the partner's users"))
        }
    }

    static func federation(
        _ configuration: KMSServiceConfiguration, _ context: ServiceContext, own: StaticKeysInForce, links: LinkHolder,
        log: KMSRequestLog, route: WebRoute
    ) throws -> FederationParts {
        let settings = try FederationSettings(configuration.federation, own: own.present.names, route: route)
        settings.warn(context.health)
        let observer = observer(context.health.alarms, log)
        let client = FederationClient(
            own: own, carrier: LinkCarrier(links: links), observer: observer)
        return FederationParts(
            Federation(
                partners: settings.partners, ownUsers: settings.ownUsers, client: client, observer: observer),
            client, context.health)
    }

    fileprivate static func partner(
        _ section: PartnerSection, own: KMSNames, route: WebRoute
    ) throws -> FederationPartner {
        guard section.host != own.host else {
            throw DiagnosedError(
                .federationSettings, fault: .configuration, "federation.partners has this KMS itself",
                found: section.host)
        }
        let pins = try section.pins.map { text in
            guard let pin = SPKIPin(text) else {
                throw DiagnosedError(
                    "pin-malformed", fault: .configuration,
                    "pins of the partner \(section.host) has an entry that is none",
                    expected: "sha256/ and 44 base64 characters", found: String(text.prefix(80)),
                    hint: "make one with: openssl x509 -in kms.pem -noout -pubkey | openssl pkey -pubin -outform der | "
                        + "openssl dgst -sha256 -binary | base64")
            }
            return pin.digest
        }
        let trust = try FederationTrust(
            host: section.host, roots: try section.roots.map { try $0.certificates() } ?? [], pins: Set(pins))
        let assertions = try section.assertionIssuer.map { issuer -> any BearerVerifier in
            let client = WebClient(trust: TLSTrust(roots: try issuer.authorities.certificates()), route: route)
            let keys = IssuerKeys(client: client, url: issuer.keySet.text)
            let verifier = JWTBearerVerifier(
                policy: TokenPolicy(issuer: issuer.issuer, audience: own.cluster, isCustomerControlled: false),
                keys: { refresh in try await keys.keySet(refresh: refresh) })
            return BearerDirectory(issuers: [verifier])
        }
        return FederationPartner(
            trust: trust, organisation: section.organisation, mayAskUs: section.mayAskUs, weMayAsk: section.weMayAsk,
            users: try section.users.map { try userIDs(in: $0) }, assertions: assertions,
            assertionIssuer: section.assertionIssuer?.issuer,
            allowsNested: section.allowsNested, cacheSeconds: section.cache.components.seconds)
    }

    /// One UUID in each line; what follows a # is a remark.
    static func userIDs(in file: FileLocation) throws -> Set<String> {
        var ids: Set<String> = []
        for (index, line) in try file.text(upTo: 64 << 20).split(separator: "\n", omittingEmptySubsequences: false)
            .enumerated()
        {
            let id = line.prefix { $0 != "#" }.filter { !$0.isWhitespace }
            guard !id.isEmpty else { continue }
            guard UUIDText.isValid(id) else {
                throw DiagnosedError(
                    .federationSettings, fault: .configuration, "\(file):\(index + 1) is no user id",
                    expected: "one UUID in each line", found: String(id.prefix(40)))
            }
            ids.insert(id.lowercased())
        }
        return ids
    }

    /// What two lists claim can only be a mistake: the service neither starts with it nor takes it over.
    fileprivate static func judgeLists(_ partners: [FederationPartner], ownUsers: Set<String>) throws {
        var homes = Dictionary(ownUsers.map { ($0, "own-users") }, uniquingKeysWith: { first, _ in first })
        for partner in partners {
            for user in partner.users ?? [] {
                if let other = homes.updateValue(partner.host, forKey: user) {
                    throw DiagnosedError(
                        .federationSettings, fault: .configuration, "a user id stands in two lists of federation",
                        expected: "each id in one list", found: "\(user) in those of \(other) and \(partner.host)")
                }
            }
        }
    }

    static func observer(_ alarms: AlarmBoard, _ log: KMSRequestLog) -> FederationObserver {
        FederationObserver(
            contested: { user, claimants in
                let sides = claimants.joined(separator: ", ")
                alarms.raise(
                    .userContested, about: log.pseudonym(user),
                    "user \(log.pseudonym(user)): claimed by \(reviewed: sides)")
            },
            partner: { host, problem in
                let subject = Loggable(reviewed: host)
                if let problem {
                    alarms.raise(.partnerUnreachable, about: subject, "\(reviewed: host): \(reviewed: problem)")
                } else {
                    alarms.clear(.partnerUnreachable, about: subject, "\(reviewed: host) answers again")
                }
            })
    }
}

/// Brings strings to other KMSs as calls of the link.
struct LinkCarrier: FederationCarrier {
    let links: LinkHolder

    func send(
        _ text: [UInt8], to host: String, within milliseconds: Int64
    ) async throws(FederationCarrierFailure) -> [UInt8] {
        guard let link = links.link else { throw .away("this KMS is not linked to the core") }
        let outcome = await link.call(
            KMSNames(host: host).cluster, text: text, within: .milliseconds(milliseconds))
        switch outcome {
        case .answered(let answer): return answer
        case .refused(.timeout): throw .timeout
        case .refused(.notLinked): throw .away("it is not linked to the core")
        case .refused(.notSupported): throw .away("the core carries no calls between KMSs")
        case .refused(.unknownDestination): throw .away("the core does not let this KMS call it")
        case .refused(.tooMany): throw .away("too many requests wait for it")
        case .refused(let reason):
            throw .away("the core refuses the call: " + String(reason.rawValue.filter(\.isASCII).prefix(40)))
        }
    }
}

/// Once a minute drops the octets of partners' keys whose time is over.
struct FederationSweep: Service {
    let client: FederationClient

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                try await Task.sleep(for: .seconds(60))
                await client.sweep()
            }
        }
    }
}

extension DiagnosedError.Code {
    /// The section federation says something that can not be.
    static let federationSettings: Self = "federation-settings"
}

import Diagnostics
import FoundationEssentials
import HDSClient
package import LinkedService
package import ServiceRuntime

/// The configuration of `hds-api`: one YAML file, every key documented in config/hds-api.yaml.
package struct APIConfiguration: KMSLinkedConfiguration {
    package static let kind = "api"
    package static let accountPlace = "service-account"

    package let runtime: RuntimeSection
    package let node: String
    package let organisation: String
    package let core: CoreSection
    package let proxy: ProxySection?
    package let account: ServiceAccountSection
    package let kms: PinnedKMSSection
    package let api: APISection

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case runtime, node, organisation, core, proxy
        case account = "service-account"
        case kms, api
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        runtime = try section.value(.runtime)
        node = try section.value(.node)
        organisation = try section.value(.organisation)
        core = try section.value(.core)
        proxy = try section.optional(.proxy)
        account = try section.value(.account)
        kms = try section.value(.kms)
        api = try section.value(.api)
        guard !node.isEmpty, node.utf8.count <= 64 else { throw section.problem(.node, "expected 1 to 64 characters") }
    }
}

/// Where integrations reach the server, and how much they may ask.
package struct APISection: Decodable, Sendable {
    /// Without `tls` one of this machine itself.
    package let address: NetworkAddress
    package let tls: ServerIdentitySection?
    /// The domain profile, as clients have it: who the core, the authorization service and the KMS are.
    package let profile: FileLocation
    /// Folder of what belongs to tokens in use; emptied at the start.
    package let scratch: FileLocation
    /// Of one pair of tokens.
    package let requestsPerMinute: Int
    /// Pairs of tokens in use at once.
    package let sessions: Int

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case address, tls, profile, scratch
        case requestsPerMinute = "requests-per-minute"
        case sessions
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        address = try section.value(.address)
        tls = try section.optional(.tls)
        profile = try section.value(.profile)
        scratch = try section.value(.scratch, default: FileLocation("/run/hds-api/sessions"))
        requestsPerMinute = try section.value(.requestsPerMinute, default: 120, in: 1...6_000)
        sessions = try section.value(.sessions, default: 100, in: 1...1_000)
        guard tls != nil || address.isLoopback else {
            throw section.problem(
                .address, "\(address) can be reached from other machines: give the section tls, or use 127.0.0.1")
        }
    }

    func domain() throws -> DomainProfile {
        guard let data = FileManager.default.contents(atPath: profile.path) else {
            throw DiagnosedError(
                "profile", fault: .configuration, "the domain profile can not be read", found: profile.path,
                hint: "it is the file that clients have: hds domain show --json, or from your administrator")
        }
        return try DomainProfile(json: [UInt8](data))
    }
}

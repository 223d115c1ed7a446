import Foundation
import Testing

@testable import ServiceRuntime
@testable import hds_auth

extension StoryTests {
    /// The sections `providers` and `saml` of hds-auth.yaml.
    @Suite("Providers in the configuration") struct ProviderConfigurationTests {
        private static let text =
            (try? String(contentsOfFile: Repository.root + "/config/hds-auth.yaml", encoding: .utf8)) ?? ""

        private func decode(_ sections: String) throws -> AuthConfiguration {
            try ConfigurationFile.decode(
                Array((Self.text + "\n" + sections).utf8), file: "hds-auth", folder: "/etc/hds")
        }

        /// As the example shows them, besides the sections of other things.
        private var example: [String] {
            UpgradedConfigurationTests.optionalSections(Self.text).filter { section in
                ["providers:", "saml:"].contains { section.hasPrefix($0) }
            }
        }

        @Test("What config/hds-auth.yaml shows is taken, every key of it, alone and together")
        func taken() throws {
            #expect(try decode("").providers.isEmpty)
            #expect(example.map { $0.prefix { $0 != ":" } } == ["providers", "saml"])
            let all = try decode(example.joined(separator: "\n"))
            #expect(all.providers.map(\.name) == ["staff", "partner"])
            #expect(all.providers[0].openIDConnect?.maximumAge == .seconds(43_200))
            #expect(all.providers[1].saml?.addressAttributes == ["mail"])
            #expect(all.saml != nil)
            for (type, names) in [
                (ProviderSection.CodingKeys.allCases.map(\.rawValue), "providers"),
                (ProviderSection.OpenIDSection.CodingKeys.allCases.map(\.rawValue), "openid-connect"),
                (ProviderSection.SAMLSection.CodingKeys.allCases.map(\.rawValue), "saml"),
            ] {
                for key in type { #expect(example.joined().contains("\(key):"), "\(names).\(key) is not shown") }
            }
        }

        @Test(
            "What can not be is refused",
            arguments: [
                ("name: staff", "name: Staff!"), ("@example.com", "example.com"), ("organisation: example", ""),
                ("issuer: https://id.example.com", "issuer: http://id.example.com"),
                ("ca: /etc/hds/id-ca.pem", ""), ("scopes: [openid, email, profile]", "scopes: [email]"),
                ("clock-skew: 60s", "clock-skew: 10m"), ("name: partner", "name: staff"),
                ("@partner.example.org", "@example.com"), ("sign-on: https:", "sign-on: http:"),
                ("certificates: [/etc/hds/partner-signing.pem]", "certificates: []"), ("    saml:", "    other:"),
            ])
        func refused(_ old: String, _ new: String) throws {
            let providers = try #require(example.first)
            let changed = providers.replacing(old, with: new, maxReplacements: 1)
            #expect(changed != providers)
            #expect(throws: ConfigurationError.self) { try decode(changed) }
        }
    }
}

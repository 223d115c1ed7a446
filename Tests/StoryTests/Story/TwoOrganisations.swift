import Foundation
import Glibc
import HDSClient
import Testing

/// Two customers of one core, each with an authorization service and a KMS of its own, as real processes.
///
/// A is the deployment with the core; B's services run in a folder of their own. Both are partners at the core and at
/// each other's KMS, by the roots of their own PKIs; A lets B speak for B's Bob alone, and only with B's authorization
/// service's word for each request.
final class TwoOrganisations: Sendable {
    let a: Deployment
    let b: Deployment

    static let hostOfA = "kms.example.com"
    static let hostOfB = "kms.partner.example.org"

    static func with(_ body: (TwoOrganisations) async throws -> Void) async throws {
        let both = try await TwoOrganisations()
        do {
            try await both.start()
            try await body(both)
        } catch {
            try? await both.end()
            throw error
        }
        try await both.end()
    }

    private init() async throws {
        let first = try await Domain.make()
        let second = try await Domain.make(
            organisation: "partner", mailDomain: "partner.example.org", kmsHost: Self.hostOfB, core: first)
        (a, b) = (Deployment(first), Deployment(second))
        try first.replace(
            "    kms-cluster: kms://\(Self.hostOfA)\n",
            with: """
                    kms-cluster: kms://\(Self.hostOfA)
                    partners: [partner]
                  - id: partner
                    domains: [partner.example.org]
                    authorization-server: \(second.authURL)
                    issuer: \(second.authURL)
                    jwks: \(second.authURL)/jwks.json
                    ca: \(second.path("pki/customer/root.pem"))
                    kms-cluster: kms://\(Self.hostOfB)
                    partners: [example]

                """, in: Service.core.configuration)
        try first.write(first.read("auth/alice.id") + first.read("auth/bob.id"), to: "kms/own-users")
        try first.write(second.read("auth/bob.id"), to: "kms/partner-users")
        try second.replace("users:", with: "partner-kms: [\"kms://\(Self.hostOfA)\"]\nusers:", in: "auth/accounts.yaml")
        try first.write(first.read(Service.kms.configuration) + federationOfA, to: Service.kms.configuration)
        try second.write(
            second.read(Service.kms.configuration) + """
                federation:
                  partners:
                    - host: \(Self.hostOfA)
                      organisation: example
                      roots: \(first.path("pki/customer/root.pem"))
                      we-may-ask: true
                      cache: 5m

                """, to: Service.kms.configuration)
    }

    /// The section of A's KMS that lets B ask.
    var federationOfA: String {
        """
        federation:
          own-users: own-users
          partners:
            - host: \(Self.hostOfB)
              organisation: partner
              roots: \(b.domain.path("pki/customer/root.pem"))
              may-ask-us: true
              users: partner-users
              assertion-issuer:
                issuer: \(b.domain.authURL)
                jwks: \(b.domain.authURL)/jwks.json
                ca: \(b.domain.path("pki/customer/root.pem"))

        """
    }

    private func start() async throws {
        try await a.startAll()
        for service in [Service.auth, .kms] { try b.start(service) }
        for service in [Service.auth, .kms] { try await b.waitUntilReady(service) }
    }

    /// A's KMS takes over this section of its configuration (SIGHUP), or refuses it.
    func reloadKMSOfA(federation section: String, saying text: String = "took over the configuration") async throws {
        let file = Service.kms.configuration
        let before = try a.domain.read("log/hds-kms.log").count(of: text)
        let whole = try a.domain.read(file)
        let start = try #require(whole.range(of: "federation:\n"))
        try a.domain.write(whole[..<start.lowerBound] + section, to: file)
        a[.kms]?.send(SIGHUP)
        _ = try await eventually("the reload: \(text)", seen: { self.a[.kms]?.tail() ?? "" }) {
            try self.a.domain.read("log/hds-kms.log").count(of: text) > before ? true : nil
        }
    }

    private func end() async throws {
        try await b.end()
        try await a.end()
    }
}

import Diagnostics
import Foundation
import HDSClient
import HTTPClient
import KMSClient
import KMSProtocol
import Testing

extension StoryTests {
    @Suite("Tokens of both forms") struct TokenFormTests {
        /// Users get opaque tokens for the KMS, which asks `hds-auth` about them.
        private static func makeOpaque(_ domain: Domain) throws {
            try domain.replace(
                "runtime:\n", with: "token-format:\n  kms: opaque\n  cluster: PF84\nruntime:\n",
                in: "auth/hds-auth.yaml")
            try domain.replace(
                "  service-account:\n",
                with: """
                        - issuer: \(domain.authURL)
                          kind: introspection
                          introspection-endpoint: \(domain.authURL)/introspect
                          client-id: hds-kms
                          client-secret: client-secret
                          token-clusters: [PF84]
                          ca: ../pki/customer/root.pem
                          customer-controlled: true
                      service-account:

                    """, in: "kms/hds-kms.yaml")
        }

        @Test(
            "A message is written and read, and a revoked user is shut out while others go on",
            arguments: [false, true])
        func story(isOpaque: Bool) async throws {
            try await Deployment.with(change: { if isOpaque { try Self.makeOpaque($0) } }) { deployment in
                let alice = try await Person.logIn("alice", in: deployment)
                let bob = try await Person.logIn("bob", in: deployment)
                let token = try #require(try alice.store.current().tokens).kms.reveal { $0 }
                let fields = token.split(separator: "_", omittingEmptySubsequences: false)
                #expect((fields.count == 3 && fields[1] == "PF84" && fields[2] == "example") == isOpaque)

                let space = try await alice.spaces.create(name: "Forms", with: [])
                try await alice.spaces.post("who am I", in: space)
                _ = try await alice.spaces.add(bob.email, to: space)
                #expect(try await bob.texts(of: try await bob.spaces.find("Forms")) == ["who am I"])
                let key = try #require(try alice.keyURIs(of: space).first)
                guard case .allowed = try await bob.client.verdict(onKey: key) else {
                    Issue.record("Bob gets no key")
                    return
                }
                let health = String(decoding: try await deployment.answer(of: .kms, "/healthz").body, as: UTF8.self)
                #expect(health.contains("revocations of") || health.contains("list of revocations"), "\(health)")
                #expect(!health.contains("can impersonate"))

                let told = try await ChildProcess.run(
                    Repository.program("hds-auth"),
                    ["revoke", "--config", deployment.domain.path("auth/hds-auth.yaml"), "--user", alice.email],
                    folder: deployment.domain.folder)
                #expect(told.contains(alice.id))
                // The KMS reads the list within a second; the client then finds that its login has ended, too.
                let error = try await eventually("Alice is shut out") {
                    do {
                        try await alice.client.kms.perform(.ping)
                        return nil as (any Error)?
                    } catch {
                        return error
                    }
                }
                #expect((error as? DiagnosedError)?.code == .notLoggedIn, "\(error)")
                try await bob.client.kms.perform(.ping)
                let log = try deployment.domain.read("log/hds-kms.log")
                #expect(!log.contains(token), "no token stands in the journal")
                await alice.close()
                await bob.close()
            }
        }

        @Test(
            "Keys of an issuer that the customer does not run, or an endpoint of it, bring the warning",
            arguments: [false, true])
        func impersonation(isOpaque: Bool) async throws {
            try await Deployment.with(
                change: { domain in
                    if isOpaque { try Self.makeOpaque(domain) }
                    // The last section of the file: the endpoint's, if there is one.
                    let text = try domain.read("kms/hds-kms.yaml")
                    let range = try #require(
                        text.range(of: "customer-controlled: true", options: .backwards))
                    try domain.write(
                        text.replacingCharacters(in: range, with: "customer-controlled: false"), to: "kms/hds-kms.yaml")
                },
                { deployment in
                    let health = try await deployment.answer(of: .kms, "/healthz")
                    #expect(String(decoding: health.body, as: UTF8.self).contains("the core can impersonate users"))
                })
        }
    }
}

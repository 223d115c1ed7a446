import Cryptography
import Diagnostics
import Foundation
import HDSClient
import HTTPClient
import Synchronization
import TLSChannel
import TestServers
import Testing
import WireText

extension StoryTests {
    @Suite("Login at a provider", .enabled(if: TestIdentityProvider.isInstalled)) struct ProviderLoginStoryTests {
        /// What a person does with a browser: the address here, the choice there, and back to the client.
        private struct Walk {
            let web: WebClient
            let email: String

            func go(from url: String) async throws {
                let page = try await web.send(WebRequest(url: url))
                let text = String(decoding: page.body, as: UTF8.self)
                var fields = text.matches(of: /<input type="hidden" name="([^"]*)" value="([^"]*)">/).map {
                    (String($0.1), Self.plain(String($0.2)))
                }
                fields.append(("email", email))
                let cookie = try #require(page.header("Set-Cookie")).prefix { $0 != ";" }
                let origin = try #require(url.firstRange(of: "/authorize"))
                let passage = try await web.send(
                    WebRequest(
                        method: "POST", url: url[..<origin.lowerBound] + "/authorize",
                        headers: [("Content-Type", "application/x-www-form-urlencoded"), ("Cookie", String(cookie))],
                        body: Array(Self.form(fields).utf8)))
                let link = try #require(
                    String(decoding: passage.body, as: UTF8.self).firstMatch(of: /id="passage" href="([^"]*)"/))
                let there = try await web.send(
                    WebRequest(
                        method: "POST", url: Self.plain(String(link.1)),
                        headers: [("Content-Type", "application/x-www-form-urlencoded")],
                        body: Array("sub=subject-alice".utf8)))
                let mine = try #require(passage.header("Set-Cookie")).prefix { $0 != ";" }
                let back = try await web.send(
                    WebRequest(url: try #require(there.header("Location")), headers: [("Cookie", String(mine))]))
                let client = try #require(back.header("Location"))
                #expect(try await web.send(WebRequest(url: client)).status == 200)
            }

            private static func plain(_ text: String) -> String {
                [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
                    .reduce(text) { $0.replacing($1.0, with: $1.1) }
            }

            private static func form(_ fields: [(String, String)]) -> String {
                var allowed = CharacterSet.alphanumerics
                allowed.insert(charactersIn: "-._~")
                return fields.map { name, value in
                    name + "=" + (value.addingPercentEncoding(withAllowedCharacters: allowed) ?? "")
                }.joined(separator: "&")
            }
        }

        @Test("Alice signs in at her provider, Bob with a password, and both read what the other wrote")
        func story() async throws {
            let provider = try await TestIdentityProvider.start(.openID)
            try await Deployment.with(change: { domain in
                let secret = domain.path("auth/provider-secret")
                try "secret of the client\n".write(toFile: secret, atomically: false, encoding: .utf8)
                try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: secret)
                try domain.replace(
                    "runtime:\n",
                    with: """
                        providers:
                          - name: staff
                            title: Example ID
                            addresses: ["@\(domain["mail_domain"])"]
                            except: ["bob@\(domain["mail_domain"])"]
                            openid-connect:
                              issuer: http://localhost:\(provider.port)
                              client-id: hds
                              client-secret: provider-secret
                        runtime:

                        """, in: "auth/hds-auth.yaml")
            }) { deployment in
                let bob = try await Person.logIn("bob", in: deployment)
                let roots = try Certificate.all(inPEM: try deployment.domain.read("pki/customer/root.pem"))
                let failure = Mutex<String?>(nil)
                let failed = { @Sendable (error: any Error) in failure.withLock { $0 = "\(error)" } }
                let alice = try await Person.logInAtProvider("alice", in: deployment) { url, email in
                    Task {
                        let web = WebClient(trust: TLSTrust(roots: roots))
                        do { try await Walk(web: web, email: email).go(from: url) } catch { failed(error) }
                        await web.close()
                    }
                }
                #expect(failure.withLock { $0 } == nil)

                let space = try await alice.spaces.create(name: "Provider", with: [bob.email])
                try await alice.spaces.post("signed in elsewhere", in: space)
                #expect(try await bob.texts(of: try await bob.spaces.find("Provider")) == ["signed in elsewhere"])
                let log = try deployment.domain.read("log/hds-auth.log")
                #expect(log.contains("is from now on a subject of the provider staff"))

                let ended = try await alice.client.logOut()
                #expect(ended.failures.isEmpty)
                #expect(
                    ended.providerLogout?.hasPrefix("http://localhost:\(provider.port)/oauth2/end_session?") == true)
                await bob.close()
            }
        }
    }
}

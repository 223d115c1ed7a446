/// A real identity provider of one test, made by deploy/lib/identity-provider.sh and gone with this process.
package final class TestIdentityProvider: Sendable {
    package enum Kind: String, Sendable {
        /// oidc-provider-mock: subjects `subject-alice`, `subject-bob` …
        case openID = "openid"
        /// idpyoidc: the same with back-channel logout.
        case openIDWithLogout = "logout"
        /// pysaml2.
        case saml
    }

    package let port: Int
    private let server: ScriptServer

    /// Whether the providers are on this machine; says so once when they are not.
    package static let isInstalled = ScriptServer.isFound(
        "identity-provider.sh",
        else: "no identity providers on this machine, so nothing is tried with them "
            + "(deploy/lib/identity-provider.sh --install)")

    /// - Parameter words: what the kind takes besides, such as the address of the service that signs in there.
    package static func start(_ kind: Kind, _ words: [String] = []) async throws -> TestIdentityProvider {
        try await onOwnThread {
            TestIdentityProvider(
                try ScriptServer(
                    "identity-provider.sh", [ScriptServer.folder("provider"), kind.rawValue] + words, ports: 1))
        }
    }

    private init(_ server: ScriptServer) {
        self.server = server
        port = server.ports[0]
    }

    /// Stops it for ever and deletes its folder; blocks until it is gone.
    package func end() { server.end() }
}

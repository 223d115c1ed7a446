/// A real SMTP or LMTP server (aiosmtpd), made by deploy/lib/mail-server.sh; what it took stands in its folder as `mail-1.eml`, ….
package final class TestMailServer: Sendable {
    package let port: Int
    private let server: ScriptServer

    /// Whether it is on this machine; says so once when it is not.
    package static let isInstalled = ScriptServer.isFound(
        "mail-server.sh",
        else: "no mail server on this machine, so nothing is tried with it (deploy/lib/mail-server.sh --install)")

    /// - Parameter identity: PEM files of a chain and its key; nil: no TLS.
    package init(_ dialect: String, folder: String, identity: (chain: String, key: String)? = nil) throws {
        server = try ScriptServer(
            "mail-server.sh", [folder, dialect] + (identity.map { [$0.chain, $0.key] } ?? []), ports: 1)
        port = server.ports[0]
    }
}

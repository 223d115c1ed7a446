/// A real HTTP proxy of one test, made by deploy/lib/proxy.sh and gone with this process.
package final class TestProxy: Sendable {
    package enum Kind: String, Sendable {
        case tinyproxy
        /// User `kms`, password `pass-word`.
        case tinyproxyBasic = "tinyproxy-basic"
        /// User `EXAMPLE\kms`, password `pass:word`, MD5; a nonce is good for three requests.
        case squidDigest = "squid-digest"
        /// User `kms`, password `pass:word`.
        case squidBasic = "squid-basic"
    }

    package let port: Int
    private let server: ScriptServer

    /// Whether both proxies are on this machine; says so once when they are not.
    package static let isInstalled = ScriptServer.isFound(
        "proxy.sh",
        else: "no proxies on this machine, so nothing is tried with them (apt-get install squid tinyproxy-bin)")

    /// - Parameters:
    ///   - place: the host that it runs on.
    ///   - known: a port that it had before.
    package static func start(
        _ kind: Kind, at place: NetworkPlace? = nil, port known: Int? = nil
    ) async throws -> TestProxy {
        // A port that was free may be somebody else's before the proxy has it.
        for _ in 0..<2 where known == nil {
            if let proxy = try? await start(kind, at: place, on: LoopbackPort.take()) { return proxy }
        }
        return try await start(kind, at: place, on: known ?? LoopbackPort.take())
    }

    private static func start(_ kind: Kind, at place: NetworkPlace?, on port: Int) async throws -> TestProxy {
        try await onOwnThread {
            let words =
                [try ScriptServer.folder("proxy"), "\(port)", kind.rawValue] + (place.map { [$0.address] } ?? [])
            return TestProxy(port: port, try ScriptServer("proxy.sh", words, ports: 0, at: place))
        }
    }

    private init(port: Int, _ server: ScriptServer) {
        (self.port, self.server) = (port, server)
    }

    /// Stops it for ever and deletes its folder; blocks until it is gone.
    package func end() { server.end() }
}

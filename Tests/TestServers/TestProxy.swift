import Glibc
import Synchronization

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
    private let pipe: PrivatePipe
    private let child: pid_t
    private let isOpen = Mutex(true)

    /// Whether both proxies are on this machine; says so once when they are not.
    package static let isInstalled: Bool = {
        let found = (try? BashScript.start("proxy.sh", ["--find"], input: nil)).map(BashScript.status) == 0
        if !found {
            print(
                "skipped: no proxies on this machine, so nothing is tried with them (apt-get install squid tinyproxy-bin)"
            )
        }
        return found
    }()

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
            var template = Array("/tmp/hds-proxy-XXXXXX".utf8CString)
            guard mkdtemp(&template) != nil else { throw TestPKI.Failure(what: "mkdtemp") }
            let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let pipe = try PrivatePipe()
            let words = [folder, "\(port)", kind.rawValue] + (place.map { [$0.address] } ?? [])
            let start = { try BashScript.start("proxy.sh", words, input: pipe.reading) }
            let child = try place.map { try $0.within(start) } ?? start()
            close(pipe.reading)
            let proxy = TestProxy(port: port, pipe: pipe, child: child)
            let told = proxy.line()
            guard told == "ready" else { throw TestPKI.Failure(what: "a proxy on port \(port): \(told)") }
            return proxy
        }
    }

    private init(port: Int, pipe: PrivatePipe, child: pid_t) {
        (self.port, self.pipe, self.child) = (port, pipe, child)
    }

    deinit { end() }

    /// Stops it for ever and deletes its folder; blocks until it is gone.
    package func end() {
        let wasOpen = isOpen.withLock { open in
            defer { open = false }
            return open
        }
        guard wasOpen else { return }
        close(pipe.writing)
        _ = BashScript.status(of: child)
    }

    private func line() -> String {
        var bytes: [UInt8] = []
        var octet: UInt8 = 0
        while read(pipe.writing, &octet, 1) == 1, octet != UInt8(ascii: "\n") { bytes.append(octet) }
        return String(decoding: bytes, as: UTF8.self)
    }
}

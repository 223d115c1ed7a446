import Glibc
import Synchronization

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
    private let pipe: PrivatePipe
    private let child: pid_t
    private let isOpen = Mutex(true)

    /// Whether the providers are on this machine; says so once when they are not.
    package static let isInstalled: Bool = {
        let found = (try? BashScript.start("identity-provider.sh", ["--find"], input: nil)).map(BashScript.status) == 0
        if !found {
            print(
                "skipped: no identity providers on this machine, so nothing is tried with them (deploy/lib/identity-provider.sh --install)"
            )
        }
        return found
    }()

    /// - Parameter words: what the kind takes besides, such as the address of the service that signs in there.
    package static func start(_ kind: Kind, _ words: [String] = []) async throws -> TestIdentityProvider {
        try await onOwnThread {
            var template = Array("/tmp/hds-provider-XXXXXX".utf8CString)
            guard mkdtemp(&template) != nil else { throw TestPKI.Failure(what: "mkdtemp") }
            let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let pipe = try PrivatePipe()
            let child = try BashScript.start(
                "identity-provider.sh", [folder, kind.rawValue] + words, input: pipe.reading)
            close(pipe.reading)
            let told = line(from: pipe.writing)
            guard told.hasPrefix("ready "), let port = Int(told.dropFirst(6)) else {
                close(pipe.writing)
                _ = BashScript.status(of: child)
                throw TestPKI.Failure(what: "\(kind.rawValue): \(told)")
            }
            return TestIdentityProvider(port: port, pipe: pipe, child: child)
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

    private static func line(from descriptor: Int32) -> String {
        var bytes: [UInt8] = []
        var octet: UInt8 = 0
        while read(descriptor, &octet, 1) == 1, octet != UInt8(ascii: "\n") { bytes.append(octet) }
        return String(decoding: bytes, as: UTF8.self)
    }
}

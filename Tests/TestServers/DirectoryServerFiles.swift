import Cryptography
import Glibc
import SecretMemory
import TLSChannel

/// PEM files for a `TestDirectoryServer`, from the throw-away PKI: its certificate, which is for `localhost` and 127.0.0.1, and authorities.
package struct DirectoryServerFiles: Sendable {
    private let folder = TemporaryFolder()
    package var certificate: String { folder.path + "/server.pem" }
    package var key: String { folder.path + "/server.key" }
    /// The authority of the certificate.
    package var root: String { folder.path + "/root.pem" }
    /// One that has nothing to do with it.
    package var other: String { folder.path + "/other.pem" }

    package init() throws {
        let pki = try TestPKI.shared.get()
        let secret = try pki.auth.privateKey.pem().withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
        for (text, path) in [
            (pki.auth.certificateChain.map(\.pem).joined(), certificate), (secret, key), (pki.customerRoot.pem, root),
            (pki.coreRoot.pem, other),
        ] {
            guard let file = fopen(path, "wx") else { throw TestPKI.Failure(what: "fopen \(path)") }
            fputs(text, file)
            fclose(file)
        }
    }
}

import Cryptography
import Diagnostics
import HTTPClient
import TLSChannel

/// The certificates that this machine trusts, as Debian and its relatives keep them.
enum SystemRoots {
    private static let files = [
        "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem",
    ]

    static func load() throws(DiagnosedError) -> [Certificate] {
        for file in files {
            guard let bytes = try? PlainFile(reading: file).all(maximumBytes: 4 << 20) else { continue }
            // Certificates of other kinds than this program knows may stand in it.
            let blocks = PEMBlocks.split(String(decoding: bytes, as: UTF8.self))
            let roots = blocks.compactMap { try? Certificate.all(inPEM: $0).first }
            if !roots.isEmpty { return roots }
        }
        throw DiagnosedError(
            .profileInvalid, fault: .configuration, "this machine has no list of trusted certificates",
            expected: files[0], hint: "install ca-certificates, or name the server's CA")
    }
}

/// Cuts a bundle into its PEM blocks.
enum PEMBlocks {
    static func split(_ text: String) -> [String] {
        let end = "-----END CERTIFICATE-----"
        var blocks: [String] = []
        var rest = text[...]
        while let start = rest.firstRange(of: "-----BEGIN CERTIFICATE-----"),
            let stop = rest[start.upperBound...].firstRange(of: end)
        {
            blocks.append(String(rest[start.lowerBound..<stop.upperBound]) + "\n")
            rest = rest[stop.upperBound...]
        }
        return blocks
    }
}

extension ServerTrust {
    /// A client for a server of this trust; nil trust where only `http` on this machine is spoken.
    func webClient(for url: String) throws(DiagnosedError) -> WebClient {
        guard WebAddress(url)?.scheme != .http else { return WebClient(trust: nil) }
        return WebClient(trust: TLSTrust(roots: roots.isEmpty ? try SystemRoots.load() : roots, pins: pins))
    }
}

import Glibc

/// A real SMTP or LMTP server (aiosmtpd), made by deploy/lib/mail-server.sh; what it took stands in its folder as `mail-1.eml`, ….
package final class TestMailServer: Sendable {
    package let port: Int
    private let pipe: PrivatePipe
    private let child: pid_t

    /// Whether it is on this machine; says so once when it is not.
    package static let isInstalled: Bool = {
        let found = (try? BashScript.start("mail-server.sh", ["--find"], input: nil)).map(BashScript.status) == 0
        if !found {
            print(
                "skipped: no mail server on this machine, so nothing is tried with it (deploy/lib/mail-server.sh --install)"
            )
        }
        return found
    }()

    /// - Parameter identity: PEM files of a chain and its key; nil: no TLS.
    package init(_ dialect: String, folder: String, identity: (chain: String, key: String)? = nil) throws {
        let pipe = try PrivatePipe()
        let words = [folder, dialect] + (identity.map { [$0.chain, $0.key] } ?? [])
        child = try BashScript.start("mail-server.sh", words, input: pipe.reading)
        self.pipe = pipe
        close(pipe.reading)
        var told: [UInt8] = []
        var octet: UInt8 = 0
        while read(pipe.writing, &octet, 1) == 1, octet != UInt8(ascii: "\n") { told.append(octet) }
        let line = String(decoding: told, as: UTF8.self).split(separator: " ")
        port = line.count == 2 && line[0] == "ready" ? Int(line[1]) ?? 0 : 0
        guard port > 0 else { throw TestPKI.Failure(what: "a mail server") }
    }

    deinit {
        close(pipe.writing)
        _ = BashScript.status(of: child)
    }
}

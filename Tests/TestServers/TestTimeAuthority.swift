import Glibc

/// A time-stamping authority of a test: certificates made for it, answers made by `openssl ts -reply`.
package final class TestTimeAuthority: Sendable {
    /// What is wrong with the certificate that signs.
    package enum Signer: String, CaseIterable, Sendable {
        case good
        /// extKeyUsage stands there without being critical.
        case notCritical = "not-critical"
        case withoutUsage = "without-usage"
        /// May sign programs as well.
        case twoUsages = "two-usages"
        case expired
        /// Under a root that nobody was told of.
        case otherRoot = "other-root"
    }

    package static let policy = "1.2.3.4.1"
    package let folder = TemporaryFolder()

    package init() throws {
        let usages: [(Signer, String, days: Int, root: String)] = [
            (.good, "extendedKeyUsage=critical,timeStamping", 30, "root"),
            (.notCritical, "extendedKeyUsage=timeStamping", 30, "root"),
            (.withoutUsage, "", 30, "root"),
            (.twoUsages, "extendedKeyUsage=critical,timeStamping,codeSigning", 30, "root"),
            (.expired, "extendedKeyUsage=critical,timeStamping", -1, "root"),
            (.otherRoot, "extendedKeyUsage=critical,timeStamping", 30, "other"),
        ]
        for root in ["root", "other"] {
            try openssl(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout \(root).key -out \(root).pem "
                    + "-days 30 -subj /CN=Test-\(root) -addext basicConstraints=critical,CA:TRUE")
        }
        for (signer, usage, days, root) in usages {
            let name = signer.rawValue
            try write("keyUsage=critical,digitalSignature\n\(usage)\n", to: "\(name).ext")
            try openssl(
                "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout \(name).key -out \(name).csr "
                    + "-subj /CN=Time-\(name)")
            try openssl(
                "x509 -req -in \(name).csr -CA \(root).pem -CAkey \(root).key -CAcreateserial -days \(days) "
                    + "-extfile \(name).ext -out \(name).pem")
            try write(configuration(name, digest: "sha256"), to: "\(name).cnf")
        }
        try write(configuration("good", digest: "sha1"), to: "weak.cnf")
    }

    private func configuration(_ name: String, digest: String) -> String {
        """
        [tsa]
        default_tsa = here
        [here]
        serial = \(folder.path)/\(name).serial
        signer_cert = \(folder.path)/\(name).pem
        signer_key = \(folder.path)/\(name).key
        signer_digest = \(digest)
        default_policy = \(Self.policy)
        other_policies = 1.2.3.4.2
        digests = sha256
        accuracy = secs:1
        ess_cert_id_alg = sha256

        """
    }

    /// PEM of the root that tests believe.
    package var root: String { get throws { try folder.contents(of: "root.pem") } }

    /// The whole answer (DER) to a request (DER); `configuration` names another one of OpenSSL.
    package func reply(
        to query: [UInt8], by signer: Signer = .good, configuration: String? = nil
    ) throws -> [UInt8] {
        try write(query, to: "query")
        switch signer {
        case .good, .expired, .otherRoot:
            try openssl("ts -reply -config \(configuration ?? signer.rawValue).cnf -queryfile query -out reply")
            return try read("reply")
        case .notCritical, .withoutUsage, .twoUsages: return try reissue(try reply(to: query), by: signer)
        }
    }

    /// The same statement of time, signed by another: OpenSSL's own authority refuses to sign with such certificates.
    package func reissue(_ reply: [UInt8], by signer: Signer) throws -> [UInt8] {
        let name = signer.rawValue
        try write(reply, to: "reply")
        try openssl("ts -reply -in reply -token_out -out token")
        try openssl("cms -verify -noverify -inform DER -in token -out info")
        try openssl(
            "cms -sign -binary -nodetach -in info -econtent_type 1.2.840.113549.1.9.16.1.4 -signer \(name).pem "
                + "-inkey \(name).key -md sha256 -cades -outform DER -out token")
        return Self.response(status: 0, token: try read("token"))
    }

    /// TimeStampResp with that PKIStatus.
    package static func response(status: UInt8, token: [UInt8]) -> [UInt8] {
        let content = [0x30, 0x03, 0x02, 0x01, status] + token
        return [0x30, 0x82, UInt8(content.count >> 8), UInt8(content.count & 0xFF)] + content
    }

    /// The token inside an answer.
    package func token(of reply: [UInt8]) throws -> [UInt8] {
        try write(reply, to: "reply")
        try openssl("ts -reply -in reply -token_out -out token")
        return try read("token")
    }

    /// What `openssl ts -verify` says about a token, as an auditor would ask it.
    package func verifies(token: [UInt8], over text: String) -> Bool {
        (try? write(token, to: "token")) != nil && (try? write(text, to: "data")) != nil
            && (try? openssl("ts -verify -data data -in token -token_in -CAfile root.pem")) != nil
    }

    package func openssl(_ words: String) throws {
        let all = ["/bin/sh", "-c", "cd \(folder.path) && exec openssl \(words) >>log 2>&1 </dev/null"]
        var arguments: [UnsafeMutablePointer<CChar>?] = all.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var child: pid_t = 0
        var status: Int32 = 0
        guard posix_spawn(&child, all[0], nil, nil, &arguments, environ) == 0, waitpid(child, &status, 0) == child,
            status == 0
        else { throw TestPKI.Failure(what: "openssl \(words): \((try? folder.contents(of: "log")) ?? "")") }
    }

    package func read(_ name: String) throws -> [UInt8] {
        let descriptor = open("\(folder.path)/\(name)", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw TestPKI.Failure(what: "open \(name)") }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let count = Glibc.read(descriptor, &bytes, bytes.count)
        return Array(bytes[..<max(0, count)])
    }

    private func write(_ text: String, to name: String) throws { try write(Array(text.utf8), to: name) }

    private func write(_ bytes: [UInt8], to name: String) throws {
        let descriptor = open("\(folder.path)/\(name)", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw TestPKI.Failure(what: "make \(name)") }
        defer { close(descriptor) }
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count else { throw TestPKI.Failure(what: name) }
    }
}

import Cryptography
import Diagnostics
import Foundation
import KMSProtocol
import Testing
import WireText

/// The rules of section 3 of the protocol, each with a certificate that breaks just it.
@Suite("Certificates of the static key")
struct KMSCertificateRulesTests {
    private let host = "kms.example.com"

    private func refusal(
        commonName: String, names: String, bits: Int = 2048, extra: [String] = [], at offset: Int64 = 60,
        host: String? = nil
    ) throws -> DiagnosedError? {
        let made = try OpenSSLCertificate.make(commonName: commonName, names: names, bits: bits, extra: extra)
        do throws(DiagnosedError) {
            try KMSCertificateRules.check(
                chain: made.chain, publicKey: made.key.publicKey, host: host ?? self.host,
                now: Timestamp.now().adding(seconds: offset))
            return nil
        } catch {
            return error
        }
    }

    @Test("what clients take is taken")
    func good() throws {
        #expect(try refusal(commonName: host, names: "DNS:\(host)") == nil)
        #expect(try refusal(commonName: host, names: "DNS:\(host),IP:127.0.0.1") == nil)
        #expect(try refusal(commonName: host, names: "DNS:\(host)", bits: 4096) == nil)
    }

    @Test("what a client would refuse is refused, and the message says what was expected")
    func bad() throws {
        let cases: [(String, DiagnosedError?)] = [
            ("other CN", try refusal(commonName: "other.example.com", names: "DNS:\(host)")),
            ("upper case CN", try refusal(commonName: "KMS.example.com", names: "DNS:\(host)")),
            ("only a URI", try refusal(commonName: host, names: "URI:kms://\(host)")),
            ("IP first", try refusal(commonName: host, names: "IP:127.0.0.1,DNS:\(host)")),
            ("another name first", try refusal(commonName: host, names: "DNS:a.example.com,DNS:\(host)")),
            ("wildcard", try refusal(commonName: host, names: "DNS:\(host),DNS:*.example.com")),
            ("expired", try refusal(commonName: host, names: "DNS:\(host)", at: 40 * 86_400)),
            ("not yet valid", try refusal(commonName: host, names: "DNS:\(host)", at: -86_400)),
            ("host in upper case", try refusal(commonName: host, names: "DNS:\(host)", host: "KMS.example.com")),
            ("host without dot", try refusal(commonName: "kms", names: "DNS:kms", host: "kms")),
        ]
        for (name, error) in cases {
            #expect(error?.code == .kmsCertificate, "\(name)")
            #expect(error?.fault == .configuration, "\(name)")
            #expect(error?.expected != nil, "\(name)")
        }
    }

    @Test("a certificate for another key and an empty chain are refused")
    func keys() throws {
        let first = try OpenSSLCertificate.make(commonName: host, names: "DNS:\(host)")
        let second = try OpenSSLCertificate.make(commonName: host, names: "DNS:\(host)")
        let now = Timestamp.now().adding(seconds: 1)
        #expect(throws: DiagnosedError.self) {
            try KMSCertificateRules.check(chain: first.chain, publicKey: second.key.publicKey, host: host, now: now)
        }
        #expect(throws: DiagnosedError.self) {
            try KMSCertificateRules.check(chain: [], publicKey: first.key.publicKey, host: host, now: now)
        }
        #expect(throws: DiagnosedError.self, "two certificates that do not belong together") {
            try KMSCertificateRules.check(
                chain: first.chain + second.chain, publicKey: first.key.publicKey, host: host, now: now)
        }
    }
}

/// A self-signed certificate made by the openssl command.
enum OpenSSLCertificate {
    static func make(
        commonName: String, names: String, bits: Int = 2048, extra: [String] = []
    ) throws -> (key: PrivateKey, chain: [Certificate]) {
        let folder = FileManager.default.temporaryDirectory.appending(path: "hds-\(UUIDText.random())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/openssl")
        process.arguments =
            [
                "req", "-x509", "-newkey", "rsa:\(bits)", "-nodes", "-keyout", folder.appending(path: "key.pem").path,
                "-out", folder.appending(path: "leaf.pem").path, "-days", "30", "-subj", "/CN=\(commonName)", "-addext",
                "subjectAltName=\(names)", "-addext", "basicConstraints=critical,CA:FALSE",
            ] + extra
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
        let key = try PrivateKey(pem: String(contentsOf: folder.appending(path: "key.pem"), encoding: .utf8))
        return (
            key,
            try Certificate.all(inPEM: String(contentsOf: folder.appending(path: "leaf.pem"), encoding: .utf8))
        )
    }
}

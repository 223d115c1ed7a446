import Diagnostics
import Foundation
import SecretMemory
import Testing

@testable import Cryptography

@Suite("Requests for certificates, and keys that come with them")
struct CertificateRequestTests {
    private let folder = NSTemporaryDirectory() + "hds-request-\(UUID().uuidString)"

    init() throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    /// openssl's own tool, as whoever issues certificates would use it; what it printed, nil when it failed.
    private func openssl(_ arguments: String...) throws -> String? {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        process.arguments = arguments
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return process.terminationStatus == 0 ? text : nil
    }

    private func write(_ text: String, _ name: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: folder + "/" + name))
    }

    @Test("openssl verifies a request, and finds host and uses in it as clients demand them")
    func request() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let key = try PrivateKey.generateRSA()
        try write(
            try CertificateRequest.pem(host: "kms.example.com", organisation: "Bank, Ltd", key: key), "request.pem")
        let text = try #require(try openssl("req", "-in", "request.pem", "-verify", "-noout", "-text"))
        #expect(text.contains("verify OK"))
        #expect(text.contains("CN = kms.example.com") && text.contains("Bank, Ltd"))
        #expect(text.contains("DNS:kms.example.com") && text.contains("Digital Signature, Key Encipherment"))
        for host in ["", "a,DNS:other.example.com", String(repeating: "a", count: 65)] {
            #expect(throws: DiagnosedError.self) { try CertificateRequest.pem(host: host, key: key) }
        }
    }

    @Test("a PKCS#12 file gives key and chain in order, leaves the root out, and opens with its passphrase alone")
    func container() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        for (name, issuer) in [("root", ""), ("issuing", "root"), ("leaf", "issuing")] {
            let signer = issuer.isEmpty ? [] : ["-CA", "\(issuer).pem", "-CAkey", "\(issuer).key"]
            let ca = name == "leaf" ? "CA:FALSE" : "CA:TRUE"
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
            process.currentDirectoryURL = URL(fileURLWithPath: folder)
            process.standardError = FileHandle.nullDevice
            process.arguments =
                ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=\(name)"]
                + ["-addext", "basicConstraints=critical,\(ca)", "-keyout", "\(name).key", "-out", "\(name).pem"]
                + signer
            try process.run()
            process.waitUntilExit()
            #expect(process.terminationStatus == 0)
        }
        let parts = try ["root.pem", "issuing.pem"].map {
            try String(contentsOfFile: folder + "/" + $0, encoding: .utf8)
        }
        try write(parts.joined(), "others.pem")
        _ = try #require(
            try openssl(
                "pkcs12", "-export", "-inkey", "leaf.key", "-in", "leaf.pem", "-certfile", "others.pem", "-out",
                "all.p12",
                "-passout", "pass:open sesame"))
        let octets = [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder + "/all.p12")))
        let right = SecretBytes(copying: Array("open sesame".utf8))
        let found = try KeyContainer(pkcs12: octets, passphrase: right)
        #expect(found.chain.map(\.commonName) == ["leaf", "issuing"])
        #expect(found.chain[0].publicKey == found.privateKey.publicKey)
        let wrong = #expect(throws: DiagnosedError.self) {
            try KeyContainer(pkcs12: octets, passphrase: SecretBytes(copying: Array("open".utf8)))
        }
        #expect(wrong?.code == .keyPassphraseWrong)
        for bytes in [[], Array("no container".utf8), Array(octets.dropLast(30))] {
            #expect(throws: DiagnosedError.self) { try KeyContainer(pkcs12: bytes, passphrase: right) }
        }
    }
}

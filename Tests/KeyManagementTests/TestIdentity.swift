import Cryptography
import Foundation
import JOSESignature
import Synchronization
import TestVectors
import Testing
import WireText

/// A static key with its chain: the recorded one, or one made by the openssl command for this run.
struct TestIdentity: Sendable {
    let privateKey: PrivateKey
    let chain: [Certificate]
    /// A moment at which the chain is valid.
    let validAt: Timestamp

    static func recorded(_ transcript: JSONNode) throws -> TestIdentity {
        let jwk = try #require(transcript["staticPrivateJwk"])
        func member(_ name: String) throws -> [UInt8] {
            try #require(jwk[name]?.string.flatMap { Base64URL.decode($0) })
        }
        let key = try PrivateKey(
            rsaModulus: member("n"), publicExponent: member("e"), privateExponent: member("d"), p: member("p"),
            q: member("q"), dp: member("dp"), dq: member("dq"), qi: member("qi"))
        let pki = try #require(transcript["pki"])
        let chain = try Certificate.all(
            inPEM: try #require(pki["leaf"]?.string) + (try #require(pki["intermediate"]?.string)))
        return TestIdentity(
            privateKey: key, chain: chain, validAt: chain[0].notBefore.adding(seconds: 3600))
    }

    private static let made = Mutex<TestIdentity?>(nil)

    /// Made once for a run of the tests.
    static func shared() throws -> TestIdentity {
        try made.withLock { made in
            if let made { return made }
            let fresh = try make(commonName: TestKMS.host, names: "DNS:\(TestKMS.host)")
            made = fresh
            return fresh
        }
    }

    /// A self-signed certificate for a fresh RSA key.
    static func make(commonName: String, names: String, bits: Int = 2048, extra: [String] = []) throws -> TestIdentity {
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
        let chain = try Certificate.all(
            inPEM: String(contentsOf: folder.appending(path: "leaf.pem"), encoding: .utf8))
        return TestIdentity(privateKey: key, chain: chain, validAt: Timestamp.now())
    }
}

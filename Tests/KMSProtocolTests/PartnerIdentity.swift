import Cryptography
import Foundation
import JOSESignature
import KMSProtocol
import Synchronization
import Testing
import WireText

/// A KMS of an organisation with a PKI of its own, as deploy/lib/pki.sh makes it: root, issuing CA, static key.
struct PartnerIdentity: Sendable {
    let host: String
    let key: PrivateKey
    /// Leaf and issuing CA.
    let chain: [Certificate]
    let root: Certificate

    var kid: String { KMSNames(host: host).staticKey(serialNumber: chain[0].serialNumberDecimal) }

    private static let made = Mutex<[String: PartnerIdentity]>([:])

    /// Made once for each name in a run of the tests.
    static func of(_ host: String) throws -> PartnerIdentity {
        try made.withLock { made in
            if let known = made[host] { return known }
            let fresh = try PartnerIdentity(host)
            made[host] = fresh
            return fresh
        }
    }

    init(_ host: String) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "hds-\(UUIDText.random())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let repository = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let process = Process()
        process.executableURL = URL(filePath: "/bin/bash")
        process.arguments = [repository.appending(path: "deploy/lib/pki.sh").path, folder.path, host]
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
        func text(_ name: String) throws -> String {
            try String(contentsOf: folder.appending(path: "customer/\(name)"), encoding: .utf8)
        }
        self.host = host
        key = try PrivateKey(pem: text("kms.key"))
        chain = try Certificate.all(inPEM: text("kms.pem"))
        root = try Certificate.all(inPEM: text("root.pem"))[0]
    }

    func staticKey(_ algorithm: SignatureAlgorithm = .ps256, now: Timestamp) throws -> KMSStaticKey {
        try KMSStaticKey(privateKey: key, chain: chain, host: host, algorithm: algorithm, now: now)
    }

    func trust() throws -> FederationTrust { try FederationTrust(host: host, roots: [root], pins: []) }

    /// A signed text as this KMS, or somebody who has its key, could make it.
    func sign(
        _ json: String, algorithm: SignatureAlgorithm = .ps256, kid: String? = nil, chain: [Certificate]? = nil,
        key: PrivateKey? = nil
    ) throws -> [UInt8] {
        Array(
            try JWS.sign(
                Array(json.utf8), with: key ?? self.key, algorithm: algorithm, kid: kid ?? self.kid, typ: nil,
                x5c: (chain ?? self.chain).map(\.der)
            ).utf8)
    }
}

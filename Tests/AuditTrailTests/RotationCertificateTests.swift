import Diagnostics
import Testing
import WireText

@testable import AuditTrail

/// The certificate of a rotation: believed only as its key signed it, and only as what it is.
struct RotationCertificateTests {
    private static let certificate = RotationCertificate(
        host: "kms.example.com", node: "a", from: .init(number: 1, fingerprint: "0011223344556677"),
        to: .init(number: 2, fingerprint: "8899aabbccddeeff"), promoted: Timestamp(seconds: 1_700_000_000),
        retired: Timestamp(seconds: 1_700_000_100), issued: Timestamp(seconds: 1_700_000_101),
        counts: [.init(table: "keys", values: 12), .init(table: "ledger", values: 0)],
        merkleRoot: [UInt8](repeating: 7, count: 32))

    @Test("what was signed is read back, by who believes the key and by nobody else")
    func whole() throws {
        let (key, other) = (try AttestationKey.createP256(), try AttestationKey.createP256())
        let file = try Self.certificate.file(signedBy: key)
        let (read, by) = try RotationCertificate.verify(file: file, trust: .init(fingerprints: [key.fingerprint]))
        #expect(read == Self.certificate)
        #expect(by == key.fingerprint)
        #expect(throws: DiagnosedError.self) {
            try RotationCertificate.verify(file: file, trust: .init(fingerprints: [other.fingerprint]))
        }
        #expect(String(decoding: Self.certificate.json(), as: UTF8.self).contains("stay open to whoever has the old"))
    }

    @Test("a statement of another kind, or one with a character changed, is none")
    func others() throws {
        let key = try AttestationKey.createP256()
        let trust = AttestationTrust(fingerprints: [key.fingerprint])
        let head = "{\"certificate\":\"\(try key.sign(Self.certificate.json(), as: .erasure))\",\"key\":\(key.jwk)}"
        #expect(throws: DiagnosedError.self) { try RotationCertificate.verify(file: head, trust: trust) }
        let file = Array(try Self.certificate.file(signedBy: key).utf8)
        for position in stride(from: 20, to: 400, by: 7) {
            var changed = file
            changed[position] = changed[position] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            #expect(throws: (any Error).self, "octet \(position)") {
                try RotationCertificate.verify(file: String(decoding: changed, as: UTF8.self), trust: trust)
            }
        }
    }

    @Test("leaves of different tables, ids and values are different, wherever one ends and the next begins")
    func leaves() {
        let leaves: Set<[UInt8]> = [
            RotationCertificate.leaf(table: "keys", id: "a", value: [1]),
            RotationCertificate.leaf(table: "key", id: "sa", value: [1]),
            RotationCertificate.leaf(table: "keys", id: "a", value: [2]),
            RotationCertificate.leaf(table: "keys", id: "b", value: [1]),
        ]
        #expect(leaves.count == 4)
    }
}

import AuditTrail
import Diagnostics
import KMSProtocol
import KeyManagement
import Testing
import WireText

/// What an erasure's certificate says, and that nobody else could have said it (security model, rules 23 and 25).
@Suite("Erasure certificates")
struct ErasureCertificateTests {
    private func certified() async throws -> (OversightWorld, file: String) {
        let world = try await OversightWorld.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        _ = try await alice.createSpace(try await alice.createKeys(1))
        return (world, try await world.erase(.user(People.alice)))
    }

    @Test(
        "it names counts, objects and officers, until when backups hold it, and what is out of reach; nobody in clear")
    func contents() async throws {
        let (world, file) = try await certified()
        let certificate = try world.verified(file)
        #expect(certificate.subject == (try world.audit.pseudonym(user: People.alice)))
        #expect(certificate.officers == ["ada", "bob"] && certificate.node == "kms-1")
        #expect(certificate.host == TestKMS.host)
        #expect(certificate.objects.count == 1 && certificate.objects.allSatisfy { $0.hasPrefix("o:") })
        #expect(certificate.digest != String(repeating: "0", count: 64))
        #expect(certificate.backupsUntil == world.now.adding(seconds: 86_400))
        for word in ["clients keep", "partner's KMS", "exports", "backups"] {
            #expect(certificate.outOfReach.contains { $0.contains(word) }, "\(word)")
        }
        #expect(!certificate.stays.isEmpty)
        let payload = String(decoding: certificate.json(), as: UTF8.self)
        #expect(payload.contains(certificate.subject), "the search would find what is there")
        #expect(!payload.contains(People.alice))
    }

    @Test("one octet changed, another key, another kind of statement: each is refused")
    func forged() async throws {
        let (world, file) = try await certified()
        let trust = AttestationTrust(fingerprints: [world.attestation.fingerprint])
        let jws = try #require(try JSONDocument(text: file).root["certificate"]?.string)
        let parts = jws.split(separator: ".").map(String.init)
        func wrapped(_ jws: String, _ key: AttestationKey? = nil) -> String {
            #"{"certificate":"\#(jws)","key":\#((key ?? world.attestation).jwk)}"#
        }
        #expect(throws: Never.self) { try ErasureCertificate.verify(file: wrapped(jws), trust: trust) }
        let certificate = try world.verified(file)
        var payload = certificate.json()
        let place = try #require(payload.firstIndex(of: UInt8(ascii: "1")))
        payload[place] = UInt8(ascii: "2")
        let changed = "\(parts[0]).\(Base64URL.encode(payload)).\(parts[2])"
        #expect(throws: (any Error).self) { try ErasureCertificate.verify(file: wrapped(changed), trust: trust) }
        let other = try AttestationKey.createP256()
        #expect(throws: DiagnosedError("attestation-key-unknown", fault: .client, "")) {
            try ErasureCertificate.verify(file: try certificate.file(signedBy: other), trust: trust)
        }
        for type in StatementType.allCases where type != .erasure {
            let wrong = try world.attestation.sign(certificate.json(), as: type)
            #expect(throws: DiagnosedError("attestation-type-wrong", fault: .client, "")) {
                try ErasureCertificate.verify(file: wrapped(wrong), trust: trust)
            }
        }
        for text in ["", "{}", jws, #"{"certificate":"x"}"#, #"{"certificate":"x","key":{},"more":1}"#] {
            #expect(throws: (any Error).self) { try ErasureCertificate.verify(file: text, trust: trust) }
        }
    }
}

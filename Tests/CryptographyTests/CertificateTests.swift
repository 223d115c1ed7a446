import Cryptography
import Diagnostics
import Testing
import WireText

@Suite("Certificates")
struct CertificateTests {
    let now = Timestamp(iso8601: "2027-01-01T00:00:00Z") ?? Timestamp(milliseconds: 0)

    private func certificate(_ pem: String) throws -> Certificate {
        try #require(try Certificate.all(inPEM: pem).first)
    }

    private func validate(
        _ leaf: String, through: [String] = [Fixture.issuing], to roots: [String] = [Fixture.root],
        at time: Timestamp? = nil, for purpose: CertificatePath.Purpose = .tlsServer
    ) throws -> [Certificate] {
        try CertificatePath.validate(
            leaf: certificate(leaf), intermediates: through.map(certificate), roots: roots.map(certificate),
            at: time ?? now, purpose: purpose)
    }

    private func refusal(_ body: () throws -> [Certificate]) -> DiagnosedError.Code? {
        do { _ = try body() } catch { return (error as? DiagnosedError)?.code }
        return nil
    }

    @Test("the parts of a certificate")
    func parts() throws {
        let leaf = try certificate(Fixture.leaf)
        #expect(leaf.commonName == "kms.example.com")
        #expect(
            leaf.subjectAlternativeNames == [
                .dns("kms.example.com"), .dns("*.alt.example.com"), .uri("kms://kms.example.com"),
                .ip([192, 0, 2, 7]), .email("ops@example.com"), .other(tag: 0),
            ])
        #expect(leaf.dnsNames == ["kms.example.com", "*.alt.example.com"])
        #expect(leaf.serialNumberDecimal == "1014877614021")
        #expect(leaf.notBefore.iso8601.hasPrefix("2026-11-23T14:") && leaf.notAfter.iso8601.hasPrefix("2126-10-30T14:"))
        #expect(!leaf.isCA && leaf.pathLengthConstraint == nil && !leaf.isSelfIssued && !leaf.signatureUsesSHA1)
        #expect(leaf.subjectText == "CN=kms.example.com,O=Example")
        #expect(leaf.issuerText == "CN=Example Issuing CA,O=Example")
        #expect(leaf.publicKey.kind == .p256 && leaf.spkiSHA256 == leaf.publicKey.spkiSHA256)
        #expect(leaf.fingerprintSHA256 == SHA256.hash(leaf.der))
        let issuing = try certificate(Fixture.issuing)
        #expect(issuing.isCA && issuing.pathLengthConstraint == 0 && !issuing.isSelfIssued)
        let root = try certificate(Fixture.root)
        #expect(root.isCA && root.pathLengthConstraint == nil && root.isSelfIssued)
        #expect(try certificate(Fixture.sha1).signatureUsesSHA1)
    }

    @Test("two common names are none")
    func twoNames() throws {
        #expect(try certificate(Fixture.twoNames).commonName == nil)
    }

    @Test("a key that the project does not use is carried and does nothing")
    func unsupportedKeys() throws {
        for pem in [Fixture.p384Root, Fixture.weak] {
            let key = try certificate(pem).publicKey
            #expect(key.kind == .unsupported && key.rsaModulus == nil && key.p256Coordinates == nil)
            #expect(key.spkiSHA256 == (try certificate(pem).spkiSHA256))
            for algorithm in SignatureAlgorithm.allCases {
                #expect(!key.isValidSignature([UInt8](repeating: 1, count: 64), for: [1], algorithm: algorithm))
            }
        }
        #expect(try certificate(Fixture.p384Root).publicKey != certificate(Fixture.weak).publicKey)
    }

    @Test("PEM with several certificates keeps their order, and writes back the same")
    func pem() throws {
        let both = try Certificate.all(inPEM: "# chain\n" + Fixture.leaf + "\n" + Fixture.issuing + "\n")
        #expect(both.map(\.commonName) == ["kms.example.com", "Example Issuing CA"])
        #expect(try Certificate.all(inPEM: both[0].pem) == [both[0]])
        #expect(throws: DiagnosedError.self) { try Certificate.all(inPEM: "no certificate") }
        #expect(throws: DiagnosedError.self) { try Certificate.all(inPEM: String(Fixture.leaf.dropLast(10))) }
    }

    @Test("DER is read strictly: no rest, no end missing, no other length form")
    func strictDER() throws {
        let der = try certificate(Fixture.leaf).der
        let indefinite: [UInt8] = [0x30, 0x80] + der.dropFirst(4) + [0, 0]
        let long: [UInt8] = [0x30, 0x83, 0] + der[2..<4] + der.dropFirst(4)
        for wrong in [
            [], der + [0], Array(der.dropLast()), indefinite, long, [0x30, 0], [UInt8](repeating: 0x30, count: 70_000),
        ] {
            let error = #expect(throws: DiagnosedError.self) { try Certificate(der: wrong) }
            #expect(error?.code == .certificateMalformed)
        }
    }

    @Test("no change of any single octet crashes or gives an equal certificate")
    func mutations() throws {
        let certificate = try certificate(Fixture.leaf)
        for position in certificate.der.indices {
            for bit in [UInt8(0x01), 0x80, 0x20] {
                var der = certificate.der
                der[position] ^= bit
                if let changed = try? Certificate(der: der) { #expect(changed != certificate) }
            }
        }
    }

    @Test("a path is found from leaf to root, whatever else was sent")
    func path() throws {
        let names = ["kms.example.com", "Example Issuing CA", "Example Root"]
        #expect(try validate(Fixture.leaf).map(\.commonName) == names)
        let crowd = [Fixture.sha1, Fixture.stranger, Fixture.root, Fixture.issuing, Fixture.leaf]
        #expect(try validate(Fixture.leaf, through: crowd).map(\.commonName) == names)
        #expect(try validate(Fixture.leaf, to: [Fixture.stranger, Fixture.root]).last == certificate(Fixture.root))
        #expect(try validate(Fixture.under384, through: [], to: [Fixture.p384Root]).count == 2)
    }

    @Test("no path: missing intermediate, a stranger of the same name, no roots, an intermediate as root")
    func untrusted() throws {
        #expect(refusal { try validate(Fixture.leaf, through: []) } == .certificateUntrusted)
        #expect(refusal { try validate(Fixture.leaf, to: [Fixture.stranger]) } == .certificateUntrusted)
        #expect(refusal { try validate(Fixture.leaf, to: []) } == .certificateUntrusted)
        #expect(refusal { try validate(Fixture.leaf, through: [], to: [Fixture.issuing]) } == .certificateUntrusted)
        #expect(refusal { try validate(Fixture.sha1) } == .certificateUntrusted)
        #expect(refusal { try validate(Fixture.weak, through: []) } == .certificateUntrusted)
        let many = [String](repeating: Fixture.issuing, count: 17)
        #expect(refusal { try validate(Fixture.leaf, through: many) } == .certificateUntrusted)
    }

    @Test("time and purpose are judged")
    func timeAndPurpose() throws {
        let late = try #require(Timestamp(iso8601: "2130-01-01T00:00:00Z"))
        let early = try #require(Timestamp(iso8601: "2020-01-01T00:00:00Z"))
        #expect(refusal { try validate(Fixture.leaf, at: late) } == .certificateExpired)
        #expect(refusal { try validate(Fixture.leaf, at: early) } == .certificateNotYetValid)
        #expect(refusal { try validate(Fixture.clientOnly) } == .certificatePurpose)
        #expect(refusal { try validate(Fixture.clientOnly, for: .kms) } == nil)
    }

    @Test("authorities keep to their constraints", arguments: [CertificatePath.Purpose.tlsServer, .kms])
    func authorities(purpose: CertificatePath.Purpose) throws {
        let chain = [Fixture.below, Fixture.issuing]
        #expect(refusal { try validate(Fixture.tooDeep, through: chain, for: purpose) } == .certificatePurpose)
        let usurped = [Fixture.leaf, Fixture.issuing]
        #expect(refusal { try validate(Fixture.notCA, through: usurped, for: purpose) } == .certificatePurpose)
    }

    @Test("an error names what was wrong and where, without a crash on odd subjects")
    func errorText() throws {
        let error = #expect(throws: DiagnosedError.self) { try validate(Fixture.leaf, through: []) }
        #expect(error.flatMap(\.found)?.contains("kms.example.com") == true)
    }

    @Test(
        "host names: alternative names only, a wildcard for one label only",
        arguments: [
            ("kms.example.com", true), ("KMS.example.com", true), ("x.alt.example.com", true), ("192.0.2.7", true),
            ("example.com", false), ("alt.example.com", false), ("a.b.alt.example.com", false), ("192.0.2.8", false),
            ("", false), ("kms.example.com\0.evil", false), ("*.alt.example.com", false),
        ])
    func hosts(host: String, isValid: Bool) throws {
        #expect(try certificate(Fixture.leaf).isValid(forHost: host) == isValid)
    }

    @Test("a common name alone is no host name")
    func commonNameIsNoHost() throws {
        #expect(try !certificate(Fixture.twoNames).isValid(forHost: "one.example.com"))
    }
}

import Cryptography
import Diagnostics
import JOSESignature
import KMSProtocol
import Testing
import WireText

/// Section 10 of the protocol and rule 16 of the security model: by what a KMS believes another one.
@Suite("Trust between KMSs")
struct FederationTrustTests {
    private let partner: PartnerIdentity
    private let stranger: PartnerIdentity
    private let now = Timestamp.now().adding(seconds: 60)

    init() throws {
        partner = try .of("kms.b.example.org")
        stranger = try .of("kms.c.example.net")
    }

    private func isTaken(_ text: [UInt8], by trust: FederationTrust? = nil, at time: Timestamp? = nil) throws -> Bool {
        let trust = try trust ?? partner.trust()
        do throws(DiagnosedError) {
            return try trust.verify(text, at: time ?? now)["a"]?.integer == 1
        } catch {
            #expect(error.code == .federationUntrusted && error.fault == .peer)
            return false
        }
    }

    private func trust(roots: [Certificate] = [], pins: [Certificate]) throws -> FederationTrust {
        try FederationTrust(host: partner.host, roots: roots, pins: Set(pins.map(\.spkiSHA256)))
    }

    @Test(
        "a chain to the partner's root is taken, with both algorithms of the protocol, with or without the root in it")
    func chained() throws {
        for algorithm in [SignatureAlgorithm.ps256, .rs256] {
            #expect(try isTaken(partner.sign(#"{"a":1}"#, algorithm: algorithm)))
        }
        #expect(try isTaken(partner.sign(#"{"a":1}"#, chain: partner.chain + [partner.root])))
        #expect(try !isTaken(partner.sign(#"{"a":1}"#, algorithm: .ps384)))
        #expect(try !isTaken(partner.sign(#"{"a":1}"#, chain: [partner.chain[0]])), "no path without the issuing CA")
    }

    @Test("a pinned key is taken without any root; with roots too, the pin has to stand on the validated path")
    func pinned() throws {
        let text = try partner.sign(#"{"a":1}"#, chain: [partner.chain[0]])
        #expect(try isTaken(text, by: trust(pins: [partner.chain[0]])))
        #expect(try !isTaken(text, by: trust(pins: [partner.chain[1]])), "alone, only the leaf's own key counts")
        #expect(try !isTaken(text, by: trust(pins: [stranger.chain[0]])))
        let chained = try partner.sign(#"{"a":1}"#, chain: partner.chain + [stranger.chain[1]])
        for pin in [partner.chain[0], partner.chain[1], partner.root] {
            #expect(try isTaken(chained, by: trust(roots: [partner.root], pins: [pin])))
        }
        // It was sent beside the path, and proves nothing.
        #expect(try !isTaken(chained, by: trust(roots: [partner.root], pins: [stranger.chain[1]])))
        #expect(try !isTaken(chained, by: trust(roots: [stranger.root], pins: [partner.chain[0]])))
    }

    @Test("another partner's chain, however good, is nothing here")
    func otherPartner() throws {
        #expect(try !isTaken(stranger.sign(#"{"a":1}"#)))
        #expect(try !isTaken(stranger.sign(#"{"a":1}"#, kid: partner.kid)))
        #expect(try !isTaken(stranger.sign(#"{"a":1}"#, kid: partner.kid, chain: partner.chain)), "not its key")
        // A stranger's leaf before the partner's genuine issuing CA.
        #expect(try !isTaken(stranger.sign(#"{"a":1}"#, chain: [stranger.chain[0], partner.chain[1]])))
        let both = try FederationTrust(host: partner.host, roots: [partner.root, stranger.root], pins: [])
        #expect(try !isTaken(stranger.sign(#"{"a":1}"#), by: both), "its certificate is for another host")
        #expect(try isTaken(partner.sign(#"{"a":1}"#), by: both))
    }

    @Test("kid has to name the key of the first certificate at the partner's host")
    func kid() throws {
        for kid in [
            "kms://\(partner.host)/statickeys/1",
            "kms://kms.c.example.net/statickeys/\(partner.kid.split(separator: "/")[3])",
            "/statickeys/\(partner.chain[0].serialNumberDecimal)", "kms://\(partner.host)", partner.kid + "0", "",
            "https://\(partner.host)/statickeys/\(partner.chain[0].serialNumberDecimal)",
        ] {
            #expect(try !isTaken(partner.sign(#"{"a":1}"#, kid: kid)), "\(kid)")
        }
        #expect(try isTaken(partner.sign(#"{"a":1}"#, kid: partner.kid.replacing("kms.b", with: "KMS.b"))))
    }

    @Test("common name and subjectAltName both have to be the host")
    func names() throws {
        let host = partner.host
        for (name, names, good) in [
            (host, "DNS:\(host)", true), (host, "DNS:a.example.org,DNS:\(host)", true),
            ("kms.c.example.net", "DNS:\(host)", false), (host, "DNS:kms.c.example.net", false),
            (host, "URI:kms://\(host)", false), ("*.b.example.org", "DNS:\(host)", false),
            (host, "DNS:*.b.example.org", false), (host.uppercased(), "DNS:\(host)", false),
        ] {
            let made = try OpenSSLCertificate.make(commonName: name, names: names)
            let text = try partner.sign(
                #"{"a":1}"#, kid: KMSNames(host: host).staticKey(serialNumber: made.chain[0].serialNumberDecimal),
                chain: made.chain, key: made.key)
            #expect(try isTaken(text, by: trust(pins: made.chain)) == good, "CN=\(name), \(names)")
        }
    }

    @Test("a pinned certificate that has ended, is signed over SHA-1 or is a CA is refused")
    func unusable() throws {
        let host = partner.host
        func taken(_ made: (key: PrivateKey, chain: [Certificate]), at time: Timestamp? = nil) throws -> Bool {
            let text = try partner.sign(
                #"{"a":1}"#, kid: KMSNames(host: host).staticKey(serialNumber: made.chain[0].serialNumberDecimal),
                chain: made.chain, key: made.key)
            return try isTaken(text, by: trust(pins: made.chain), at: time)
        }
        let good = try OpenSSLCertificate.make(commonName: host, names: "DNS:\(host)")
        #expect(try taken(good))
        #expect(try !taken(good, at: now.adding(seconds: 31 * 86_400)))
        #expect(try !taken(good, at: now.adding(seconds: -86_400)))
        #expect(try !taken(OpenSSLCertificate.make(commonName: host, names: "DNS:\(host)", extra: ["-sha1"])))
        let authority = try partner.sign(
            #"{"a":1}"#,
            kid: KMSNames(host: host).staticKey(serialNumber: partner.chain[1].serialNumberDecimal),
            chain: [partner.chain[1]])
        #expect(try !isTaken(authority, by: trust(pins: [partner.chain[1]])), "a CA speaks for nobody")
        #expect(try !isTaken(partner.sign(#"{"a":1}"#), at: now.adding(seconds: 91 * 86_400)), "the chain has ended")
    }

    @Test("no octet of a message can be changed, and none can be left out")
    func tampered() throws {
        let text = try partner.sign(#"{"a":1}"#)
        var random = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            var changed = text
            let place = Int.random(in: changed.indices, using: &random)
            changed[place] = changed[place] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            #expect(try !isTaken(changed), "octet \(place)")
        }
        for count in [0, 1, 10, text.count / 2, text.count - 1] { #expect(try !isTaken(Array(text.prefix(count)))) }
        let parts = String(decoding: text, as: UTF8.self).split(separator: ".")
        #expect(try !isTaken(Array("\(parts[0]).\(parts[1]).".utf8)))
        #expect(try !isTaken([UInt8](repeating: UInt8(ascii: "a"), count: FederationTrust.maximumLength + 1)))
        #expect(try !isTaken(partner.sign("no JSON")))
        let none = Base64URL.encode(Array("{\"alg\":\"none\",\"kid\":\"\(partner.kid)\"}".utf8))
        #expect(try !isTaken(Array("\(none).\(parts[1]).".utf8)))
    }

    @Test("a partner without anchors, or with a host that is none, can not be configured")
    func configuration() {
        #expect(throws: DiagnosedError.self) { try FederationTrust(host: "kms.b.example.org", roots: [], pins: []) }
        #expect(throws: DiagnosedError.self) { try FederationTrust(host: "kms.b.example.org", roots: [], pins: [[1]]) }
        for host in ["KMS.b.example.org", "kms", "kms.b/x", "kms.b:1", ""] {
            #expect(throws: DiagnosedError.self) {
                try FederationTrust(host: host, roots: [], pins: [[UInt8](repeating: 0, count: 32)])
            }
        }
    }
}

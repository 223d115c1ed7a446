import Cryptography
import Diagnostics
import KMSClient
import Testing
import WireText

/// The details document: the table of measured client behaviour, as this client judges it.
@Suite("Trust in the static key")
struct StaticKeyTrustTests {
    let pki: TestPKI
    let trust: StaticKeyTrust
    let now: Timestamp

    init() throws {
        pki = try TestPKI.shared.get()
        // Not before: the certificates are made with the first test, and are not valid earlier.
        now = Timestamp.now()
        trust = try StaticKeyTrust(cluster: "kms://\(TestPKI.host)", roots: [pki.certificate("root")])
    }

    private func verdict(_ details: [UInt8]) -> DiagnosedError.Code? {
        code { _ = try trust.verify(details: details, at: now) }
    }

    @Test("A genuine document is accepted, with the intermediate, and with the root beside it in either order")
    func genuine() throws {
        for chain in [["kms", "issuing"], ["kms", "issuing", "root"], ["kms", "root", "issuing"]] {
            let key = try trust.verify(details: pki.details(chain: chain), at: now)
            #expect(key.host == TestPKI.host)
            #expect(key.kid.hasPrefix("kms://\(TestPKI.host)/statickeys/"))
            #expect(try key.path == [pki.certificate("kms"), pki.certificate("issuing"), pki.certificate("root")])
        }
    }

    @Test("The host of cluster and kid is compared without case")
    func caseOfHost() throws {
        let document = try pki.details(cluster: "kms://KMS.example.com", kid: "kms://Kms.Example.com/statickeys/1")
        #expect(verdict(document) == nil)
    }

    @Test("rsaPublicKey as an object is refused: it has to be a string")
    func object() throws { #expect(verdict(try pki.details(asObject: true)) == .kmsDetails) }

    @Test(
        "A missing member is refused", arguments: ["kmsCluster", "rsaPublicKey", "kty", "kid", "e", "n", "x5c"])
    func missing(name: String) throws { #expect(verdict(try pki.details(leavingOut: [name])) == .kmsDetails) }

    @Test("use and alg are refused: one key decrypts and signs", arguments: ["use", "alg"])
    func purpose(name: String) throws {
        #expect(verdict(try pki.details(members: [(name, name == "use" ? "sig" : "PS256")])) == .kmsDetails)
    }

    @Test("Another host is refused wherever it stands, even under a certificate of the pinned root")
    func otherHost() throws {
        #expect(verdict(try pki.details(cluster: "kms://other.example.com")) == .kmsHostMismatch)
        #expect(verdict(try pki.details(kid: "kms://other.example.com/statickeys/1")) == .kmsHostMismatch)
        #expect(verdict(try pki.details("other")) == .kmsHostMismatch)
        #expect(verdict(try pki.details("cn")) == .kmsHostMismatch)
    }

    @Test("A kid that is no kms URI is refused", arguments: ["https://kms.example.com/statickeys/1", "abc", ""])
    func foreignKid(kid: String) throws { #expect(verdict(try pki.details(kid: kid)) == .kmsDetails) }

    @Test("A URI as the only alternative name, a wildcard, and an address before the name are refused")
    func alternativeNames() throws {
        for leaf in ["uri", "wildcard", "ip"] {
            #expect(verdict(try pki.details(leaf)) == .kmsHostMismatch, "\(leaf)")
        }
    }

    @Test("A self-signed stranger before a genuine intermediate is refused: the path begins at the leaf")
    func stranger() throws {
        #expect(verdict(try pki.details("stranger", chain: ["stranger", "issuing"])) == .kmsUntrusted)
        #expect(verdict(try pki.details("stranger", chain: ["stranger", "issuing", "root"])) == .kmsUntrusted)
        #expect(verdict(try pki.details("stranger", chain: ["stranger"])) == .kmsUntrusted)
    }

    @Test("A stranger's key beside a genuine chain is refused: n and e are the leaf's")
    func foreignKey() throws {
        #expect(verdict(try pki.details("stranger", chain: ["kms", "issuing"])) == .kmsDetails)
        let padded = [0] + (try #require(try pki.certificate("kms").publicKey.rsaModulus))
        #expect(verdict(try pki.details(modulus: padded)) == .kmsDetails)
    }

    @Test("An expired leaf before a genuine intermediate, a leaf without its intermediate, and a CA first are refused")
    func brokenPaths() throws {
        #expect(verdict(try pki.details("expired")) == .kmsUntrusted)
        #expect(verdict(try pki.details(chain: ["kms"])) == .kmsUntrusted)
        #expect(verdict(try pki.details(chain: [])) == .kmsDetails)
        let before = now.adding(seconds: -40 * 86_400)
        #expect(code { _ = try trust.verify(details: pki.details(), at: before) } == .kmsUntrusted)
    }

    @Test("A key below 2048 bits is refused")
    func smallKey() throws {
        let modulus = [UInt8](repeating: 0xC5, count: 128)
        #expect(verdict(try pki.details("small", modulus: modulus)) == .kmsDetails)
    }

    @Test("Another pinned root refuses the genuine chain, and a root is needed at all")
    func otherRoot() throws {
        let other = try StaticKeyTrust(cluster: "kms://\(TestPKI.host)", roots: [pki.certificate("stranger")])
        #expect(code { _ = try other.verify(details: pki.details(), at: now) } == .kmsUntrusted)
        #expect(code { _ = try StaticKeyTrust(cluster: "kms://\(TestPKI.host)", roots: []) } == .kmsUntrusted)
        #expect(
            code { _ = try StaticKeyTrust(cluster: "https://x", roots: [pki.certificate("root")]) } == .kmsHostMismatch)
    }

    @Test("Documents that are no JSON, no object, or hostile are refused and never crash")
    func hostile() throws {
        let texts = [
            "", "null", "[]", "{", "{\"kmsCluster\":1}",
            "{\"kmsCluster\":\"kms://kms.example.com\",\"rsaPublicKey\":\"{\"}",
            "{\"kmsCluster\":\"kms://kms.example.com\",\"rsaPublicKey\":\"[]\"}", String(repeating: "[", count: 10_000),
            "{\"kmsCluster\":\"kms://kms.example.com\",\"rsaPublicKey\":\"{\\\"kty\\\":\\\"EC\\\"}\"}",
        ]
        for text in texts { #expect(verdict(Array(text.utf8)) == .kmsDetails, "\(text.prefix(60))") }
    }
}

import Cryptography
import Diagnostics
import TLSChannel
import Testing
import WireText

@testable import HDSClient
import KMSClient

@Suite("The profile of a domain and its pins")
struct DomainTests {
    let pki: TestPKI

    init() throws { pki = try TestPKI.shared.get() }

    private func profile(
        issuer: String = "https://auth.example.com", core: String = "https://core.example.com",
        cluster: String = "kms://kms.example.com", root: String = "root", coreRoots: String? = nil
    ) throws -> DomainProfile {
        try DomainProfile(
            domain: "example.com", issuer: issuer, issuerTrust: ServerTrust(roots: []), core: core,
            coreTrust: ServerTrust(
                roots: try coreRoots.map { [try pki.certificate($0)] } ?? [],
                pins: [try #require(SPKIPin(digest: [UInt8](repeating: 1, count: 32)))]),
            kmsCluster: cluster, kmsRoots: [try pki.certificate(root)])
    }

    @Test("A profile comes back from its file as it was")
    func file() throws {
        for profile in [try profile(), try profile(coreRoots: "issuing")] {
            #expect(try DomainProfile(json: Array(profile.fileText.utf8)) == profile)
        }
    }

    @Test("A profile with a member missing, unknown or malformed is refused")
    func malformed() throws {
        let text = try profile(coreRoots: "issuing").fileText
        func verdict(_ text: String) -> DiagnosedError.Code? { code { _ = try DomainProfile(json: Array(text.utf8)) } }
        #expect(verdict(text) == nil)
        for name in ["domain", "issuer", "issuerRoots", "core", "coreRoots", "kmsCluster", "kmsRoots"] {
            #expect(verdict(text.replacing("\"\(name)\":", with: "\"x\(name)\":")) == .profileInvalid, "\(name)")
        }
        #expect(verdict(text.replacing("\"domain\"", with: "\"extra\":1,\"domain\"")) == .profileInvalid)
        #expect(verdict(text.replacing("sha256/", with: "sha1/")) == .profileInvalid)
        for (value, other) in [
            ("https://auth.example.com", "http://auth.example.com"),
            ("https://core.example.com", "ftp://core.example.com"),
            ("https://core.example.com", "https://a@core.example.com"), ("kms://kms.example.com", "kms://"),
            ("kms://kms.example.com", "https://kms.example.com"), ("\"example.com\"", "\"EXAMPLE\""),
            ("BEGIN CERTIFICATE", "BEGIN NOTHING"),
        ] {
            #expect(verdict(text.replacing(value, with: other)) == .profileInvalid, "\(other)")
        }
        for text in ["", "[]", "null", "{}"] { #expect(verdict(text) == .profileInvalid) }
    }

    @Test("Whether sessions need ML-KEM stands in the profile: offered where nothing is said, other words are refused")
    func postQuantum() throws {
        let text = try profile().fileText
        func use(_ word: String) throws -> PostQuantumUse {
            let changed = text.replacing("\"domain\":", with: "\"postQuantum\":\(word),\"domain\":")
            let profile = try DomainProfile(json: Array(changed.utf8))
            #expect(try DomainProfile(json: Array(profile.fileText.utf8)) == profile)
            return profile.postQuantum
        }
        #expect(try DomainProfile(json: Array(text.utf8)).postQuantum == .preferred)
        #expect(try PostQuantumUse.allCases.map { try use("\"\($0.rawValue)\"") } == PostQuantumUse.allCases)
        for word in ["\"always\"", "true", "null", "\"\""] {
            #expect(code { _ = try use(word) } == .profileInvalid, "\(word)")
        }
    }

    @Test("Whatever differs from the pinned profile is refused, and both values are named")
    func differences() throws {
        let pinned = try profile(coreRoots: "issuing")
        let pins = DomainPins(pinned)
        try pins.check(pinned)
        let others: [(DomainProfile, String, String)] = [
            (
                try profile(issuer: "https://evil.example.com", coreRoots: "issuing"), pinned.issuer,
                "https://evil.example.com"
            ),
            (
                try profile(core: "https://evil.example.com", coreRoots: "issuing"), pinned.core,
                "https://evil.example.com"
            ),
            (
                try profile(cluster: "kms://evil.example.com", coreRoots: "issuing"), pinned.kmsCluster,
                "kms://evil.example.com"
            ),
            (
                try profile(root: "stranger", coreRoots: "issuing"), DomainPins.fingerprints(pinned.kmsRoots),
                DomainPins.fingerprints([try pki.certificate("stranger")])
            ),
            (
                try profile(coreRoots: "stranger"), DomainPins.describe(pinned.coreTrust),
                DomainPins.describe(try profile(coreRoots: "stranger").coreTrust)
            ),
        ]
        for (other, before, after) in others {
            do {
                try pins.check(other)
                Issue.record("\(after) was accepted")
            } catch {
                #expect(error.code == .domainChanged)
                #expect(error.expected == before)
                #expect(error.found == after)
            }
        }
    }

    @Test("The word of the authorization service and of the core is held against the pins")
    func documents() throws {
        let pins = DomainPins(try profile())
        func document(_ change: (String) -> String) throws -> DomainDocument {
            var json = JSONWriter()
            json.beginObject()
            json.member("domain", "example.com")
            json.member("issuer", "https://auth.example.com")
            json.member("kmsCluster", "kms://kms.example.com")
            json.member("kmsRoots", [try pki.text("root.pem")])
            json.member("core", "https://core.example.com/")
            json.endObject()
            return try DomainDocument(json: Array(change(json.text()).utf8))
        }
        try pins.check(document { $0 })
        for value in ["\"example.com\"", "auth.example.com", "kms.example.com", "core.example.com"] {
            let other = value.hasPrefix("\"") ? "\"evil.example\"" : "evil.example.com"
            let changed = try document { $0.replacing(value, with: other) }
            #expect(code { try pins.check(changed) } == .domainChanged, "\(value)")
        }
        let pem = try JSONText.escaped(pki.text("root.pem"))
        let roots = try document { $0.replacing(pem, with: try! JSONText.escaped(pki.text("stranger.pem"))) }
        #expect(code { try pins.check(roots) } == .domainChanged)

        func bootstrap(
            _ core: String, cluster: String = "kms://kms.example.com", issuer: String = "https://auth.example.com"
        )
            throws -> Bootstrap
        {
            try Bootstrap(
                json: Array(
                    """
                    {"organisation":"o","authorizationServer":"\(issuer)","encryption":"\(core)/encryption/api/v1",
                    "devices":"\(core)/devices","conversations":"\(core)/conversations","files":"\(core)/files",
                    "directory":"\(core)/directory","kmsCluster":"\(cluster)"}
                    """.utf8))
        }
        try pins.check(bootstrap("https://core.example.com"))
        try pins.check(bootstrap("https://CORE.example.com:443"))
        for other in ["https://core.example.com:8443", "http://core.example.com", "https://core.example.com.evil.org"] {
            #expect(code { try pins.check(bootstrap(other)) } == .domainChanged, "\(other)")
        }
        #expect(
            code { try pins.check(bootstrap("https://core.example.com", cluster: "kms://evil.example.com")) }
                == .domainChanged)
        #expect(
            code { try pins.check(bootstrap("https://core.example.com", issuer: "https://evil.example.com")) }
                == .domainChanged)
    }

    @Test("A token goes to the pinned core only, whatever URL the core gives")
    func coreURLs() throws {
        let pins = DomainPins(try profile())
        try pins.check(coreURL: "https://core.example.com/files/1")
        try pins.check(coreURL: "wss://core.example.com/events/1")
        for url in [
            "https://evil.example.com/files/1", "https://core.example.com@evil.org/", "ws://core.example.com/events/1",
            "//core.example.com/x", "/files/1", "javascript:alert(1)", "https://core.example.com\\@evil.org/",
        ] {
            #expect([.domainChanged, .urlInvalid].contains(code { try pins.check(coreURL: url) }), "\(url)")
        }
    }

    @Test("A fingerprint names the KMS's root in any notation")
    func fingerprint() throws {
        let profile = try profile()
        let text = DomainPins.fingerprint(try pki.certificate("root"))
        #expect(text.count == 95)
        for form in [text, text.lowercased(), text.replacing(":", with: ""), text.replacing(":", with: " ")] {
            #expect(profile.hasRoot(fingerprint: form))
        }
        #expect(!profile.hasRoot(fingerprint: String(text.dropLast()) + (text.hasSuffix("0") ? "1" : "0")))
        #expect(!profile.hasRoot(fingerprint: ""))
    }

    @Test("Pinning another profile silently is refused; an explicit one replaces it and ends the login")
    func pinning() throws {
        let folder = TemporaryFolder()
        let login = Login(try StateStore.open(folder: folder.path) { nil })
        try login.pin(profile())
        try login.store.update { $0.account = Account(id: "1", email: "a@example.com", name: "A") }
        try login.pin(profile())
        #expect(try login.store.current().account != nil)
        let other = try profile(cluster: "kms://kms2.example.com")
        #expect(code { try login.pin(other) } == .domainChanged)
        #expect(try login.pinnedProfile() == profile())
        try login.pin(other, replacing: true)
        #expect(try login.pinnedProfile() == other)
        #expect(try login.store.current().account == nil)
    }
}

enum JSONText {
    /// As the text stands between the quotes of a JSON string.
    static func escaped(_ text: String) throws -> String {
        var json = JSONWriter()
        json.value(text)
        return String(json.text().dropFirst().dropLast())
    }
}

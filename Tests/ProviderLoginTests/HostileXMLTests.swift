import Diagnostics
import SAMLServiceProvider
import Testing
import WireText

@Suite("Hostile XML", .enabled(if: SAMLSigner.isInstalled))
struct HostileXMLTests {
    private let signer: SAMLSigner
    private let now = Timestamp(seconds: 1_800_000_000)
    private let good: String

    init() throws {
        signer = try SAMLSigner.named("provider")
        good = try SAMLTemplate(now: now).signed(by: signer).withoutDeclaration
    }

    private func refuse(_ text: String, _ comment: Comment) async { await refuse(Array(text.utf8), comment) }

    private func refuse(_ octets: [UInt8], _ comment: Comment) async {
        let now = now
        let provider = SAMLServiceProvider(signer.settings(), now: { now })
        await #expect(throws: DiagnosedError.coded(.samlMalformed), comment) {
            try await provider.finish(try provider.read(Base64.encode(octets)), requestID: "_request")
        }
    }

    @Test("A comment in the name is refused: what comes before it is not somebody else")
    func comments() async throws {
        await refuse(good.replacing("subject-alice", with: "subject-admin<!---->.evil"), "in the name")
        // Exclusive canonicalisation leaves comments out, so the signature of this one still verifies.
        await refuse(
            good.replacing("subject-alice", with: "subject<!-- x -->-alice"), "under a signature that verifies")
        await refuse(good.replacing("alice@example.com", with: "alice@example.com<!---->.evil"), "in an attribute")
        await refuse("<!-- x -->" + good, "before the element")
        await refuse(good + "<!-- x -->", "behind the element")
    }

    @Test("Processing instructions and CDATA are refused")
    func instructions() async throws {
        await refuse(good.replacing("subject-alice", with: "subject-admin<?x?>.evil"), "in the name")
        await refuse("<?x y?>" + good, "before the element")
        await refuse(good.replacing("subject-alice", with: "<![CDATA[subject-alice]]>"), "CDATA")
    }

    @Test("A document type is refused before anything is expanded or fetched")
    func documentTypes() async throws {
        var bomb = "<!DOCTYPE b [<!ENTITY a0 \"aaaaaaaaaa\">"
        for level in 1...12 {
            bomb += "<!ENTITY a\(level) \"" + String(repeating: "&a\(level - 1);", count: 10) + "\">"
        }
        await refuse(bomb + "]>" + good.replacing("subject-alice", with: "&a12;"), "bomb")
        await refuse("<!DOCTYPE a SYSTEM \"file:///etc/passwd\">" + good, "external subset")
        await refuse(
            "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>" + good.replacing("subject-alice", with: "&x;"),
            "external entity")
        await refuse("<!DOCTYPE a [<!ATTLIST saml:x ID ID #IMPLIED>]>" + good, "declared IDs")
        await refuse("<?xml version=\"1.0\"?>\n<!DOCTYPE a>" + good, "behind a declaration")
        await refuse(good.replacing("subject-alice", with: "&undeclared;"), "undeclared entity")
    }

    @Test("An encoding in which another reader sees another document is refused")
    func encodings() async throws {
        for name in ["UTF-16", "UTF-7", "ISO-8859-1", "EBCDIC-US", "utf8x"] {
            await refuse("<?xml version=\"1.0\" encoding=\"\(name)\"?>" + good, "\(name)")
        }
        await refuse([0xFE, 0xFF] + good.utf16.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] }, "UTF-16")
        await refuse(Array(good.utf8.prefix(100)) + [0xC3, 0x28] + Array(good.utf8.dropFirst(100)), "broken UTF-8")
        await refuse(Array(good.utf8) + [0], "NUL")
    }

    @Test("Too much of anything is refused, and what is cut or no XML as well")
    func bounds() async throws {
        await refuse(good.replacing("</samlp:Response>", with: String(repeating: "<x>", count: 40)), "cut and deep")
        let nested = String(repeating: "<x>", count: 40) + String(repeating: "</x>", count: 40)
        await refuse(good.replacing("</samlp:Response>", with: nested + "</samlp:Response>"), "deep")
        let many = String(repeating: "<x/>", count: 6000)
        await refuse(good.replacing("</samlp:Response>", with: many + "</samlp:Response>"), "many")
        let attributes = (0..<40).map { " a\($0)=\"\"" }.joined()
        await refuse(good.replacing("</samlp:Response>", with: "<x\(attributes)/></samlp:Response>"), "attributes")
        await refuse(String(repeating: "a", count: 300_000), "long")
        for text in ["", "<", "<a", "{}", "<a>&#0;</a>", "\u{FEFF}"] { await refuse(text, "\(text)") }
        await refuse(String(good.dropLast(20)), "cut")
    }

    @Test("What is no base64 is refused")
    func base64() {
        let provider = SAMLServiceProvider(signer.settings())
        for text in ["", "%%%", "PGE+", String(repeating: "A", count: 2_000_000)] {
            #expect(throws: DiagnosedError.self) { try provider.read(text) }
        }
    }
}

import Diagnostics
import SAMLServiceProvider
import Testing
import WireText

@Suite("SAML assertions", .enabled(if: SAMLSigner.isInstalled))
struct AssertionTests {
    private let signer: SAMLSigner
    private let now = Timestamp(seconds: 1_800_000_000)

    init() throws { signer = try SAMLSigner.named("provider") }

    private func finish(
        _ text: String, requestID: String = "_request", at time: Timestamp? = nil,
        _ change: (inout SAMLSettings) -> Void = { _ in }
    ) async throws -> SAMLIdentity {
        var settings = signer.settings()
        change(&settings)
        let now = time ?? now
        let provider = SAMLServiceProvider(settings, now: { now })
        return try await provider.finish(try provider.read(text.base64), requestID: requestID)
    }

    private func template(_ change: (inout SAMLTemplate) -> Void = { _ in }) -> SAMLTemplate {
        var template = SAMLTemplate(now: now)
        change(&template)
        return template
    }

    @Test("A signed assertion says who signed in", arguments: [(true, false), (false, true), (true, true)])
    func good(_ signs: (assertion: Bool, response: Bool)) async throws {
        let text = try template {
            $0.signsAssertion = signs.assertion
            $0.signsResponse = signs.response
        }.signed(by: signer)
        let identity = try await finish(text)
        #expect(identity.subject == "subject-alice")
        #expect(identity.address == "alice@example.com")
        #expect(identity.session == "_session")
        #expect(identity.assertionID == "_assertion")
    }

    @Test("Of two keys of the provider either may have signed")
    func twoKeys() async throws {
        let text = try template().signed(by: signer)
        let other = try SAMLSigner.named("other").certificate
        #expect(try await finish(text) { $0.certificates = [other, signer.certificate] }.subject == "subject-alice")
    }

    struct Refusal: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let code: DiagnosedError.Code
        let change: @Sendable (inout SAMLTemplate) -> Void

        init(_ name: String, _ code: DiagnosedError.Code, _ change: @escaping @Sendable (inout SAMLTemplate) -> Void) {
            (testDescription, self.code, self.change) = (name, code, change)
        }
    }

    static let refusals: [Refusal] = [
        .init("another provider", .samlIssuer) { $0.assertionIssuer = "https://evil.example/metadata" },
        .init("a response of another provider", .samlIssuer) { $0.issuer = "https://evil.example/metadata" },
        .init("another audience", .samlAudience) {
            $0.audience = $0.audience.replacing(SAMLSigner.entity, with: "https://other.example/")
        },
        .init("no audience", .samlAudience) { $0.audience = "" },
        .init("a second restriction that does not name this service", .samlAudience) {
            $0.audience += $0.audience.replacing(SAMLSigner.entity, with: "https://other.example/")
        },
        .init("an unknown condition", .samlUnsupported) {
            $0.audience += "<saml:Condition/>"
        },
        .init("another recipient", .samlRecipient) { $0.recipient = "https://other.example/acs" },
        .init("another destination", .samlRecipient) { $0.destination = " Destination=\"https://other.example/acs\"" },
        .init("another request", .samlRequest) { $0.confirmedRequest = "_another" },
        .init("a response to another request", .samlRequest) { $0.requestID = "_another" },
        .init("a confirmation that has ended", .samlExpired) { $0.confirmationEnds = $0.issued.adding(seconds: -61) },
        .init("conditions that have ended", .samlExpired) {
            $0.confirmationEnds = $0.ends
            $0.ends = $0.issued.adding(seconds: -61)
        },
        .init("not yet valid", .samlNotYetValid) { $0.begins = $0.issued.adding(seconds: 61) },
        .init("from the future", .samlNotYetValid) { $0.issued = $0.issued.adding(seconds: 61) },
        .init("counting for too long", .samlExpired) { $0.ends = $0.issued.adding(seconds: 90_000) },
        .init("no bearer", .samlSubject) { $0.method = "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key" },
        .init("nobody signed in", .samlSubject) { $0.statement = false },
        .init("a refusal of the provider", .samlStatus) { $0.status = "urn:oasis:names:tc:SAML:2.0:status:Responder" },
        .init("no name", .samlSubject) { $0.nameID = "" },
        .init("two names", .samlSubject) { $0.nameID += $0.nameID },
        .init("an element in the name", .samlSubject) {
            $0.nameID = $0.nameID.replacing("subject-alice", with: "subject<saml:x/>-alice")
        },
        .init("a name that changes with each login", .samlSubject) {
            $0.nameID = $0.nameID.replacing("persistent", with: "transient")
        },
        .init("two addresses", .samlSubject) {
            $0.attributes = $0.attributes.replacing(
                "</saml:Attribute>", with: "<saml:AttributeValue>bob@example.com</saml:AttributeValue></saml:Attribute>"
            )
        },
        .init("not signed", .samlSignature) { $0.signsAssertion = false },
        .init("SHA-1 in the signature", .samlSignature) {
            $0.signature = "http://www.w3.org/2000/09/xmldsig#rsa-sha1"
        },
        .init("SHA-1 in the digest", .samlSignature) { $0.digest = "http://www.w3.org/2000/09/xmldsig#sha1" },
        .init("another canonicalisation", .samlSignature) {
            $0.canonicalization = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
        },
        .init("comments kept", .samlSignature) {
            $0.transforms[1] = "http://www.w3.org/2001/10/xml-exc-c14n#WithComments"
        },
        .init("an encrypted assertion beside", .samlUnsupported) { $0.extra = "<saml:EncryptedAssertion/>" },
    ]

    @Test("What the provider signed but is not for here and now is refused", arguments: refusals)
    func refused(_ refusal: Refusal) async throws {
        let text = try template(refusal.change).signed(by: signer)
        await #expect(throws: DiagnosedError.coded(refusal.code)) { try await finish(text) }
    }

    @Test("Clocks may differ by the leeway and no more")
    func clocks() async throws {
        let text = try template().signed(by: signer)
        for offset in [-60, -30, 0, 300, 359] as [Int64] {
            #expect(try await finish(text, at: now.adding(seconds: offset)).subject == "subject-alice")
        }
        await #expect(throws: DiagnosedError.coded(.samlNotYetValid)) {
            try await finish(text, at: now.adding(seconds: -71))
        }
        await #expect(throws: DiagnosedError.coded(.samlExpired)) {
            try await finish(text, at: now.adding(seconds: 360))
        }
    }

    @Test("A response to no request is told to begin in the application")
    func unsolicited() async throws {
        let text = try template().signed(by: signer).replacing(
            " InResponseTo=\"_request\" IssueInstant", with: " IssueInstant")
        await #expect(throws: DiagnosedError.coded(.samlRequest)) { try await finish(text) }
    }

    @Test("A changed letter anywhere in what is signed is seen")
    func changed() async throws {
        let text = try template().signed(by: signer)
        for (old, new) in [
            ("subject-alice", "subject-admin"), ("alice@example.com", "admin@example.com"),
            ("SessionIndex=\"_session\"", "SessionIndex=\"_sessiom\""),
        ] {
            let changed = text.replacing(old, with: new)
            #expect(changed != text)
            await #expect(throws: DiagnosedError.coded(.samlSignature)) { try await finish(changed) }
        }
    }

    @Test("A signature of another key does not count, whatever it says of its key")
    func otherKey() async throws {
        // xmlsec1 has put certificate and key value of the signer into KeyInfo.
        let text = try template().signed(by: try SAMLSigner.named("other"))
        #expect(text.contains("X509Certificate") && text.contains("KeyValue"))
        await #expect(throws: DiagnosedError.coded(.samlSignature)) { try await finish(text) }
    }

    @Test("The public key is never taken for a shared secret")
    func hmac() async throws {
        let plain = template { $0.signature = "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256" }
        let text = try signer.signedByHMAC(plain.response(plain.assertion), path: SAMLTemplate.ofAssertion)
        #expect(!text.contains("<ds:SignatureValue/>"))
        await #expect(throws: DiagnosedError.coded(.samlSignature)) { try await finish(text) }
    }

    @Test("A reference to the whole document is none to the assertion")
    func emptyReference() async throws {
        let plain = template()
        let text = try signer.signed(
            plain.response(plain.assertion).replacing("URI=\"#_assertion\"", with: "URI=\"\""),
            path: SAMLTemplate.ofAssertion)
        await #expect(throws: DiagnosedError.coded(.samlSignature)) { try await finish(text) }
    }

    @Test("A subject can come from an attribute, and a transient name is good then")
    func subjectAttribute() async throws {
        let text = try template {
            $0.nameID = $0.nameID.replacing("persistent", with: "transient")
            $0.attributes +=
                "<saml:Attribute Name=\"employee\"><saml:AttributeValue>4711</saml:AttributeValue></saml:Attribute>"
        }.signed(by: signer)
        #expect(try await finish(text) { $0.subjectAttribute = "employee" }.subject == "4711")
        await #expect(throws: DiagnosedError.coded(.samlSubject)) {
            try await finish(text) { $0.subjectAttribute = "badge" }
        }
    }

    @Test("Without xmlsec1 nobody gets in, and the reason is told")
    func noProgram() async throws {
        let text = try template().signed(by: signer)
        let provider = SAMLServiceProvider(signer.settings(), program: "/nonexistent/xmlsec1", now: { [now] in now })
        await #expect(throws: DiagnosedError.coded(.samlProgram)) {
            try await provider.finish(try provider.read(text.base64), requestID: "_request")
        }
        await #expect(throws: DiagnosedError.coded(.samlProgram)) { try await provider.check() }
    }
}

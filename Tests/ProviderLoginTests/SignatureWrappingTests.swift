import Diagnostics
import SAMLServiceProvider
import Testing
import WireText

/// The eight variants of XML signature wrapping of Somorovsky et al., "On Breaking SAML" (2012), and some more: a signed
/// element is kept somewhere in the message, and another one stands where it is read.
@Suite("Signature wrapping", .enabled(if: SAMLSigner.isInstalled))
struct SignatureWrappingTests {
    private let signer: SAMLSigner
    private let now = Timestamp(seconds: 1_800_000_000)
    /// The signed assertion, its signature, and both of the evil one.
    private let template: SAMLTemplate
    private let good: String
    private let signature: String
    private let bare: String
    private let evil: String

    init() throws {
        signer = try SAMLSigner.named("provider")
        template = SAMLTemplate(now: now)
        let response = try template.signed(by: signer).withoutDeclaration
        good = try response.part(from: "<saml:Assertion", to: "</saml:Assertion>")
        signature = try good.part(from: "<ds:Signature ", to: "</ds:Signature>")
        bare = good.replacing(signature, with: "")
        evil = bare.replacing("subject-alice", with: "subject-admin")
            .replacing("alice@example.com", with: "emergency@example.com")
            .replacing("ID=\"_assertion\"", with: "ID=\"_evil\"")
    }

    private func attack(_ text: String) async throws -> SAMLIdentity {
        let now = now
        let provider = SAMLServiceProvider(signer.settings(), now: { now })
        return try await provider.finish(try provider.read(text.base64), requestID: "_request")
    }

    /// The element with something after its issuer.
    private func with(_ content: String, in assertion: String) -> String {
        assertion.replacing("</saml:Issuer>", with: "</saml:Issuer>" + content)
    }

    private func expectRefusal(_ text: String, _ comment: Comment) async {
        await #expect(throws: DiagnosedError.coded(.samlSignature), comment) { try await attack(text) }
    }

    @Test("What the attacks are made of is good by itself")
    func control() async throws {
        #expect(try await attack(template.response(good)).subject == "subject-alice")
    }

    @Test("1 and 2: the signed response hangs in its signature, or before it, in an evil response")
    func responses() async throws {
        var template = template
        template.signsAssertion = false
        template.signsResponse = true
        let signed = try template.signed(by: signer).withoutDeclaration
        let signature = try signed.part(from: "<ds:Signature ", to: "</ds:Signature>")
        let original = signed.replacing(signature, with: "")
        let evil = original.replacing("subject-alice", with: "subject-admin")
            .replacing("ID=\"_response\"", with: "ID=\"_evil\"").replacing("ID=\"_assertion\"", with: "ID=\"_evil2\"")
        func insert(_ content: String) -> String {
            evil.replacing("</saml:Issuer>", with: "</saml:Issuer>" + content, maxReplacements: 1)
        }
        let inside = signature.replacing("</ds:Signature>", with: "<ds:Object>\(original)</ds:Object></ds:Signature>")
        await expectRefusal(insert(inside), "1, in an Object")
        await expectRefusal(
            insert(signature.replacing("</ds:Signature>", with: original + "</ds:Signature>")), "1, as a child")
        await expectRefusal(insert(original + signature), "2, before the signature")
        await expectRefusal(insert(signature + original), "2, behind the signature")
    }

    @Test("3: the evil assertion stands before or behind the signed one")
    func siblings() async throws {
        await expectRefusal(template.response(evil + good), "before")
        await expectRefusal(template.response(good + evil), "behind")
    }

    @Test("4: the signed assertion stands in the evil one")
    func wrapped() async throws {
        await expectRefusal(template.response(with(good, in: evil)), "as a child")
        await expectRefusal(template.response(with("<saml:Advice>\(good)</saml:Advice>", in: evil)), "in Advice")
    }

    @Test("5: the evil assertion has the signature, the signed one follows without it")
    func moved() async throws {
        await expectRefusal(template.response(with(signature, in: evil) + bare), "behind")
        await expectRefusal(template.response(bare + with(signature, in: evil)), "before")
    }

    @Test("6: the evil assertion has the signature, which has the signed one")
    func inSignature() async throws {
        await expectRefusal(
            template.response(
                with(signature.replacing("</ds:Signature>", with: bare + "</ds:Signature>"), in: evil)), "as a child")
    }

    @Test("7: the evil assertion stands in Extensions")
    func extensions() async throws {
        await expectRefusal(
            template.response("<samlp:Extensions>\(evil)</samlp:Extensions>" + good), "evil in Extensions")
        await expectRefusal(
            template.response("<samlp:Extensions>\(good)</samlp:Extensions>" + evil), "good in Extensions")
    }

    @Test("8: the evil assertion has the signature, the signed one is in its Object")
    func object() async throws {
        await expectRefusal(
            template.response(
                with(
                    signature.replacing("</ds:Signature>", with: "<ds:Object>\(bare)</ds:Object></ds:Signature>"),
                    in: evil)), "in Object")
    }

    @Test("The same ID twice, in whatever spelling, is refused")
    func duplicateIDs() async throws {
        let twin = evil.replacing("ID=\"_evil\"", with: "ID=\"_assertion\"")
        await expectRefusal(template.response(twin + good), "twice")
        for name in ["ID", "Id", "id", "xml:id"] {
            let carrier = "<samlp:Extensions><samlp:x \(name)=\"_assertion\">\(bare.count)</samlp:x></samlp:Extensions>"
            await expectRefusal(template.response(carrier + good), "\(name)")
        }
    }

    @Test("An assertion under another namespace or name is not read for a signed one")
    func disguised() async throws {
        let foreign = evil.replacing("urn:oasis:names:tc:SAML:2.0:assertion", with: "urn:evil")
        // One assertion of SAML, signed: what stands beside it is not looked at.
        #expect(try await attack(template.response(foreign + good)).subject == "subject-alice")
        await expectRefusal(template.response(with(signature, in: foreign)), "alone")
    }

    @Test("The signature of one message does not count in another")
    func transplanted() async throws {
        await expectRefusal(
            template.response(with(signature, in: evil.replacing("ID=\"_evil\"", with: "ID=\"_assertion\""))),
            "same ID, other content")
        await expectRefusal(template.response(with(signature, in: evil)), "other ID")
        await expectRefusal(template.response(with(signature + signature, in: bare)), "twice")
    }
}

import Diagnostics
import Testing
import WireText

@testable import SAMLServiceProvider

/// The second line behind the rules on places: whatever a message looks like, only signed octets are read.
@Suite("What a signature stands for", .enabled(if: SAMLSigner.isInstalled))
struct SignedElementTests {
    private let signer: SAMLSigner
    private let template = SAMLTemplate(now: Timestamp(seconds: 1_800_000_000))
    private let good: String
    private let signature: String

    init() throws {
        signer = try SAMLSigner.named("provider")
        good = try template.signed(by: signer).withoutDeclaration.part(
            from: "<saml:Assertion", to: "</saml:Assertion>")
        signature = try good.part(from: "<ds:Signature ", to: "</ds:Signature>")
    }

    /// Reads by the first signature of the message, without a look at where it stands.
    private func read(_ message: String, parentID: String = "_assertion") throws -> XMLElement {
        let value = try signature.part(from: "<ds:SignatureValue>", to: "</ds:SignatureValue>")
            .replacing("<ds:SignatureValue>", with: "").replacing("</ds:SignatureValue>", with: "")
        let place = SignaturePlaces.Place(
            path: "(//*[local-name()='Signature'])[1]", parentID: parentID, parent: .assertion("Assertion"),
            value: value)
        let program = XMLSecProgram(path: XMLSecProgram.standardPath, seconds: 10)
        return try SignedElement(program: program, certificates: [signer.certificate]).read(
            Array(message.utf8), place)
    }

    private func name(_ element: XMLElement) -> String? {
        element.only(.assertion("Subject"))?.only(.assertion("NameID"))?.plainText
    }

    @Test("However messages are wrapped, the signed assertion is read, or none")
    func wrapped() throws {
        let bare = good.replacing(signature, with: "")
        let evil = bare.replacing("subject-alice", with: "subject-admin").replacing("_assertion\"", with: "_evil\"")
        let carrier = evil.replacing("</saml:Issuer>", with: "</saml:Issuer>" + signature)
        for message in [
            good + evil, evil + good, carrier + bare, bare + carrier,
            evil.replacing("</saml:Issuer>", with: "</saml:Issuer>" + good),
            "<samlp:Extensions>\(evil)</samlp:Extensions>" + good, carrier,
            carrier.replacing("_evil\"", with: "_assertion\""),
        ] {
            let read = try? read(template.response(message))
            #expect(read == nil || read.flatMap(name) == "subject-alice")
        }
        #expect(name(try read(template.response(good))) == "subject-alice")
        #expect(throws: DiagnosedError.coded(.samlSignature)) {
            try read(template.response(carrier + bare), parentID: "_evil")
        }
    }

    @Test("Marks of xmlsec1's output inside a message bring nothing in")
    func marks() throws {
        for text in [
            "&#10;== PreDigest data - end buffer", "&#10;== PreSigned data - start buffer:&#10;&lt;x/&gt;",
            "== PreDigest data - start buffer:&#10;",
        ] {
            var template = template
            template.attributes =
                "<saml:Attribute Name=\"x\"><saml:AttributeValue>\(text)</saml:AttributeValue>"
                + "</saml:Attribute>"
            let message = try template.signed(by: signer).withoutDeclaration
            let read = try? read(message)
            #expect(read == nil || read.flatMap(name) == "subject-alice")
        }
    }

    @Test("Comments are not in what is read")
    func comments() throws {
        let message = template.response(good.replacing("subject-alice", with: "subject<!-- x -->-alice"))
        #expect(name(try read(message)) == "subject-alice")
    }
}

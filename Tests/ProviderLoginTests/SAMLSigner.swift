import Cryptography
import Foundation
import SAMLServiceProvider
import Synchronization
import TestServers
import Testing
import WireText

/// A provider that signs whatever a test wants, by xmlsec1 itself.
final class SAMLSigner: Sendable {
    static let isInstalled: Bool = {
        let found = FileManager.default.isExecutableFile(atPath: "/usr/bin/xmlsec1")
        if !found { print("skipped: no xmlsec1 on this machine, so no assertion is signed or verified (apt: xmlsec1)") }
        return found
    }()

    static let provider = "https://idp.example.org/metadata"
    static let entity = "https://auth.example.com:8443/saml/metadata"
    static let consumer = "https://auth.example.com:8443/saml/example/acs"
    static let logout = "https://auth.example.com:8443/saml/example/logout"

    private let folder = TemporaryFolder()
    let publicKey: PublicKey
    let privateKey: PrivateKey
    let certificate: Certificate

    private static let made = Mutex<[String: SAMLSigner]>([:])

    /// One for each name, for all tests.
    static func named(_ name: String) throws -> SAMLSigner {
        try made.withLock { made in
            if let signer = made[name] { return signer }
            let signer = try SAMLSigner()
            made[name] = signer
            return signer
        }
    }

    private init() throws {
        _ = try Self.run(
            "/usr/bin/openssl",
            [
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder.path + "/key.pem", "-out",
                folder.path + "/certificate.pem", "-days", "30", "-subj", "/CN=provider", "-addext",
                "subjectAltName=DNS:localhost",
            ])
        certificate = try #require(try Certificate.all(inPEM: try folder.contents(of: "certificate.pem")).first)
        privateKey = try PrivateKey(pem: try folder.contents(of: "key.pem"))
        publicKey = certificate.publicKey
    }

    func settings() -> SAMLSettings {
        SAMLSettings(
            providerID: Self.provider, signOn: "https://idp.example.org/sso", certificates: [certificate],
            entityID: Self.entity, consumer: Self.consumer, logoutConsumer: Self.logout)
    }

    /// Fills the signature template in the message: see `SAMLTemplate.signature`.
    func signed(_ message: String, path: String) throws -> String {
        let file = folder.path + "/\(UUIDText.random()).xml"
        try message.write(toFile: file, atomically: false, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: file) }
        var arguments = ["--sign", "--privkey-pem", "\(folder.path)/key.pem,\(folder.path)/certificate.pem"]
        for name in ["assertion:Assertion", "protocol:Response", "protocol:LogoutRequest"] {
            arguments += ["--id-attr:ID", "urn:oasis:names:tc:SAML:2.0:" + name]
        }
        return try Self.run("/usr/bin/xmlsec1", arguments + ["--node-xpath", path, file])
    }

    /// By the HMAC of the provider's certificate, as if it were a shared secret.
    func signedByHMAC(_ message: String, path: String) throws -> String {
        let file = folder.path + "/\(UUIDText.random()).xml"
        try message.write(toFile: file, atomically: false, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: file) }
        try Data(publicKey.pem.utf8).write(to: URL(filePath: folder.path + "/secret"))
        return try Self.run(
            "/usr/bin/xmlsec1",
            [
                "--sign", "--hmackey", folder.path + "/secret", "--id-attr:ID",
                "urn:oasis:names:tc:SAML:2.0:assertion:Assertion", "--node-xpath", path, file,
            ])
    }

    private static func run(_ program: String, _ arguments: [String]) throws -> String {
        let process = Process()
        process.executableURL = URL(filePath: program)
        process.arguments = arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "\(program)")
        return String(decoding: output, as: UTF8.self)
    }
}

/// A response with everything that a test may want to have otherwise.
struct SAMLTemplate {
    var requestID = "_request"
    var responseID = "_response"
    var assertionID = "_assertion"
    var issuer = SAMLSigner.provider
    var assertionIssuer = SAMLSigner.provider
    var destination = " Destination=\"\(SAMLSigner.consumer)\""
    var status = "urn:oasis:names:tc:SAML:2.0:status:Success"
    var nameID =
        "<saml:NameID Format=\"urn:oasis:names:tc:SAML:2.0:nameid-format:persistent\">subject-alice</saml:NameID>"
    var recipient = SAMLSigner.consumer
    var confirmedRequest: String?
    var method = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
    var audience =
        "<saml:AudienceRestriction><saml:Audience>\(SAMLSigner.entity)</saml:Audience></saml:AudienceRestriction>"
    var issued: Timestamp
    var begins: Timestamp
    var ends: Timestamp
    var confirmationEnds: Timestamp?
    var statement = true
    var attributes =
        "<saml:Attribute Name=\"mail\"><saml:AttributeValue>alice@example.com</saml:AttributeValue></saml:Attribute>"
    var extra = ""
    var signsAssertion = true
    var signsResponse = false
    var signature = SAMLTemplate.rsa
    var digest = "http://www.w3.org/2001/04/xmlenc#sha256"
    var canonicalization = "http://www.w3.org/2001/10/xml-exc-c14n#"
    var transforms = [
        "http://www.w3.org/2000/09/xmldsig#enveloped-signature", "http://www.w3.org/2001/10/xml-exc-c14n#",
    ]

    static let rsa = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
    static let ofAssertion = "//*[local-name()='Assertion']/*[local-name()='Signature']"
    static let ofResponse = "/*[local-name()='Response']/*[local-name()='Signature']"

    init(now: Timestamp) {
        issued = now
        begins = now.adding(seconds: -10)
        ends = now.adding(seconds: 300)
    }

    func signature(_ id: String) -> String {
        "<ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"><ds:SignedInfo>"
            + "<ds:CanonicalizationMethod Algorithm=\"\(canonicalization)\"/>"
            + "<ds:SignatureMethod Algorithm=\"\(signature)\"/><ds:Reference URI=\"\(id.isEmpty ? "" : "#" + id)\">"
            + "<ds:Transforms>" + transforms.map { "<ds:Transform Algorithm=\"\($0)\"/>" }.joined()
            + "</ds:Transforms><ds:DigestMethod Algorithm=\"\(digest)\"/><ds:DigestValue/></ds:Reference></ds:SignedInfo>"
            + "<ds:SignatureValue/><ds:KeyInfo><ds:X509Data/><ds:KeyValue/></ds:KeyInfo></ds:Signature>"
    }

    var assertion: String {
        "<saml:Assertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\" ID=\"\(assertionID)\" Version=\"2.0\" "
            + "IssueInstant=\"\(issued.iso8601)\"><saml:Issuer>\(assertionIssuer)</saml:Issuer>"
            + (signsAssertion ? signature(assertionID) : "") + "<saml:Subject>\(nameID)"
            + "<saml:SubjectConfirmation Method=\"\(method)\"><saml:SubjectConfirmationData "
            + "InResponseTo=\"\(confirmedRequest ?? requestID)\" NotOnOrAfter=\"\((confirmationEnds ?? ends).iso8601)\" "
            + "Recipient=\"\(recipient)\"/></saml:SubjectConfirmation></saml:Subject>"
            + "<saml:Conditions NotBefore=\"\(begins.iso8601)\" NotOnOrAfter=\"\(ends.iso8601)\">\(audience)"
            + "</saml:Conditions>"
            + (statement
                ? "<saml:AuthnStatement AuthnInstant=\"\(issued.iso8601)\" SessionIndex=\"_session\"><saml:AuthnContext/>"
                    + "</saml:AuthnStatement>" : "")
            + "<saml:AttributeStatement>\(attributes)</saml:AttributeStatement></saml:Assertion>"
    }

    func response(_ content: String) -> String {
        "<samlp:Response xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\" "
            + "xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\" ID=\"\(responseID)\" Version=\"2.0\" "
            + "InResponseTo=\"\(requestID)\" IssueInstant=\"\(issued.iso8601)\"\(destination)>"
            + "<saml:Issuer>\(issuer)</saml:Issuer>" + (signsResponse ? signature(responseID) : "")
            + "<samlp:Status><samlp:StatusCode Value=\"\(status)\"/></samlp:Status>\(content)</samlp:Response>"
    }

    /// The whole response, signed where it says.
    func signed(by signer: SAMLSigner) throws -> String {
        var text = response(assertion + extra)
        if signsAssertion { text = try signer.signed(text, path: Self.ofAssertion) }
        if signsResponse { text = try signer.signed(text, path: Self.ofResponse) }
        return text
    }
}

extension String {
    /// Without an XML declaration.
    var withoutDeclaration: String { replacing(/^<\?xml[^>]*\?>\s*/, with: "") }
    var base64: String { Base64.encode(Array(utf8)) }

    /// From the begin of one text to the end of the next one of another.
    func part(from start: String, to end: String) throws -> String {
        let begin = try #require(firstRange(of: start))
        let finish = try #require(self[begin.lowerBound...].firstRange(of: end))
        return String(self[begin.lowerBound..<finish.upperBound])
    }
}

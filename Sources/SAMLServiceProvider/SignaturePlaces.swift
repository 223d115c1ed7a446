import Diagnostics

/// Where signatures stand in a message, judged before any of them is verified: what moves elements around a signature
/// (signature wrapping) changes one of these.
///
/// Rules:
/// 1. Every `ID`, `Id`, `id` and `xml:id` stands for one element.
/// 2. There is one `Response` and one `Assertion`; the assertion is a child of the response, which is the root.
/// 3. Nothing is encrypted: what can not be read can not be judged here.
/// 4. A signature is a child of the response or of the assertion, one at most in each, and there is at least one.
/// 5. It has `SignedInfo`, `SignatureValue` and at most one `KeyInfo`, in this order, and no `Object`.
struct SignaturePlaces: Sendable, Equatable {
    /// One signature.
    struct Place: Sendable, Equatable {
        /// An XPath to it, without prefixes.
        let path: String
        /// `ID` of the element that it is a child of.
        let parentID: String
        let parent: XMLName
        let value: String
    }

    let ofRoot: Place?
    let ofAssertion: Place?

    init(response root: XMLElement) throws(DiagnosedError) {
        guard root.name == .samlProtocol("Response") else {
            throw .saml(.samlMalformed, "the message is no response", expected: "Response", found: nil)
        }
        try Self.checkIDs(root)
        guard Self.count(.assertion("EncryptedAssertion"), root) == 0, Self.count(.assertion("EncryptedID"), root) == 0,
            Self.count(.assertion("EncryptedAttribute"), root) == 0
        else {
            throw .saml(
                .samlUnsupported, "the provider encrypts assertions, which this service does not read",
                hint: "turn encryption off for this service at the provider: the way here is TLS already")
        }
        guard Self.count(.samlProtocol("Response"), root) == 1 else {
            throw .saml(.samlSignature, "there is more than one response in the message")
        }
        guard Self.count(.assertion("Assertion"), root) == 1, let assertion = root.only(.assertion("Assertion")) else {
            throw .saml(
                .samlSignature, "the response does not have exactly one assertion", expected: "one, as its child",
                found: "\(Self.count(.assertion("Assertion"), root))")
        }
        ofRoot = try Self.place(in: root, "/*[local-name()='Response']")
        ofAssertion = try Self.place(
            in: assertion,
            "/*[local-name()='Response']/*[local-name()='Assertion' and namespace-uri()='\(SAMLNames.assertion)']")
        let found = [ofRoot, ofAssertion].count { $0 != nil }
        guard found > 0, Self.count(.signature("Signature"), root) == found else {
            throw .saml(
                .samlSignature, found == 0 ? "the response is not signed" : "a signature stands where none may",
                expected: "a signature in the response or in the assertion",
                found: "\(Self.count(.signature("Signature"), root))")
        }
    }

    /// A message whose root is signed, such as a `LogoutRequest`.
    init(message root: XMLElement) throws(DiagnosedError) {
        try Self.checkIDs(root)
        ofAssertion = nil
        ofRoot = try Self.place(in: root, "/*[local-name()='\(root.name.local)']")
        guard ofRoot != nil, Self.count(.signature("Signature"), root) == 1 else {
            throw .saml(.samlSignature, "the message is not signed, or not once")
        }
    }

    private static func place(in parent: XMLElement, _ path: String) throws(DiagnosedError) -> Place? {
        let signatures = parent.elements(.signature("Signature"))
        guard let signature = signatures.first else { return nil }
        guard signatures.count == 1 else { throw .saml(.samlSignature, "an element has more than one signature") }
        guard let id = parent[attribute: "ID"], !id.isEmpty, id.utf8.allSatisfy(isIDOctet) else {
            throw .saml(.samlSignature, "a signed element has no usable ID")
        }
        let names = signature.elements.map(\.name)
        let needed = ["SignedInfo", "SignatureValue"].map(XMLName.signature)
        guard names == needed || names == needed + [.signature("KeyInfo")],
            let value = signature.only(.signature("SignatureValue"))?.plainText
        else { throw .saml(.samlSignature, "a signature has other parts than it may") }
        return Place(
            path: "\(path)/*[local-name()='Signature' and namespace-uri()='\(SAMLNames.signature)']", parentID: id,
            parent: parent.name, value: value)
    }

    private static func checkIDs(_ root: XMLElement) throws(DiagnosedError) {
        var seen: Set<String> = []
        var isUnique = true
        root.walk { element in
            for (name, value) in element.attributes where name.local.lowercased() == "id" {
                if !seen.insert(value).inserted { isUnique = false }
            }
        }
        guard isUnique else { throw .saml(.samlSignature, "two elements have the same ID") }
    }

    private static func count(_ name: XMLName, _ root: XMLElement) -> Int {
        var count = 0
        root.walk { if $0.name == name { count += 1 } }
        return count
    }

    private static func isIDOctet(_ octet: UInt8) -> Bool {
        octet | 0x20 >= 0x61 && octet | 0x20 <= 0x7A || octet >= 0x30 && octet <= 0x39 || "_-.".utf8.contains(octet)
    }
}

import Cryptography
import Diagnostics
import WireText

/// The element that a signature stands for, read from the octets that were signed and from nothing else.
///
/// xmlsec1 verifies; what it canonicalised is then verified once more here, so that neither a trick with its options nor
/// one with its output can bring in anything that the provider's key has not signed:
/// 1. The signature over the canonical `SignedInfo` verifies with the key, by an algorithm of ours.
/// 2. `SignedInfo` has one reference, to the ID of the element that the signature is in, with the transforms for
///    enveloped signatures and exclusive canonicalisation only, and a SHA-256.
/// 3. The octets of the element have that SHA-256.
/// 4. They are an element of that name and ID.
struct SignedElement: Sendable {
    let program: XMLSecProgram
    let certificates: [Certificate]

    static let algorithms: [String: SignatureAlgorithm] = [
        "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256": .rs256,
        "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384": .rs384,
        "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512": .rs512,
        "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256": .es256,
    ]

    func read(_ message: [UInt8], _ place: SignaturePlaces.Place) throws(DiagnosedError) -> XMLElement {
        guard let signature = Base64.decode(place.value.filter { !$0.isWhitespace }) else {
            throw .saml(.samlSignature, "the signature is not base64")
        }
        for certificate in certificates {
            let key = certificate.publicKey
            guard
                let signed = try program.verify(message, signature: place.path, certificate: certificate.pem)
            else { continue }
            let info = try XMLReading.parse(signed.info)
            let (algorithm, digest) = try Self.judge(info, id: place.parentID)
            guard algorithm.suits(key.kind), key.isValidSignature(signature, for: signed.info, algorithm: algorithm),
                SHA256.hash(signed.element) == digest
            else { continue }
            let element = try XMLReading.parse(signed.element)
            guard element.name == place.parent, element[attribute: "ID"] == place.parentID else {
                throw .saml(.samlSignature, "the signature is for another element than the one that it is in")
            }
            return element
        }
        throw .saml(
            .samlSignature, "the signature does not verify with a key of the provider",
            expected: "RSA or P-256 with SHA-256 or more, a digest by SHA-256",
            hint: "compare the provider's signing certificate and algorithms with the configuration")
    }

    private static func judge(
        _ info: XMLElement, id: String
    ) throws(DiagnosedError) -> (SignatureAlgorithm, digest: [UInt8]) {
        let names = ["CanonicalizationMethod", "SignatureMethod", "Reference"].map(XMLName.signature)
        guard info.name == .signature("SignedInfo"), info.elements.map(\.name) == names else {
            throw .saml(.samlSignature, "the signature does not have exactly one reference")
        }
        let (canonicalization, method, reference) = (info.elements[0], info.elements[1], info.elements[2])
        guard canonicalization[attribute: "Algorithm"] == SAMLNames.exclusive, canonicalization.elements.isEmpty else {
            throw .saml(.samlSignature, "the canonicalisation is not the exclusive one")
        }
        guard let algorithm = method[attribute: "Algorithm"].flatMap({ algorithms[$0] }), method.elements.isEmpty else {
            throw .saml(
                .samlSignature, "the signature algorithm is not allowed here",
                expected: "rsa-sha256, rsa-sha384, rsa-sha512 or ecdsa-sha256",
                hint: "choose SHA-256 for signatures at the provider")
        }
        guard reference[attribute: "URI"] == "#" + id else {
            throw .saml(.samlSignature, "the signature is for another element than the one that it is in")
        }
        let parts = ["Transforms", "DigestMethod", "DigestValue"].map(XMLName.signature)
        guard reference.elements.map(\.name) == parts else {
            throw .saml(.samlSignature, "the reference has other parts than it may")
        }
        let transforms = reference.elements[0].elements
        let allowed = [SAMLNames.enveloped, SAMLNames.exclusive]
        guard transforms.allSatisfy({ $0.name == .signature("Transform") }),
            transforms.map({ $0[attribute: "Algorithm"] ?? "" }) == allowed, transforms[0].elements.isEmpty
        else { throw .saml(.samlSignature, "the reference has other transforms than it may") }
        guard reference.elements[1][attribute: "Algorithm"] == SAMLNames.sha256,
            let digest = reference.elements[2].plainText.flatMap({ Base64.decode($0.filter { !$0.isWhitespace }) })
        else {
            throw .saml(
                .samlSignature, "the digest is not SHA-256", hint: "choose SHA-256 for digests at the provider")
        }
        return (algorithm, digest)
    }
}

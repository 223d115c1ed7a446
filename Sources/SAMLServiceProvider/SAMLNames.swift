/// Namespaces and identifiers of SAML 2.0 and XML Signature, as the standards write them.
enum SAMLNames {
    static let assertion = "urn:oasis:names:tc:SAML:2.0:assertion"
    static let samlProtocol = "urn:oasis:names:tc:SAML:2.0:protocol"
    static let metadata = "urn:oasis:names:tc:SAML:2.0:metadata"
    static let signature = "http://www.w3.org/2000/09/xmldsig#"
    static let post = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
    static let redirect = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
    static let bearer = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
    static let success = "urn:oasis:names:tc:SAML:2.0:status:Success"
    static let transient = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
    static let emailAddress = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
    static let entity = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"

    static let exclusive = "http://www.w3.org/2001/10/xml-exc-c14n#"
    static let enveloped = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
    static let sha256 = "http://www.w3.org/2001/04/xmlenc#sha256"
}

extension XMLName {
    static func assertion(_ local: String) -> XMLName { XMLName(SAMLNames.assertion, local) }
    static func samlProtocol(_ local: String) -> XMLName { XMLName(SAMLNames.samlProtocol, local) }
    static func signature(_ local: String) -> XMLName { XMLName(SAMLNames.signature, local) }
}

import Diagnostics

/// Whether a response is the answer to a request of this service (SAML Core 2.0, section 3.2.2; Profiles, 4.1.4).
///
/// It may be unsigned when the assertion in it is signed: then these rules only refuse early and clearly, and what counts
/// stands in the assertion once more.
/// 1. `Version` is 2.0.
/// 2. `Issuer`, if there, is the provider.
/// 3. `Destination`, if there, is the address at which it arrived.
/// 4. `InResponseTo` is the request.
/// 5. `Status` is success.
struct ResponseRules {
    let settings: SAMLSettings

    func judge(_ response: XMLElement, requestID: String) throws(DiagnosedError) {
        guard response[attribute: "Version"] == "2.0" else {
            throw .saml(.samlMalformed, "the response is not SAML 2.0")
        }
        if let issuer = response.elements(.assertion("Issuer")).first {
            guard issuer.plainText == settings.providerID else {
                throw .saml(.samlIssuer, "the response is of another provider", expected: settings.providerID)
            }
        }
        if let destination = response[attribute: "Destination"] {
            guard destination == settings.consumer else {
                throw .saml(.samlRecipient, "the response is for another address", expected: settings.consumer)
            }
        }
        guard response[attribute: "InResponseTo"] == requestID else {
            throw .saml(.samlRequest, "the response is not to this request")
        }
        let code = response.only(.samlProtocol("Status"))?.only(.samlProtocol("StatusCode"))
        guard let value = code?[attribute: "Value"] else { throw .saml(.samlMalformed, "the response has no status") }
        guard value == SAMLNames.success else {
            let inner = code?.only(.samlProtocol("StatusCode"))?[attribute: "Value"]
            throw .saml(
                .samlStatus, "the provider says that nobody signed in", expected: "Success",
                found: Self.known(inner) ?? Self.known(value) ?? "another status")
        }
    }

    /// The end of a status of the standard; others are not repeated.
    private static func known(_ status: String?) -> String? {
        let prefix = "urn:oasis:names:tc:SAML:2.0:status:"
        guard let status, status.hasPrefix(prefix), status.utf8.count < 80 else { return nil }
        let name = status.dropFirst(prefix.count)
        return name.utf8.allSatisfy { $0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x7A } ? String(name) : nil
    }
}

import Cryptography
import WireText

/// The messages that this service makes. Every value is escaped here.
enum SAMLMessages {
    static func request(_ settings: SAMLSettings, id: String, now: Timestamp) -> String {
        let format = settings.nameFormat.map { " Format=\"\(escape($0))\"" } ?? ""
        return head("AuthnRequest", id, now, to: settings.signOn)
            + " AssertionConsumerServiceURL=\"\(escape(settings.consumer))\" ProtocolBinding=\"\(SAMLNames.post)\">"
            + issuer(settings) + "<samlp:NameIDPolicy AllowCreate=\"true\"\(format)/></samlp:AuthnRequest>"
    }

    static func logoutRequest(
        _ settings: SAMLSettings, to url: String, id: String, _ name: SAMLNameID, session: String?, now: Timestamp
    ) -> String {
        func attribute(_ key: String, _ value: String?) -> String {
            value.map { " \(key)=\"\(escape($0))\"" } ?? ""
        }
        return head("LogoutRequest", id, now, to: url)
            + " NotOnOrAfter=\"\(time(now.adding(seconds: 300)))\">" + issuer(settings)
            + "<saml:NameID\(attribute("Format", name.format))\(attribute("NameQualifier", name.qualifier))"
            + "\(attribute("SPNameQualifier", name.serviceQualifier))>\(escape(name.value))</saml:NameID>"
            + (session.map { "<samlp:SessionIndex>\(escape($0))</samlp:SessionIndex>" } ?? "")
            + "</samlp:LogoutRequest>"
    }

    static func logoutResponse(
        _ settings: SAMLSettings, to url: String, id: String, inResponseTo: String, now: Timestamp
    ) -> String {
        head("LogoutResponse", id, now, to: url) + " InResponseTo=\"\(escape(inResponseTo))\">" + issuer(settings)
            + "<samlp:Status><samlp:StatusCode Value=\"\(SAMLNames.success)\"/></samlp:Status></samlp:LogoutResponse>"
    }

    /// What a provider has to know of this service (SAML Metadata 2.0), for all providers together.
    static func metadata(
        entityID: String, consumers: [(consumer: String, logout: String)], certificate: Certificate?, signs: Bool
    ) -> String {
        let key =
            certificate.map {
                "<md:KeyDescriptor use=\"signing\"><ds:KeyInfo xmlns:ds=\"\(SAMLNames.signature)\"><ds:X509Data>"
                    + "<ds:X509Certificate>\(Base64.encode($0.der))</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
                    + "</md:KeyDescriptor>"
            } ?? ""
        let logouts = consumers.flatMap { pair in
            [SAMLNames.redirect, SAMLNames.post].map {
                "<md:SingleLogoutService Binding=\"\($0)\" Location=\"\(escape(pair.logout))\"/>"
            }
        }
        let services = consumers.enumerated().map { index, pair in
            "<md:AssertionConsumerService Binding=\"\(SAMLNames.post)\" Location=\"\(escape(pair.consumer))\" "
                + "index=\"\(index)\"\(index == 0 ? " isDefault=\"true\"" : "")/>"
        }
        return "<md:EntityDescriptor xmlns:md=\"\(SAMLNames.metadata)\" entityID=\"\(escape(entityID))\">"
            + "<md:SPSSODescriptor AuthnRequestsSigned=\"\(signs)\" WantAssertionsSigned=\"true\" "
            + "protocolSupportEnumeration=\"\(SAMLNames.samlProtocol)\">" + key + logouts.joined() + services.joined()
            + "</md:SPSSODescriptor></md:EntityDescriptor>"
    }

    private static func head(_ name: String, _ id: String, _ now: Timestamp, to url: String) -> String {
        "<samlp:\(name) xmlns:samlp=\"\(SAMLNames.samlProtocol)\" xmlns:saml=\"\(SAMLNames.assertion)\" "
            + "ID=\"\(escape(id))\" Version=\"2.0\" IssueInstant=\"\(time(now))\" Destination=\"\(escape(url))\""
    }

    private static func issuer(_ settings: SAMLSettings) -> String {
        "<saml:Issuer>\(escape(settings.entityID))</saml:Issuer>"
    }

    /// Without fractions, which some providers do not read.
    private static func time(_ time: Timestamp) -> String {
        time.iso8601.prefix(19) + "Z"
    }

    static func escape(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "\t": result += "&#9;"
            case "\n": result += "&#10;"
            case "\r": result += "&#13;"
            case "\u{00}"..."\u{1F}": result += "\u{FFFD}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}

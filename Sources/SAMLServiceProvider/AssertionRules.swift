import Diagnostics
import WireText

/// Whether a signed assertion lets somebody in here and now (SAML Core 2.0, section 2; Profiles 2.0, section 4.1.4.3).
///
/// Rules, in this order:
/// 1. `Version` is 2.0, it has an `ID`, and `Issuer` is the provider.
/// 2. `Subject` has one `NameID` of text alone.
/// 3. One of its bearer confirmations is for this address and this request, has an end that has not come, and no begin.
/// 4. `Conditions` are there: their times hold, each `AudienceRestriction` names this service and there is one, and there
///    is no condition that this service does not know.
/// 5. An `AuthnStatement` says when somebody signed in, which is not in the future, and that session has not ended.
/// 6. It does not count for longer than a day, so that its id need not be kept for long.
/// 7. It names a subject that is stable: a transient name identifier only with an attribute that is.
///
/// Times may differ by `leeway`. That it counts once is for the caller to see to.
struct AssertionRules {
    let settings: SAMLSettings
    let now: Timestamp

    static let longestLife: Int64 = 86_400

    func judge(_ assertion: XMLElement, requestID: String) throws(DiagnosedError) -> SAMLIdentity {
        guard assertion[attribute: "Version"] == "2.0", let id = assertion[attribute: "ID"], id.utf8.count <= 256 else {
            throw .saml(.samlMalformed, "the assertion is not SAML 2.0")
        }
        guard let issuer = assertion.only(.assertion("Issuer")), issuer.plainText == settings.providerID,
            issuer[attribute: "Format"].map({ $0 == SAMLNames.entity }) ?? true
        else { throw .saml(.samlIssuer, "the assertion is of another provider", expected: settings.providerID) }
        guard let subject = assertion.only(.assertion("Subject")) else {
            throw .saml(.samlSubject, "the assertion has no subject")
        }
        guard let element = subject.only(.assertion("NameID")), let name = SAMLNameID(element) else {
            throw .saml(.samlSubject, "the subject has no name identifier of text alone")
        }
        let ends = try confirmation(subject, requestID)
        try conditions(assertion)
        let session = try session(assertion)
        guard let issued = try time(assertion, "IssueInstant"), issued <= now.adding(seconds: settings.leeway) else {
            throw .saml(.samlNotYetValid, "the assertion is from the future", hint: "compare the clocks")
        }
        guard ends <= now.adding(seconds: Self.longestLife) else {
            throw .saml(.samlExpired, "the assertion counts for too long", expected: "at most a day")
        }
        return SAMLIdentity(
            subject: try stable(name, assertion), nameID: name,
            address: try value(settings.addressAttributes, assertion)
                ?? (name.format == SAMLNames.emailAddress ? name.value : nil),
            name: try value(settings.nameAttributes, assertion), session: session, assertionID: id,
            assertionExpires: ends.adding(seconds: settings.leeway))
    }

    /// When the confirmation that holds ends. Of several the last reason is told.
    private func confirmation(_ subject: XMLElement, _ requestID: String) throws(DiagnosedError) -> Timestamp {
        var failure = DiagnosedError.saml(.samlSubject, "the subject has no bearer confirmation")
        for confirmation in subject.elements(.assertion("SubjectConfirmation")) {
            guard confirmation[attribute: "Method"] == SAMLNames.bearer,
                let data = confirmation.only(.assertion("SubjectConfirmationData"))
            else { continue }
            do throws(DiagnosedError) {
                guard data[attribute: "Recipient"] == settings.consumer else {
                    throw .saml(.samlRecipient, "the assertion is for another address", expected: settings.consumer)
                }
                guard data[attribute: "InResponseTo"] == requestID else {
                    throw .saml(.samlRequest, "the assertion is not to this request")
                }
                guard data[attribute: "NotBefore"] == nil, let end = try time(data, "NotOnOrAfter") else {
                    throw .saml(.samlSubject, "the confirmation has to have an end, and no begin")
                }
                guard now < end.adding(seconds: settings.leeway) else { throw expired(end) }
                return end
            } catch {
                failure = error
            }
        }
        throw failure
    }

    private func conditions(_ assertion: XMLElement) throws(DiagnosedError) {
        guard let conditions = assertion.only(.assertion("Conditions")) else {
            throw .saml(.samlAudience, "the assertion has no conditions")
        }
        if let begin = try time(conditions, "NotBefore"), now.adding(seconds: settings.leeway) < begin {
            throw .saml(
                .samlNotYetValid, "the assertion is not valid yet", found: begin.iso8601,
                hint: "compare the clocks of both machines")
        }
        if let end = try time(conditions, "NotOnOrAfter"), now >= end.adding(seconds: settings.leeway) {
            throw expired(end)
        }
        var audiences = 0
        for condition in conditions.elements {
            switch condition.name {
            case .assertion("AudienceRestriction"):
                audiences += 1
                guard condition.elements(.assertion("Audience")).contains(where: { $0.plainText == settings.entityID })
                else {
                    throw .saml(.samlAudience, "the assertion is for another service", expected: settings.entityID)
                }
            // Each assertion counts once here anyway; and nothing is passed on.
            case .assertion("OneTimeUse"), .assertion("ProxyRestriction"): break
            default: throw .saml(.samlUnsupported, "the assertion has a condition that is not known here")
            }
        }
        guard audiences > 0 else { throw .saml(.samlAudience, "the assertion does not say for whom it is") }
    }

    private func session(_ assertion: XMLElement) throws(DiagnosedError) -> String? {
        guard let statement = assertion.elements(.assertion("AuthnStatement")).first else {
            throw .saml(.samlSubject, "the assertion does not say that somebody signed in")
        }
        guard let instant = try time(statement, "AuthnInstant"), instant <= now.adding(seconds: settings.leeway) else {
            throw .saml(.samlNotYetValid, "somebody signed in in the future", hint: "compare the clocks")
        }
        if let end = try time(statement, "SessionNotOnOrAfter"), now >= end.adding(seconds: settings.leeway) {
            throw expired(end)
        }
        return statement[attribute: "SessionIndex"].flatMap { (1...255).contains($0.utf8.count) ? $0 : nil }
    }

    private func stable(_ name: SAMLNameID, _ assertion: XMLElement) throws(DiagnosedError) -> String {
        if let attribute = settings.subjectAttribute {
            guard let value = try value([attribute], assertion), value.utf8.count <= SAMLNameID.longest else {
                throw .saml(.samlSubject, "the assertion lacks the attribute that names the subject")
            }
            return value
        }
        guard name.format != SAMLNames.transient else {
            throw .saml(
                .samlSubject, "the name identifier is another one with each login",
                hint: "ask for a persistent one (name-format), or name an attribute (subject-attribute)")
        }
        return name.value
    }

    /// The value of the first attribute of these names that is there: one text, said once.
    private func value(_ names: [String], _ assertion: XMLElement) throws(DiagnosedError) -> String? {
        let attributes = assertion.elements(.assertion("AttributeStatement")).flatMap {
            $0.elements(.assertion("Attribute"))
        }
        for name in names {
            let values = attributes.filter { $0[attribute: "Name"] == name }.flatMap {
                $0.elements(.assertion("AttributeValue"))
            }
            guard let first = values.first else { continue }
            guard values.count == 1, let text = first.plainText, text.utf8.count <= 512 else {
                throw .saml(.samlSubject, "an attribute has more than one value, or no text", expected: "one text")
            }
            if !text.isEmpty { return text }
        }
        return nil
    }

    private func time(_ element: XMLElement, _ name: String) throws(DiagnosedError) -> Timestamp? {
        guard let text = element[attribute: name] else { return nil }
        guard let time = Timestamp(iso8601: text) else {
            throw .saml(.samlMalformed, "a time is not one", expected: "a date and a time with its zone as \(name)")
        }
        return time
    }

    private func expired(_ end: Timestamp) -> DiagnosedError {
        .saml(
            .samlExpired, "the assertion has expired", found: end.iso8601, hint: "compare the clocks of both machines")
    }
}

package import Cryptography
package import Diagnostics
package import WireText

/// A SAML 2.0 service provider towards one identity provider: Web Browser SSO (redirect out, POST back) and Single Logout
/// by redirect (SAML Profiles 2.0, sections 4.1 and 4.4).
///
/// Any thread. Messages are verified on threads of their own, a few at a time, for each starts xmlsec1. What has to be
/// remembered (which requests are open, which assertions came) is the caller's, who keeps it durably.
package final class SAMLServiceProvider: Sendable {
    package let settings: SAMLSettings
    private let program: XMLSecProgram
    private let logins = VerificationLanes("saml-login", count: 2, waiting: 64)
    /// Apart from logins: everybody can send a request for logout, a response only who began a login.
    private let logouts = VerificationLanes("saml-logout", count: 1, waiting: 16)
    private let now: @Sendable () -> Timestamp
    private let random: @Sendable (Int) throws -> [UInt8]

    package init(
        _ settings: SAMLSettings, program: String? = nil,
        now: @escaping @Sendable () -> Timestamp = { Timestamp.now() },
        random: @escaping @Sendable (Int) throws -> [UInt8] = { try RandomBytes.bytes($0) }
    ) {
        self.settings = settings
        self.program = XMLSecProgram(path: program ?? XMLSecProgram.standardPath, seconds: 10)
        self.now = now
        self.random = random
    }

    /// Whether signatures can be verified.
    package func check() async throws { try await logouts.run { try self.program.check() } }

    // MARK: - Login

    /// The address to send the browser to, and the id of the request, which the answer names.
    package func begin() throws -> (address: String, requestID: String) {
        let id = try identifier()
        let message = SAMLMessages.request(settings, id: id, now: now())
        return (
            try RedirectBinding.address(.request, message, to: settings.signOn, key: settings.signingKey), id
        )
    }

    /// An answer as it came, nothing of which is believed yet.
    package struct Answer: Sendable {
        /// To which request it says that it is the answer.
        package let requestID: String
        let octets: [UInt8]
        let root: XMLElement
    }

    /// Reads the form field `SAMLResponse`: to find the request, never to believe it.
    package func read(_ field: String) throws(DiagnosedError) -> Answer {
        guard field.utf8.count <= 2 * XMLReading.maximumBytes,
            let octets = Base64.decode(field.filter { !$0.isWhitespace })
        else { throw .saml(.samlMalformed, "the message is not base64, or too long") }
        let root = try XMLReading.parse(octets)
        guard let id = root[attribute: "InResponseTo"], (1...128).contains(id.utf8.count) else {
            throw .saml(
                .samlRequest, "the response is to no request", expected: "InResponseTo",
                hint: "start in the application: a sign-in that begins at the provider does not count here")
        }
        return Answer(requestID: id, octets: octets, root: root)
    }

    /// Believes the answer to a request of this service, or throws. That the assertion counts once is for the caller to see
    /// to, by `assertionID`.
    package func finish(_ answer: Answer, requestID: String) async throws -> SAMLIdentity {
        let rules = ResponseRules(settings: settings)
        try rules.judge(answer.root, requestID: requestID)
        let places = try SignaturePlaces(response: answer.root)
        let assertion = try await logins.run { () throws -> XMLElement in
            let signed = SignedElement(program: self.program, certificates: self.settings.certificates)
            let response = try places.ofRoot.map { try signed.read(answer.octets, $0) }
            if let response { try rules.judge(response, requestID: requestID) }
            if let place = places.ofAssertion { return try signed.read(answer.octets, place) }
            guard let assertion = response?.only(.assertion("Assertion")) else {
                throw DiagnosedError.saml(.samlSignature, "the signed response has no assertion")
            }
            return assertion
        }
        return try AssertionRules(settings: settings, now: now()).judge(assertion, requestID: requestID)
    }

    // MARK: - Logout

    /// Where a browser is sent to be signed out at the provider as well; nil when that can not be: no address there, or no
    /// key here, without which nobody has to believe it.
    package func endSession(_ name: SAMLNameID, session: String?) throws -> String? {
        guard let url = settings.logout, let key = settings.signingKey else { return nil }
        let message = SAMLMessages.logoutRequest(
            settings, to: url, id: try identifier(), name, session: session, now: now())
        return try RedirectBinding.address(.request, message, to: url, key: key)
    }

    /// A provider's word that somebody is signed out there.
    package struct LogoutNotice: Sendable, Equatable {
        /// Counts once, until `expires`.
        package let id: String
        package let expires: Timestamp
        package let nameID: SAMLNameID
        package let session: String?
    }

    /// A `LogoutRequest` by redirect, with its signature over the query.
    package func logout(query: [UInt8]) throws(DiagnosedError) -> LogoutNotice {
        let octets = try RedirectBinding.message(.request, query: query, keys: settings.certificates.map(\.publicKey))
        return try notice(try XMLReading.parse(octets))
    }

    /// A `LogoutRequest` by POST, with an XML signature.
    package func logout(field: String) async throws -> LogoutNotice {
        guard field.utf8.count <= 2 * XMLReading.maximumBytes,
            let octets = Base64.decode(field.filter { !$0.isWhitespace })
        else { throw DiagnosedError.saml(.samlMalformed, "the message is not base64, or too long") }
        let root = try XMLReading.parse(octets)
        guard root.name == .samlProtocol("LogoutRequest"), let place = try SignaturePlaces(message: root).ofRoot else {
            throw DiagnosedError.saml(.samlMalformed, "the message is no request for logout")
        }
        let signed = try await logouts.run {
            try SignedElement(program: self.program, certificates: self.settings.certificates).read(octets, place)
        }
        return try notice(signed)
    }

    /// The answer to the provider: the address to send the browser back to.
    package func logoutAnswer(to notice: LogoutNotice, relayState: String?) throws -> String? {
        guard let url = settings.logout else { return nil }
        let message = SAMLMessages.logoutResponse(
            settings, to: url, id: try identifier(), inResponseTo: notice.id, now: now())
        return try RedirectBinding.address(
            .response, message, to: url, relayState: relayState, key: settings.signingKey)
    }

    /// Whether a verified request for logout counts: it is this provider's, for this address, and fresh.
    private func notice(_ request: XMLElement) throws(DiagnosedError) -> LogoutNotice {
        guard request.name == .samlProtocol("LogoutRequest"), request[attribute: "Version"] == "2.0",
            let id = request[attribute: "ID"], (1...256).contains(id.utf8.count)
        else { throw .saml(.samlMalformed, "the message is no request for logout") }
        guard request.only(.assertion("Issuer"))?.plainText == settings.providerID else {
            throw .saml(.samlIssuer, "the request is of another provider", expected: settings.providerID)
        }
        guard request[attribute: "Destination"] == settings.logoutConsumer else {
            throw .saml(.samlRecipient, "the request is for another address", expected: settings.logoutConsumer)
        }
        let now = now()
        guard let issued = request[attribute: "IssueInstant"].flatMap({ Timestamp(iso8601: $0) }),
            issued <= now.adding(seconds: settings.leeway), now < issued.adding(seconds: 300 + settings.leeway)
        else { throw .saml(.samlExpired, "the request is not of now", expected: "at most five minutes old") }
        if let text = request[attribute: "NotOnOrAfter"] {
            guard let end = Timestamp(iso8601: text), now < end.adding(seconds: settings.leeway) else {
                throw .saml(.samlExpired, "the request has expired")
            }
        }
        guard let name = request.only(.assertion("NameID")).flatMap(SAMLNameID.init) else {
            throw .saml(.samlSubject, "the request does not name whom it is about")
        }
        let sessions = request.elements(.samlProtocol("SessionIndex")).compactMap(\.plainText)
        // More than one session: all of the subject's, which errs on the side of signing in again.
        return LogoutNotice(
            id: id, expires: issued.adding(seconds: 300 + 2 * settings.leeway), nameID: name,
            session: sessions.count == 1 ? sessions[0] : nil)
    }

    // MARK: -

    /// Metadata of this service for all its providers.
    package static func metadata(_ providers: [SAMLServiceProvider], certificate: Certificate?) -> String? {
        guard let first = providers.first else { return nil }
        return SAMLMessages.metadata(
            entityID: first.settings.entityID,
            consumers: providers.map { ($0.settings.consumer, $0.settings.logoutConsumer) }, certificate: certificate,
            signs: first.settings.signingKey != nil)
    }

    /// An `xs:ID` of 160 random bits.
    private func identifier() throws -> String { "_" + Hexadecimal.encode(try random(20)) }
}

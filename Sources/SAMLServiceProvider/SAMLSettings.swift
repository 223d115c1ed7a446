package import Cryptography

/// What a service provider has to know of one SAML identity provider and of itself: the checked form of its configuration.
package struct SAMLSettings: Sendable {
    /// Of the provider, as it writes it in `Issuer`.
    package var providerID: String
    /// Where AuthnRequests go (HTTP-Redirect).
    package var signOn: String
    /// Where logout messages go (HTTP-Redirect); nil: there is none.
    package var logout: String?
    /// Of the keys that may have signed; more than one while the provider changes them. Nothing else of them is looked at.
    package var certificates: [Certificate]

    /// Of this service.
    package var entityID: String
    /// `AssertionConsumerServiceURL`, of this provider alone.
    package var consumer: String
    package var logoutConsumer: String
    /// Signs what goes to the provider; nil: AuthnRequests go unsigned and logout does not go there.
    package var signingKey: PrivateKey?

    /// `Format` to ask for; nil: the provider decides.
    package var nameFormat: String?
    /// The attribute that names a person for ever; nil: the name identifier.
    package var subjectAttribute: String?
    package var addressAttributes = [
        "urn:oid:0.9.2342.19200300.100.1.3", "mail", "email", "emailAddress",
        "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
    ]
    package var nameAttributes = [
        "urn:oid:2.16.840.1.113730.3.1.241", "displayName",
        "http://schemas.microsoft.com/identity/claims/displayname",
    ]
    /// Seconds by which the clocks may differ.
    package var leeway: Int64 = 60

    package init(
        providerID: String, signOn: String, certificates: [Certificate], entityID: String, consumer: String,
        logoutConsumer: String
    ) {
        self.providerID = providerID
        self.signOn = signOn
        self.certificates = certificates
        self.entityID = entityID
        self.consumer = consumer
        self.logoutConsumer = logoutConsumer
    }
}

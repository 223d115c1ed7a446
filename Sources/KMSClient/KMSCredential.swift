package import Cryptography
package import Diagnostics

/// Who asks the KMS: the user, the device, and the access token that proves it.
package struct KMSCredential: Sendable {
    /// URL of the device, stored on keys that it creates.
    package var clientID: String
    package var userID: String
    /// The token for the KMS, not the one for the cloud; nil only between two KMSs.
    package var bearer: Redacted<String>?
    /// What the user's own issuer says to another organisation's KMS; the own KMS hands it on.
    package var assertion: Redacted<String>?
    /// Whose rights count, for agents of the organisation.
    package var onBehalfOf: String?
    /// The matter for which somebody acts on behalf of another.
    package var matter: String?
    /// Of a service whose tokens are bound to it.
    package var serviceKey: ServiceKey?

    package init(
        clientID: String, userID: String, bearer: Redacted<String>?, onBehalfOf: String? = nil,
        serviceKey: ServiceKey? = nil
    ) {
        self.clientID = clientID
        self.userID = userID
        self.bearer = bearer
        self.onBehalfOf = onBehalfOf
        self.serviceKey = serviceKey
    }
}

/// The key that a service registered at the authorization service (`hds-auth add-service --key`): its tokens are worth
/// nothing without it. RSA or P-256.
package struct ServiceKey: Sendable {
    let privateKey: PrivateKey
    /// Leaf first; may be empty.
    let chain: [Certificate]

    package init(_ privateKey: PrivateKey, chain: [Certificate] = []) {
        self.privateKey = privateKey
        self.chain = chain
    }

    /// What is registered.
    package var publicKey: PublicKey { privateKey.publicKey }
}

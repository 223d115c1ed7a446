package import Diagnostics

/// Who asks the KMS: the user, the device, and the access token that proves it.
package struct KMSCredential: Sendable {
    /// URL of the device, stored on keys that it creates.
    package var clientID: String
    package var userID: String
    /// The token for the KMS, not the one for the cloud.
    package var bearer: Redacted<String>
    /// Whose rights count, for agents of the organisation.
    package var onBehalfOf: String?

    package init(clientID: String, userID: String, bearer: Redacted<String>, onBehalfOf: String? = nil) {
        self.clientID = clientID
        self.userID = userID
        self.bearer = bearer
        self.onBehalfOf = onBehalfOf
    }
}

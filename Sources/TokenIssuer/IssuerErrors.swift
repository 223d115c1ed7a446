package import Diagnostics

// The errors of this module.
extension DiagnosedError.Code {
    /// The service can not do its own work.
    package static let selfTest: Self = "auth-self-test"
    /// A file or folder of the service can not be used: missing, unreadable, or open to others.
    package static let fileAccess: Self = "file-access"
    /// The database of codes and refresh tokens can not be used.
    package static let grantStore: Self = "grant-store"
    /// The file with the signing keys is damaged.
    package static let signingKeyFile: Self = "signing-key-file"
    /// The accounts file can not be used as it is.
    package static let accountsFile: Self = "accounts-file"
}

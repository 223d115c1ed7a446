package import Diagnostics

extension DiagnosedError.Code {
    /// A sealed record does not open: it was changed, or belongs elsewhere.
    package static let sealBroken: Self = "seal-broken"

    // The file of the key-encryption key.
    package static let masterKeyMissing: Self = "master-key-missing"
    package static let masterKeyUnreadable: Self = "master-key-unreadable"
    package static let masterKeyUnwritable: Self = "master-key-unwritable"
    package static let masterKeyPermissions: Self = "master-key-permissions"
    /// Not a key file, or one of another format.
    package static let masterKeyMalformed: Self = "master-key-malformed"
    package static let masterKeyTruncated: Self = "master-key-truncated"
    /// Key and fingerprint do not belong together.
    package static let masterKeyDamaged: Self = "master-key-damaged"
    package static let masterKeyExists: Self = "master-key-exists"

    // The root keys in the store.
    /// The store's root keys are wrapped by another key-encryption key.
    package static let masterKeyMismatch: Self = "master-key-mismatch"
    package static let rootKeyMissing: Self = "root-key-missing"
    package static let rootKeyDamaged: Self = "root-key-damaged"
    /// A record was sealed under a root key version that the store does not have.
    package static let rootKeyUnknown: Self = "root-key-unknown"
    /// The states of root keys in their table are not those of the sealed journal.
    package static let rootKeysChanged: Self = "root-keys-changed"

    /// A session record whose KEK is gone: the session can not be resumed, as after a restore from a backup.
    package static let sessionKEKDestroyed: Self = "session-kek-destroyed"
}

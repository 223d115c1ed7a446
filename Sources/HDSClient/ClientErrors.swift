package import Diagnostics
import KMSClient

/// Codes of what can go wrong in the client, by where it happens.
extension DiagnosedError.Code {
    // Domain and pins
    package static let profileInvalid: Self = "profile-invalid"
    /// A value of the domain is not the pinned one.
    package static let domainChanged: Self = "domain-changed"
    /// The first contact with a domain was not confirmed.
    package static let domainUnconfirmed: Self = "domain-unconfirmed"
    package static let urlInvalid: Self = "url-invalid"

    // Login
    package static let loginRefused: Self = "login-refused"
    package static let loginPage: Self = "login-page"
    package static let loginRedirect: Self = "login-redirect"
    package static let tokenRefused: Self = "token-refused"
    package static let notLoggedIn: Self = "not-logged-in"
    package static let loginTimeout: Self = "login-timeout"
    /// The customer's authorization service wants this client to erase what it keeps.
    package static let wipeOrdered: Self = "wipe-ordered"
    /// It has.
    package static let deviceWiped: Self = "device-wiped"
    /// The domain does not let its users' clients do that.
    package static let clientPolicy: Self = "client-policy"

    // State on disk
    package static let stateUnreadable: Self = "state-unreadable"
    package static let stateFile: Self = "state-file"
    package static let stateLocked: Self = "state-locked"
    package static let deviceKey: Self = "device-key"
    package static let passphraseWrong: Self = "passphrase-wrong"
    package static let passphraseTooSoon: Self = "passphrase-too-soon"
    package static let passphraseNeeded: Self = "passphrase-needed"

    // Spaces
    package static let messageUnknown: Self = "message-unknown"

    // Cloud
    package static let cloudRefused: Self = "cloud-refused"
    package static let cloudAnswer: Self = "cloud-answer"
    package static let cloudForbidden: Self = "cloud-forbidden"
    package static let cloudNotFound: Self = "cloud-not-found"
    /// Something with that name or in that state is there already.
    package static let cloudConflict: Self = "cloud-conflict"
    package static let cloudUnavailable: Self = "cloud-unavailable"
    package static let eventSocket: Self = "event-socket"
    package static let eventSocketReplaced: Self = "event-socket-replaced"

    // KMS
    package static let kmsUnavailable: Self = "kms-unavailable"

    // Spaces
    package static let spaceUnknown: Self = "space-unknown"
    package static let spaceAmbiguous: Self = "space-ambiguous"
    package static let spaceChanged: Self = "space-changed"
    /// Only its moderators may do that.
    package static let spaceModerated: Self = "space-moderated"
    package static let spaceUnfinished: Self = "space-unfinished"
    package static let keyOfAnotherSpace: Self = "key-of-another-space"
    package static let keyDueForRotation: Self = "key-due-for-rotation"
    package static let personUnknown: Self = "person-unknown"
    package static let personChanged: Self = "person-changed"
    package static let textTooLong: Self = "text-too-long"
    package static let meetingUnknown: Self = "meeting-unknown"
    /// A meeting is another by now than the user saw.
    package static let meetingChanged: Self = "meeting-changed"
    /// The connector does not do what was asked.
    package static let calendarRefused: Self = "calendar-refused"
    package static let calendarNotReady: Self = "calendar-not-ready"
    /// The core names a key that is not that of the user's calendar.
    package static let calendarKeyForeign: Self = "calendar-key-foreign"
    package static let joinHostRefused: Self = "join-host-refused"
    package static let fileUnknown: Self = "file-unknown"
    package static let fileAmbiguous: Self = "file-ambiguous"
    package static let fileUnusable: Self = "file-unusable"
    package static let fileExists: Self = "file-exists"
}

extension DiagnosedError {
    /// The diagnosis of whatever the client throws; nil for a cancellation and for what is not of this module.
    package static func diagnosing(_ error: any Error) -> DiagnosedError? {
        (error as? KMSRefusal)?.diagnosed ?? error as? DiagnosedError
    }
}

import CalendarProtocol
import KMSClient
import Diagnostics
import Glibc
import HDSClient
import WireText

/// An error as the command ends with it: clear lines or one JSON object on standard error, and an exit code.
struct Failure: Error {
    let error: DiagnosedError
    let asJSON: Bool

    init(_ error: DiagnosedError, asJSON: Bool = false) {
        self.error = error
        self.asJSON = asJSON
    }

    func report() {
        if asJSON {
            var json = JSONWriter()
            json.beginObject()
            json.member("error", error.code.rawValue)
            json.member("summary", error.summary)
            json.member("expected", ifPresent: error.expected)
            json.member("found", ifPresent: error.found)
            json.member("hint", ifPresent: error.hint)
            json.endObject()
            Terminal.error.line(json.text())
            return
        }
        Terminal.error.line(Terminal.error.styled("hds: ", .red, .bold) + Terminal.error.clean(error.summary))
        if let expected = error.expected { Terminal.error.line("  expected: " + Terminal.error.clean(expected)) }
        if let found = error.found { Terminal.error.line("  found:    " + Terminal.error.clean(found)) }
        if let hint = error.hint { Terminal.error.line("  " + Terminal.error.clean(hint)) }
    }

    /// The numbers of sysexits.h where one fits.
    var exitCode: Int32 {
        switch error.code {
        case .kmsForbidden, .kmsNotFound, .kmsUnauthorized, .cloudForbidden, .cloudNotFound, .notLoggedIn,
            .loginRefused, .calendarRefused,
            .tokenRefused, .passphraseWrong, .passphraseNeeded, .kmsMasterKeyRevoked, .clientPolicy, .deviceWiped,
            .spaceModerated:
            77
        case .contentUnreadable, .keyOfAnotherSpace, .keyDueForRotation, .spaceChanged, .personChanged, .kmsMismatch,
            .kmsReflected, .kmsForeignAnswer, .kmsSignature, .kmsMalformedAnswer, .kmsSession, .loginPage,
            .loginRedirect, .calendarKeyForeign, .joinHostRefused, .calendarWire:
            65
        case .spaceUnknown, .spaceAmbiguous, .personUnknown, .meetingUnknown, .fileUnknown, .fileAmbiguous,
            .fileUnusable:
            66
        case .cloudUnavailable, .kmsNoAnswer, .kmsUnavailable, .eventSocket, .loginTimeout, .calendarNotReady:
            69
        case .fileExists: 73
        case .stateLocked, .passphraseTooSoon, .kmsTooFast, .eventSocketReplaced, .meetingChanged: 75
        case .domainChanged, .domainUnconfirmed, .profileInvalid, .kmsDetails, .kmsHostMismatch, .kmsUntrusted,
            .stateUnreadable, .stateFile, .deviceKey:
            78
        default: error.code.rawValue.hasPrefix("tls-") ? 78 : 1
        }
    }
}

import Diagnostics
import DomainPolicy
import WireText

// What the policy of the domain refuses on this device.
extension ClientPolicy {
    func check(isProtected: Bool) throws(DiagnosedError) {
        guard needsPassphrase, !isProtected else { return }
        throw DiagnosedError(
            .clientPolicy, fault: .client, "your domain demands a passphrase on this device", found: "none",
            hint: "set one with 'hds passphrase set', then do this again")
    }

    /// Whether a login that was last used then is over. A clock that was set back does not lengthen it.
    func isOver(lastUsed: Timestamp, now: Timestamp) -> Bool {
        guard let idle else { return false }
        return abs(now.milliseconds - lastUsed.milliseconds) > idle * 1000
    }

    func checkUpload() throws(DiagnosedError) {
        if !allowsUploads { throw Self.forbidden("does not let this client send files") }
    }

    func checkDownload() throws(DiagnosedError) {
        if !allowsDownloads { throw Self.forbidden("does not let this client save files") }
    }

    private static func forbidden(_ what: String) -> DiagnosedError {
        DiagnosedError(.clientPolicy, fault: .client, "your domain \(what)", hint: "ask your administrator")
    }
}

package import Diagnostics
package import WireText

/// What the domain demands of its users' devices: with every token that its authorization service gives (member
/// `client_policy`), so that a change counts with the next renewal, and the core can neither add nor take away anything.
///
/// This client keeps to it. That another program does so can nobody enforce (docs/client.md).
package struct ClientPolicy: Sendable, Equatable {
    /// The state has to be protected by a passphrase.
    package var needsPassphrase = false
    /// Seconds without use after which login, session and keys are forgotten; nil: never.
    package var idle: Int64?
    package var allowsUploads = true
    package var allowsDownloads = true

    package init() {}

    static let idleRange: ClosedRange<Int64> = 60...31_536_000

    /// Members that this version does not know are left alone: a later service may demand more.
    package init(_ root: JSONNode) throws(DiagnosedError) {
        guard root.members != nil else { throw Self.malformed("client_policy", "an object") }
        func flag(_ name: String, _ usual: Bool) throws(DiagnosedError) -> Bool {
            guard let node = root[name] else { return usual }
            guard let flag = node.boolean else { throw Self.malformed(name, "true or false") }
            return flag
        }
        needsPassphrase = try flag("passphrase", false)
        allowsUploads = try flag("uploads", true)
        allowsDownloads = try flag("downloads", true)
        if let node = root["idle_seconds"] {
            guard let seconds = node.integer, Self.idleRange.contains(seconds) else {
                throw Self.malformed("idle_seconds", "\(Self.idleRange.lowerBound) to \(Self.idleRange.upperBound)")
            }
            idle = seconds
        }
    }

    package func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("passphrase", needsPassphrase)
        if let idle { json.member("idle_seconds", idle) }
        json.member("uploads", allowsUploads)
        json.member("downloads", allowsDownloads)
        json.endObject()
    }

    /// What it demands, in words; empty: nothing.
    package var demands: [String] {
        var words: [String] = []
        if needsPassphrase { words.append("a passphrase") }
        if let idle {
            words.append("logged out after \(idle % 60 == 0 ? "\(idle / 60) min" : "\(idle) s") without use")
        }
        if !allowsUploads { words.append("no file is sent") }
        if !allowsDownloads { words.append("no file is saved") }
        return words
    }

    // MARK: What it refuses

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

    private static func malformed(_ name: String, _ expected: String) -> DiagnosedError {
        DiagnosedError(
            .tokenRefused, fault: .peer, "the authorization service's policy for clients can not be used: \(name)",
            expected: expected, hint: "tell your administrator; a newer hds may understand it")
    }
}

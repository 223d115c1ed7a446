package import Diagnostics
package import WireText

/// What a domain demands of its users' devices. Its authorization service tells it with every token (member `client_policy`), so
/// that a change counts with the next renewal, and the core can neither add nor take away anything.
///
/// `hds` keeps to it. That another program does so can nobody enforce (docs/client.md).
package struct ClientPolicy: Sendable, Equatable {
    /// The state has to be protected by a passphrase.
    package var needsPassphrase = false
    /// Seconds without use after which login, session and keys are forgotten; nil: never.
    package var idle: Int64?
    package var allowsUploads = true
    package var allowsDownloads = true
    /// Whether people of other organisations are added to spaces.
    package var allowsExternals = true

    package init() {}

    package static let idleRange: ClosedRange<Int64> = 60...31_536_000

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
        allowsExternals = try flag("externals", true)
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
        json.member("externals", allowsExternals)
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
        if !allowsExternals { words.append("nobody of another organisation is added to a space") }
        return words
    }

    private static func malformed(_ name: String, _ expected: String) -> DiagnosedError {
        DiagnosedError(
            .clientPolicyMalformed, fault: .peer, "the policy for clients can not be used: \(name)", expected: expected)
    }
}

extension DiagnosedError.Code {
    package static let clientPolicyMalformed: Self = "client-policy-malformed"
}

import DomainPolicy
import KMSClient
package import WireText

/// What a state holds, for showing it: nothing secret, no server asked.
package struct ClientStatus: Sendable {
    private let state: ClientState
    private let isProtected: Bool
    private let folder: String

    package init(_ state: ClientState, isProtected: Bool, folder: String) {
        self.state = state
        self.isProtected = isProtected
        self.folder = folder
    }

    package func lines(now: Timestamp) -> [(label: String, value: String)] {
        var lines: [(String, String)] = []
        switch (state.account, state.tokens) {
        case (let account?, _?): lines.append(("logged in", "\(account.name) <\(account.email)>"))
        case (let account?, nil): lines.append(("logged in", "no more: log in again as \(account.email)"))
        default: lines.append(("logged in", "nobody"))
        }
        if let session = state.session {
            let isUsable = session.isUsable(at: now)
            lines.append(
                ("session with the KMS", isUsable ? "until \(session.expires)" : "over; a new one is opened when due"))
        } else {
            lines.append(("session with the KMS", "none yet; opened when due"))
        }
        lines += (state.profile?.summary ?? []).map { ($0.label, $0.value) }
        lines.append(("kept here", "\(state.keys.count) keys, \(state.spaces.count) spaces, encrypted"))
        lines.append(
            ("protection", isProtected ? "passphrase" : "a key file of mode 0600; 'hds passphrase set' adds one"))
        if let demands = state.policy?.demands, !demands.isEmpty {
            lines.append(("your domain demands", demands.joined(separator: "; ")))
        }
        if let mark = try? WipeMark.read(folder) {
            lines.append(
                (
                    "wiped",
                    "\(mark.wiped), by your organisation\(mark.receipt == nil ? "" : "; it has not been told yet")"
                ))
        }
        lines.append(("state folder", folder))
        return lines
    }

    package func json() -> String {
        var json = JSONWriter()
        json.beginObject()
        json.member("loggedIn", state.account != nil && state.tokens != nil)
        if let account = state.account {
            json.member("id", account.id)
            json.member("email", account.email)
            json.member("name", account.name)
        }
        if let session = state.session {
            json.name("session")
            json.beginObject()
            json.member("uri", session.uri)
            json.member("expires", session.expires.iso8601)
            json.endObject()
        }
        if let profile = state.profile {
            json.name("profile")
            profile.write(to: &json)
        }
        if let policy = state.policy {
            json.name("policy")
            policy.write(to: &json)
        }
        json.member("keys", state.keys.count)
        json.member("unboundKeys", state.unboundKeys.count)
        json.member("spaces", state.spaces.count)
        json.member("devices", state.devices.count)
        json.member("passphrase", isProtected)
        json.member("folder", folder)
        json.endObject()
        return json.text()
    }
}

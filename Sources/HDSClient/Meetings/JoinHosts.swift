package import Diagnostics

/// Which hosts may stand in join details (security model, rule 33): a list of the client's own, held against the core's word
/// before anything is written into a calendar.
///
/// 1. Only `https` URLs without user information, query or fragment of another host.
/// 2. The host is equal to one on the list, to the letter: no host below it, none above.
/// 3. An entry `HOST` stands for the port 443, `HOST:PORT` for that port.
/// 4. A SIP address is of a host on the list.
package struct JoinHosts: Sendable, Equatable {
    package let entries: [String]

    /// - Parameter entries: `HOST` or `HOST:PORT`, lower case.
    package init(_ entries: [String]) { self.entries = entries }

    /// Those of the profile; without any the core's own host.
    package init(_ profile: DomainProfile) {
        guard profile.joinHosts.isEmpty else {
            self.init(profile.joinHosts)
            return
        }
        self.init(WebAddress(profile.core).map { ["\($0.host):\($0.port)"] } ?? [])
    }

    package func check(url text: String) throws(DiagnosedError) {
        guard let address = WebAddress(text), address.scheme == .https else {
            throw refusal("an https URL", text)
        }
        guard
            entries.contains("\(address.host):\(address.port)")
                || (address.port == 443 && entries.contains(address.host))
        else { throw refusal("a host of " + entries.joined(separator: ", "), text) }
    }

    package func check(sip text: String) throws(DiagnosedError) {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        let hosts = entries.map { $0.split(separator: ":").first.map(String.init) ?? "" }
        guard parts.count == 2, !parts[0].isEmpty, hosts.contains(String(parts[1])),
            parts[0].utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else { throw refusal("NAME@HOST with a host of " + entries.joined(separator: ", "), text) }
    }

    private func refusal(_ expected: String, _ found: String) -> DiagnosedError {
        DiagnosedError(
            .joinHostRefused, fault: .peer, "the core names a place for the meeting that is not on your list",
            expected: expected, found: found.loggable,
            hint:
                "nothing was written; if it is right, your administrator enters the host as joinHosts of the domain profile"
        )
    }
}

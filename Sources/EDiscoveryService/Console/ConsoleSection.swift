package import ServiceRuntime

/// The section `console`: where officers reach the page and the HTTP interface of the worker.
package struct ConsoleSection: Decodable, Sendable {
    /// Without `tls` one of this machine itself.
    package let address: NetworkAddress
    package let tls: ServerIdentitySection?
    /// How officers reach it; nil: by the address.
    package let url: WebAddress?

    package enum CodingKeys: String, CodingKey, CaseIterable { case address, tls, url }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        address = try section.value(.address)
        tls = try section.optional(.tls)
        url = try section.optional(.url)
        guard tls != nil || address.isLoopback else {
            throw section.problem(
                .address, "\(address) can be reached from other machines: give the section tls, or use 127.0.0.1")
        }
        guard url.map({ $0.scheme == .https || $0.scheme == .http }) ?? true else {
            throw section.problem(.url, "expected https://HOST or https://HOST:PORT")
        }
    }

    /// Without a stroke at its end.
    package var base: String {
        guard let url else { return (tls == nil ? "http://" : "https://") + address.description }
        return url.text.hasSuffix("/") ? String(url.text.dropLast()) : url.text
    }
}

/// A redirect URI as an administrator registered it: what a request may name (RFC 6749, section 3.1.2; RFC 8252).
///
/// Matching is by octets and exact, with one exception: a native client listens on a port that the system gave it, so
/// `http://127.0.0.1/callback` stands for every port of that address (RFC 8252, section 7.3). Names such as `localhost`
/// are refused at registration (section 8.3).
package enum RegisteredRedirect: Sendable, Hashable {
    /// `http://127.0.0.1`, any port, exactly this path and query.
    case loopback(pathAndQuery: String)
    /// Exactly this URI; `origin` is what a content security policy calls it.
    case exact(uri: String, origin: String)

    /// Why a text can not be registered, in words that follow the offending value.
    package struct Refusal: Error, Equatable {
        package let reason: String
    }

    package init(_ text: String) throws(Refusal) {
        guard text.utf8.count <= 1024, text.utf8.allSatisfy(Self.isURICharacter) else {
            throw Refusal(reason: "a URI has printable ASCII characters only, at most 1024")
        }
        guard !text.contains("#") else { throw Refusal(reason: "a redirect URI has no fragment") }
        if text.hasPrefix(Self.loopbackPrefix) {
            let rest = text.dropFirst(Self.loopbackPrefix.count)
            guard rest.hasPrefix("/") else {
                throw Refusal(reason: "write it with a path and without a port, such as http://127.0.0.1/callback")
            }
            self = .loopback(pathAndQuery: String(rest))
        } else if text.hasPrefix("https://") {
            let rest = text.dropFirst("https://".count)
            let authority = rest.prefix { $0 != "/" && $0 != "?" }
            guard Self.isAuthority(authority) else { throw Refusal(reason: "host or port is malformed") }
            self = .exact(uri: text, origin: "https://" + authority)
        } else if let colon = text.firstIndex(of: ":"), Self.isPrivateScheme(text[..<colon]) {
            self = .exact(uri: text, origin: text[..<colon] + ":")
        } else {
            throw Refusal(
                reason:
                    "allowed are https://…, http://127.0.0.1/PATH and a private scheme such as com.example.app:/PATH")
        }
    }

    /// The redirect for a URI in a request, or nil when this registration does not cover it.
    package func redirect(for requested: String) -> RedirectURI? {
        switch self {
        case .exact(let uri, let origin):
            return requested.utf8.elementsEqual(uri.utf8) ? RedirectURI(text: uri, origin: origin) : nil
        case .loopback(let pathAndQuery):
            guard requested.utf8.count <= 2048, requested.hasPrefix(Self.loopbackPrefix) else { return nil }
            var rest = requested.dropFirst(Self.loopbackPrefix.count)
            var origin = Self.loopbackPrefix
            if rest.first == ":" {
                let digits = rest.dropFirst().prefix { $0 != "/" }
                guard Self.isPort(digits) else { return nil }
                origin += ":" + digits
                rest = rest.dropFirst(digits.count + 1)
            }
            guard rest.utf8.elementsEqual(pathAndQuery.utf8) else { return nil }
            return RedirectURI(text: origin + pathAndQuery, origin: origin)
        }
    }

    /// As it is written in the accounts file.
    package var text: String {
        switch self {
        case .loopback(let pathAndQuery): Self.loopbackPrefix + pathAndQuery
        case .exact(let uri, _): uri
        }
    }

    private static let loopbackPrefix = "http://127.0.0.1"

    /// Printable ASCII without the characters that no URI has (RFC 3986, appendix A).
    private static func isURICharacter(_ byte: UInt8) -> Bool {
        byte > 0x20 && byte < 0x7F && !"\"<>\\^`{|}".utf8.contains(byte)
    }

    private static func isPort(_ text: some StringProtocol) -> Bool {
        guard text.utf8.count <= 5, text.utf8.first != UInt8(ascii: "0"), let port = UInt16(text) else { return false }
        return port > 0 && text.utf8.allSatisfy { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
    }

    /// `host` or `host:port`, without user information; the host in the characters of DNS names and IP literals.
    private static func isAuthority(_ text: some StringProtocol) -> Bool {
        var host = Substring(text)
        if host.hasPrefix("[") {
            guard let end = host.firstIndex(of: "]") else { return false }
            let rest = host[host.index(after: end)...]
            guard rest.isEmpty || (rest.hasPrefix(":") && isPort(rest.dropFirst())) else { return false }
            return host[..<end].dropFirst().utf8.allSatisfy { isHexadecimal($0) || $0 == 0x3A || $0 == 0x2E }
        }
        if let colon = host.firstIndex(of: ":") {
            guard isPort(host[host.index(after: colon)...]) else { return false }
            host = host[..<colon]
        }
        return !host.isEmpty && host.utf8.allSatisfy { isAlphanumeric($0) || $0 == 0x2D || $0 == 0x2E }
    }

    /// RFC 8252, section 7.1: a reversed domain name, so it holds a dot.
    private static func isPrivateScheme(_ text: some StringProtocol) -> Bool {
        text.contains(".") && text.first?.isLetter == true
            && text.utf8.allSatisfy { isAlphanumeric($0) || $0 == 0x2D || $0 == 0x2E || $0 == 0x2B }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) || (byte >= 0x30 && byte <= 0x39)
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x66) || (byte >= 0x30 && byte <= 0x39)
    }
}

/// Where a browser may be sent: made by matching a registration only, so that holding one is the proof.
package struct RedirectURI: Sendable, Hashable {
    package let text: String
    /// Scheme, host and port, or the private scheme with its colon: a source for `form-action`.
    package let origin: String

    fileprivate init(text: String, origin: String) {
        self.text = text
        self.origin = origin
    }

    /// The URI with these parameters added to its query (RFC 6749, section 4.1.2).
    package func appending(_ parameters: [(name: String, value: String)]) -> String {
        text + (text.contains("?") ? (text.hasSuffix("?") || text.hasSuffix("&") ? "" : "&") : "?")
            + FormParameters.encode(parameters)
    }
}

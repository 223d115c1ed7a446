import Diagnostics
import WireText

/// An absolute http or https URL, taken apart strictly (RFC 3986, without user information).
///
/// What the client compares is the origin (RFC 6454): scheme, host and port. Text of a peer becomes one of these before
/// anything is sent to it.
package struct WebAddress: Sendable, Hashable, CustomStringConvertible {
    package enum Scheme: String, Sendable { case http, https, ws, wss }

    package let scheme: Scheme
    /// Lower case.
    package let host: String
    package let port: Int
    /// Begins with `/`.
    package let path: String
    /// Without its question mark.
    package let query: String?

    /// Longest URL that is looked at, in octets.
    static let maximumLength = 4096

    /// Nil when the text is no such URL. A fragment is refused: no address here has one.
    package init?(_ text: String) {
        guard text.utf8.count <= Self.maximumLength,
            text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\\") && $0 != UInt8(ascii: "#") }),
            let colon = text.firstIndex(of: ":"), let scheme = Scheme(rawValue: text[..<colon].lowercased())
        else { return nil }
        let afterColon = text[text.index(after: colon)...]
        guard afterColon.hasPrefix("//") else { return nil }
        let rest = afterColon.dropFirst(2)
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        guard let (host, port) = Self.parse(authority: authority) else { return nil }
        let tail = rest[authority.endIndex...]
        let path = tail.prefix { $0 != "?" }
        self.scheme = scheme
        self.host = host
        self.port = port ?? Self.defaultPort(scheme)
        self.path = path.isEmpty ? "/" : String(path)
        query = path.endIndex == tail.endIndex ? nil : String(tail[tail.index(after: path.endIndex)...])
    }

    private init(origin: WebAddress, path: String, query: String?) {
        scheme = origin.scheme
        host = origin.host
        port = origin.port
        self.path = path
        self.query = query
    }

    /// Resolves the reference of a form's `action` or a header (RFC 3986, section 5.2, without dot segments).
    func resolving(_ reference: String) -> WebAddress? {
        guard reference.utf8.count <= Self.maximumLength else { return nil }
        if reference.isEmpty { return WebAddress(origin: self, path: path, query: query) }
        if let absolute = WebAddress(reference) { return absolute }
        // `//host/…` and `/\host` lead elsewhere in browsers; another scheme does too.
        guard reference.hasPrefix("/"), !reference.hasPrefix("//"),
            reference.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\\") && $0 != UInt8(ascii: "#") })
        else { return nil }
        let path = reference.prefix { $0 != "?" }
        guard !path.split(separator: "/").contains(where: { $0 == "." || $0 == ".." }) else { return nil }
        let query =
            path.endIndex == reference.endIndex ? nil : String(reference[reference.index(after: path.endIndex)...])
        return WebAddress(origin: self, path: String(path), query: query)
    }

    /// Scheme, host and port; a WebSocket has the origin of the web server it belongs to.
    package var origin: String {
        let web: Scheme =
            switch scheme {
            case .ws: .http
            case .wss: .https
            default: scheme
            }
        return "\(web.rawValue)://\(authority)"
    }

    private var authority: String { port == Self.defaultPort(scheme) ? host : "\(host):\(port)" }

    package var description: String {
        "\(scheme.rawValue)://\(authority)\(path)" + (query.map { "?" + $0 } ?? "")
    }

    /// Without TLS only this machine may be spoken to.
    package var isPrivate: Bool {
        switch scheme {
        case .https, .wss: true
        case .http, .ws: host == "localhost" || host == "[::1]" || Self.isLoopback(host)
        }
    }

    private static func isLoopback(_ host: String) -> Bool {
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }

    private static func defaultPort(_ scheme: Scheme) -> Int {
        switch scheme {
        case .http, .ws: 80
        case .https, .wss: 443
        }
    }

    private static func parse(authority: Substring) -> (String, Int?)? {
        guard !authority.contains("@") else { return nil }
        var host = authority
        var port: Int?
        if authority.hasPrefix("[") {
            guard let end = authority.firstIndex(of: "]") else { return nil }
            host = authority[...end]
            let rest = authority[authority.index(after: end)...]
            guard host.dropFirst().dropLast().utf8.allSatisfy({ isHexadecimal($0) || $0 == 0x3A || $0 == 0x2E }) else {
                return nil
            }
            if !rest.isEmpty {
                guard rest.hasPrefix(":"), let number = UInt16(rest.dropFirst()), number > 0 else { return nil }
                port = Int(number)
            }
        } else {
            if let colon = authority.firstIndex(of: ":") {
                guard let number = UInt16(authority[authority.index(after: colon)...]), number > 0 else { return nil }
                port = Int(number)
                host = authority[..<colon]
            }
            guard !host.isEmpty, host.utf8.count <= 253, host.utf8.allSatisfy(isHostCharacter) else { return nil }
        }
        return (host.lowercased(), port)
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        (byte >= 0x30 && byte <= 0x39) || (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x66)
    }

    private static func isHostCharacter(_ byte: UInt8) -> Bool {
        (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) || (byte >= 0x30 && byte <= 0x39) || byte == 0x2D || byte == 0x2E
    }
}

extension String {
    /// Text of a peer for an error or a terminal: printable ASCII only, and short.
    var loggable: String {
        let clean = String(decoding: utf8.prefix(160).map { (0x20..<0x7F).contains($0) ? $0 : 0x3F }, as: UTF8.self)
        return utf8.count > 160 ? clean + "…" : clean
    }
}

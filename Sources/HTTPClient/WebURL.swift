import Diagnostics

/// The parts of an `http`, `https`, `ws` or `wss` URL that a request needs (RFC 3986, RFC 9110 section 4.2).
struct WebURL: Sendable, Hashable {
    /// What connections are pooled by.
    struct Origin: Sendable, Hashable, CustomStringConvertible {
        let isSecure: Bool
        /// A lower-case name or an address, without brackets.
        let host: String
        let port: Int

        /// As it stands in the header field `Host`.
        var authority: String {
            let name = host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host
            return port == (isSecure ? 443 : 80) ? name : "\(name):\(port)"
        }

        var description: String { "\(host) port \(port)" }

        /// This machine only, by name or address (RFC 6761 section 6.3, RFC 1122, RFC 4291).
        var isLoopback: Bool {
            if host == "localhost" || host == "::1" { return true }
            let parts = host.split(separator: ".", omittingEmptySubsequences: false)
            return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
        }
    }

    let origin: Origin
    /// Path and query, as sent.
    let target: String

    /// - Parameters:
    ///   - schemes: the plain and the secure one, such as `http` and `https`.
    ///   - mayBePlain: whether the plain one may leave this machine.
    init(
        _ text: String, schemes: (plain: String, secure: String), mayBePlain: Bool = false
    ) throws(DiagnosedError) {
        func invalid(_ found: String) -> DiagnosedError {
            DiagnosedError(
                .httpRequestInvalid, fault: .configuration, "a URL can not be used",
                expected: "\(schemes.secure)://host[:port]/path", found: found)
        }
        guard text.utf8.count <= 8192, text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw invalid("spaces, control characters or more than 8 KiB")
        }
        guard let mark = text.firstRange(of: "://") else { throw invalid("no scheme") }
        let scheme = text[..<mark.lowerBound].lowercased()
        guard scheme == schemes.plain || scheme == schemes.secure else { throw invalid("the scheme \(scheme)") }
        let rest = text[mark.upperBound...].prefix { $0 != "#" }
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        let path = rest[authority.endIndex...]
        guard !authority.contains("@") else { throw invalid("user information") }
        let isSecure = scheme == schemes.secure
        guard let (host, port) = Self.split(authority) else { throw invalid("the authority \(authority)") }
        origin = Origin(isSecure: isSecure, host: host, port: port ?? (isSecure ? 443 : 80))
        target = path.hasPrefix("/") ? String(path) : "/" + path
        guard isSecure || mayBePlain || origin.isLoopback else {
            throw DiagnosedError(
                .httpPlainRefused, fault: .configuration, "no plain connection to another machine",
                expected: "\(schemes.secure)://", found: "\(schemes.plain)://\(origin.authority)")
        }
    }

    private static func split(_ authority: Substring) -> (host: String, port: Int?)? {
        var host = authority
        var port: Substring?
        if authority.hasPrefix("[") {
            guard let end = authority.firstIndex(of: "]") else { return nil }
            host = authority[authority.index(after: authority.startIndex)..<end]
            let tail = authority[authority.index(after: end)...]
            guard tail.isEmpty || tail.hasPrefix(":") else { return nil }
            if !tail.isEmpty { port = tail.dropFirst() }
            guard host.contains(":"), host.utf8.allSatisfy(isAddressOctet) else { return nil }
        } else {
            if let colon = authority.firstIndex(of: ":") {
                host = authority[..<colon]
                port = authority[authority.index(after: colon)...]
            }
            guard !host.isEmpty, host.utf8.count <= 253, host.utf8.allSatisfy(isNameOctet) else { return nil }
        }
        guard let port else { return (host.lowercased(), nil) }
        guard port.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(port), (1...65535).contains(number)
        else { return nil }
        return (host.lowercased(), number)
    }

    private static func isNameOctet(_ octet: UInt8) -> Bool {
        switch octet {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    private static func isAddressOctet(_ octet: UInt8) -> Bool {
        switch octet {
        case UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: ":"), UInt8(ascii: "."):
            true
        default: false
        }
    }
}

import CalendarBackend

/// Scheme, host and port.
struct CalDAVOrigin: Hashable, Sendable, CustomStringConvertible {
    let isSecure: Bool
    let host: String
    let port: Int

    var description: String {
        let usual = port == (isSecure ? 443 : 80)
        return "\(isSecure ? "https" : "http")://\(host)\(usual ? "" : ":\(port)")"
    }
}

/// An absolute URL of a calendar server: origin, and path and query as they are sent.
struct CalDAVAddress: Hashable, Sendable {
    let origin: CalDAVOrigin
    let path: String

    var url: String { origin.description + path }

    init(origin: CalDAVOrigin, path: String) {
        self.origin = origin
        self.path = path
    }

    /// Nil: no absolute http or https URL.
    init?(_ text: String) {
        guard let mark = text.firstRange(of: "://") else { return nil }
        let scheme = text[..<mark.lowerBound].lowercased()
        guard scheme == "http" || scheme == "https" else { return nil }
        let rest = text[mark.upperBound...]
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        guard !authority.isEmpty, !authority.contains("@"),
            authority.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "\\") })
        else { return nil }
        let colon = authority.lastIndex(of: ":").flatMap { authority[$0...].contains("]") ? nil : $0 }
        let port = colon.map { Int(authority[authority.index(after: $0)...]) }
        guard port == nil || port.flatMap({ $0 }).map({ (1...65535).contains($0) }) == true else { return nil }
        let host = colon.map { authority[..<$0] } ?? authority
        guard !host.isEmpty else { return nil }
        let isSecure = scheme == "https"
        origin = CalDAVOrigin(
            isSecure: isSecure, host: host.lowercased(), port: port.flatMap { $0 } ?? (isSecure ? 443 : 80))
        guard let path = Self.sendable(rest[authority.endIndex...]) else { return nil }
        self.path = path
    }

    /// Resolves what a server wrote (RFC 3986, section 5), on whatever origin it is.
    func resolve(_ reference: String) throws(CalendarError) -> CalDAVAddress {
        let violation = CalendarError.violation(
            "the calendar server names something that can not be asked for",
            expected: "a URL, or a path without '..', of at most 4 KiB")
        guard !reference.isEmpty, reference.utf8.count <= 4096 else { throw violation }
        if reference.contains("://"), let scheme = reference.firstRange(of: "://"),
            reference[..<scheme.lowerBound].allSatisfy({ $0.isASCII && ($0.isLetter || $0 == "+") })
        {
            guard let address = CalDAVAddress(reference) else { throw violation }
            return address
        }
        if reference.hasPrefix("//") {
            guard let address = CalDAVAddress((origin.isSecure ? "https:" : "http:") + reference) else {
                throw violation
            }
            return address
        }
        let base = path.prefix { $0 != "?" }
        let folder = base[...(base.lastIndex(of: "/") ?? base.startIndex)]
        guard let path = Self.sendable(reference.hasPrefix("/") ? reference[...] : (folder + reference)[...]) else {
            throw violation
        }
        return CalDAVAddress(origin: origin, path: path)
    }

    /// With what may not stand in a request line encoded; nil where a segment says "here" or "up".
    private static func sendable(_ text: Substring) -> String? {
        var result: [UInt8] = []
        let octets = Array(text.prefix { $0 != "#" }.utf8)
        for (place, octet) in octets.enumerated() {
            switch octet {
            case UInt8(ascii: "%"):
                let digits = octets[(place + 1)...].prefix(2)
                let isEscape = digits.count == 2 && digits.allSatisfy { Character(UnicodeScalar($0)).isHexDigit }
                result += isEscape ? [octet] : Array("%25".utf8)
            case 0..<0x20, 0x7F: return nil
            case 0x20, 0x22, 0x3C, 0x3E, 0x5C, 0x5E, 0x60, 0x7B, 0x7C, 0x7D, 0x80...:
                result += Array("%".utf8) + Array((octet < 16 ? "0" : "").utf8)
                result += Array(String(octet, radix: 16, uppercase: true).utf8)
            default: result.append(octet)
            }
        }
        let path = String(decoding: result, as: UTF8.self)
        let segments = path.prefix { $0 != "?" }.split(separator: "/", omittingEmptySubsequences: false)
        guard
            !segments.contains(where: { segment in
                let plain = segment.lowercased().replacing("%2e", with: ".")
                return plain == "." || plain == ".."
            })
        else { return nil }
        return path.hasPrefix("/") ? path : "/" + path
    }
}

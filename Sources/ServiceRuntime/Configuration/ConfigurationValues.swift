import Glibc

/// A setting that is written as one word and checked when the file is read.
package protocol ConfigurationValue: Decodable, Sendable {
    /// What a valid text looks like, for messages.
    static var expectation: String { get }
    /// `folder` is the one of the configuration file, from which relative paths start.
    init?(configurationText: String, folder: String)
}

extension ConfigurationValue {
    package init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        let folder = ConfigurationDecoder.folderKey.flatMap { decoder.userInfo[$0] as? String } ?? "/"
        guard let value = Self(configurationText: text, folder: folder) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "expected \(Self.expectation)"))
        }
        self = value
    }
}

/// Splits `250ms` into number and unit; nil when there is no number.
private func quantity(_ text: String) -> (number: Int64, unit: Substring)? {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    guard let number = Int64(digits) else { return nil }
    return (number, text.dropFirst(digits.count))
}

extension Duration: ConfigurationValue {
    package static var expectation: String { "a time such as 500ms, 10s, 5m, 24h or 30d" }

    package init?(configurationText text: String, folder: String) {
        guard let (number, unit) = quantity(text), number <= 1_000_000_000 else { return nil }
        switch unit {
        case "ms": self = .milliseconds(number)
        case "s": self = .seconds(number)
        case "m": self = .seconds(number * 60)
        case "h": self = .seconds(number * 3600)
        case "d": self = .seconds(number * 86_400)
        default: return nil
        }
    }
}

/// An amount of memory or disk.
package struct ByteCount: ConfigurationValue, Hashable, Comparable {
    package let bytes: Int64

    package init(bytes: Int64) { self.bytes = bytes }

    package static var expectation: String { "a size such as 512KiB, 64MiB or 10GiB" }
    package init?(configurationText text: String, folder: String) {
        guard let (number, unit) = quantity(text) else { return nil }
        let factor: Int64? =
            switch unit {
            case "B", "": 1
            case "KiB": 1 << 10
            case "MiB": 1 << 20
            case "GiB": 1 << 30
            case "TiB": 1 << 40
            default: nil
            }
        guard let factor else { return nil }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: factor)
        guard !overflow else { return nil }
        self.bytes = bytes
    }

    package static func < (left: ByteCount, right: ByteCount) -> Bool { left.bytes < right.bytes }
}

/// Host and port to listen on or to connect to: `127.0.0.1:8443`, `[::1]:8443`, `core.example.com:443`.
package struct NetworkAddress: ConfigurationValue, Hashable, CustomStringConvertible {
    /// Without brackets.
    package let host: String
    /// 0 lets the system choose.
    package let port: Int

    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    package static var expectation: String { "host:port such as 127.0.0.1:8443 or [::1]:8443" }
    package init?(configurationText text: String, folder: String) {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        var host = String(text[..<colon])
        let digits = text[text.index(after: colon)...]
        guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(digits) else { return nil }
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = String(host.dropFirst().dropLast())
            guard Self.isIPv6(host) else { return nil }
        } else {
            guard Self.isHostName(host) else { return nil }
        }
        self.init(host: host, port: Int(port))
    }

    /// Whether only this machine can reach it: `127.0.0.0/8`, `::1` or `localhost`.
    package var isLoopback: Bool {
        var address = in_addr()
        if inet_pton(AF_INET, host, &address) == 1 { return UInt32(bigEndian: address.s_addr) >> 24 == 127 }
        return host == "::1" || host == "localhost"
    }

    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    static func isIPv6(_ host: String) -> Bool {
        var address = in6_addr()
        return inet_pton(AF_INET6, host, &address) == 1
    }
    /// A DNS name or an IPv4 address.
    static func isHostName(_ host: String) -> Bool {
        !host.isEmpty && host.utf8.count <= 253 && !host.hasPrefix("-") && !host.hasPrefix(".")
            && host.utf8.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."):
                    true
                default: false
                }
            }
    }
}

/// The address of a web resource: absolute, with a host, without user names, passwords or a fragment.
package struct WebAddress: ConfigurationValue, Hashable, CustomStringConvertible {
    package enum Scheme: String, Sendable {
        case http
        case https
        case ws
        case wss
    }

    /// As written.
    package let text: String
    package let scheme: Scheme
    package let host: String
    package let port: Int
    /// Starts with `/`, or is empty.
    package let path: String

    package static var expectation: String { "an absolute URL such as https://core.example.com:8443/path" }
    package init?(configurationText text: String, folder: String) {
        guard let mark = text.firstRange(of: "://"), let scheme = Scheme(rawValue: String(text[..<mark.lowerBound])),
            text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "#") })
        else { return nil }
        let rest = text[mark.upperBound...]
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        let hasPort = authority.last != "]" && authority.contains(":")
        let full = hasPort ? String(authority) : "\(authority):\(scheme == .https || scheme == .wss ? 443 : 80)"
        // An @ would be a user name: no host name holds one, so it is refused here.
        guard let address = NetworkAddress(configurationText: full, folder: folder), address.port > 0 else {
            return nil
        }
        self.text = text
        self.scheme = scheme
        host = address.host
        port = address.port
        path = String(rest.dropFirst(authority.count).prefix { $0 != "?" })
    }

    package var isEncrypted: Bool { scheme == .https || scheme == .wss }
    package var isLoopback: Bool { NetworkAddress(host: host, port: port).isLoopback }
    package var description: String { text }
}

/// The absolute path of a file or folder; a relative one starts from the folder of the configuration file.
package struct FileLocation: ConfigurationValue, Hashable, CustomStringConvertible {
    package let path: String

    package init(_ path: String) { self.path = path }

    package static var expectation: String { "a path such as /var/lib/hds-kms/kms.sqlite" }
    package init?(configurationText text: String, folder: String) {
        guard !text.isEmpty, !text.hasPrefix("~"), !text.utf8.contains(0) else { return nil }
        path = text.hasPrefix("/") ? text : (folder == "/" ? "/\(text)" : "\(folder)/\(text)")
    }

    package var description: String { path }

    /// `path` seen from the process's working folder.
    package static func absolute(_ path: String) -> String {
        if path.hasPrefix("/") { return path }
        guard let folder = getcwd(nil, 0) else { return "/\(path)" }
        defer { free(folder) }
        return String(cString: folder) + "/" + path
    }
}

/// Where a secret is: `credential:NAME` for one that systemd hands over (LoadCredential), else the path of a file.
package enum SecretLocation: ConfigurationValue, Hashable, CustomStringConvertible {
    case credential(String)
    case file(FileLocation)

    package static var expectation: String { "credential:NAME or the path of a file of mode 0600" }
    package init?(configurationText text: String, folder: String) {
        if text.hasPrefix("credential:") {
            let name = String(text.dropFirst("credential:".count))
            guard Self.isName(name) else { return nil }
            self = .credential(name)
        } else {
            guard let file = FileLocation(configurationText: text, folder: folder) else { return nil }
            self = .file(file)
        }
    }

    /// What systemd takes for the name of a credential: a file name of printable characters.
    static func isName(_ name: String) -> Bool {
        !name.isEmpty && name.utf8.count <= 255 && name != "." && name != ".."
            && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":") }
    }

    package var description: String {
        switch self {
        case .credential(let name): "credential:\(name)"
        case .file(let file): file.path
        }
    }
}

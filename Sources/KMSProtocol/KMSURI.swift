import Diagnostics
import WireText

/// A `kms:` URI or a path on the own KMS (protocol, section 2): host, object and query.
///
/// Hosts compare without case and are kept lower case; everything else compares exactly. Requests may name objects by
/// absolute URI or by a path that starts with `/`; answers carry absolute URIs only.
package struct KMSURI: Hashable, Sendable {
    /// The object that a path names. Identifiers are UUID texts without prefix.
    package enum Object: Hashable, Sendable {
        case cluster
        case staticKey(String)
        case sessions
        case session(String)
        case keys
        case key(String)
        case resources
        case resource(String)
        case resourceKeys(String)
        case resourceAuthorizations(String)
        case authorizations
        case authorization(String)
        case ping
        /// A well-formed path that names nothing here.
        case other(String)
    }

    /// Nil for a path: the KMS that is asked.
    package let host: String?
    package let object: Object
    /// Value of the query item `authId`, percent-decoded.
    package let authID: String?
    /// Query item `responseDetails`; absent means true.
    package let wantsDetails: Bool

    package init(host: String?, object: Object, authID: String? = nil, wantsDetails: Bool = true) {
        self.host = host?.lowercased()
        self.object = object
        self.authID = authID
        self.wantsDetails = wantsDetails
    }

    /// Longest URI that is looked at, in octets.
    package static let maximumLength = 2048

    /// Nil when the text is neither a `kms:` URI nor a path, or when its query is malformed.
    package init?(_ text: String) {
        guard text.utf8.count <= Self.maximumLength, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            return nil
        }
        var rest = Substring(text)
        if let hash = rest.firstIndex(of: "#") { rest = rest[..<hash] }
        var query: Substring?
        if let mark = rest.firstIndex(of: "?") {
            query = rest[rest.index(after: mark)...]
            rest = rest[..<mark]
        }
        if rest.hasPrefix("/") {
            host = nil
        } else {
            guard rest.count > 6, rest.prefix(6).lowercased() == "kms://" else { return nil }
            rest = rest.dropFirst(6)
            let authority = rest.prefix { $0 != "/" }
            guard !authority.isEmpty, !authority.contains("@") else { return nil }
            host = authority.lowercased()
            rest = rest[authority.endIndex...]
        }
        object = Self.object(path: rest)
        var authID: String?
        var wantsDetails = true
        for item in (query ?? "").split(separator: "&") {
            let pair = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let value = Self.percentDecoded(pair.count == 2 ? pair[1] : "") else { return nil }
            switch pair[0] {
            case "authId": authID = value
            case "responseDetails": wantsDetails = value != "false"
            default: break
            }
        }
        self.authID = authID
        self.wantsDetails = wantsDetails
    }

    private static func object(path: Substring) -> Object {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst().map(String.init)
        func identifier(_ index: Int) -> String? { UUIDText.isValid(parts[index]) ? parts[index] : nil }
        switch (parts.count, parts.first) {
        case (0, _): return .cluster
        case (1, "ecdhe"): return .sessions
        case (1, "keys"): return .keys
        case (1, "resources"): return .resources
        case (1, "authorizations"): return .authorizations
        case (1, "ping"): return .ping
        case (2, "statickeys"): return .staticKey(parts[1])
        case (2, "ecdhe"): if let id = identifier(1) { return .session(id) }
        case (2, "keys"): if let id = identifier(1) { return .key(id) }
        case (2, "resources"): if let id = identifier(1) { return .resource(id) }
        case (2, "authorizations"): if let id = identifier(1) { return .authorization(id) }
        case (3, "resources"):
            if let id = identifier(1), parts[2] == "keys" { return .resourceKeys(id) }
            if let id = identifier(1), parts[2] == "authorizations" { return .resourceAuthorizations(id) }
        default: break
        }
        return .other(String(path))
    }

    private static func percentDecoded(_ text: Substring) -> String? {
        guard text.contains("%") else { return String(text) }
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2, let value = Hexadecimal.decode(String(decoding: rest.prefix(2), as: UTF8.self))
            else {
                return nil
            }
            bytes += value
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }

    /// Text for a query item: everything but unreserved characters is percent-encoded (RFC 3986, section 2.3).
    package static func percentEncoded(_ text: String) -> String {
        var result: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                result.append(byte)
            default:
                result.append(UInt8(ascii: "%"))
                result += Array(Hexadecimal.encode([byte]).uppercased().utf8)
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}

/// Makes the absolute URIs of one KMS.
package struct KMSNames: Sendable, Hashable {
    /// DNS name of the KMS, lower case.
    package let host: String
    /// `kms://HOST`
    package let cluster: String

    package init(host: String) {
        self.host = host.lowercased()
        cluster = "kms://" + self.host
    }

    package func session(_ id: String) -> String { cluster + "/ecdhe/" + id }
    package func key(_ id: String) -> String { cluster + "/keys/" + id }
    package func resource(_ id: String) -> String { cluster + "/resources/" + id }
    package func authorization(_ id: String) -> String { cluster + "/authorizations/" + id }
    package func staticKey(serialNumber: String) -> String { cluster + "/statickeys/" + serialNumber }

    /// Whether the URI names an object of this KMS.
    package func owns(_ uri: KMSURI) -> Bool { uri.host == nil || uri.host == host }
}

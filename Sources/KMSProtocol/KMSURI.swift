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
        /// Keys of a search index (docs/kms-extensions.md).
        case resourceSearchKeys(String)
        case memberships
        case sealingKey
        case signatures
        case resourceHold(String)
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
        self.host = host.map { $0.utf8.contains { (0x41...0x5A).contains($0) } ? $0.lowercased() : $0 }
        self.object = object
        self.authID = authID
        self.wantsDetails = wantsDetails
    }

    /// The URI without its query, such as `kms://HOST/keys/<id>`; a path as it is.
    package var absoluteText: String {
        let host = host.map { "kms://" + $0 } ?? ""
        return switch object {
        case .cluster: host
        case .staticKey(let number): host + "/statickeys/" + number
        case .sessions: host + "/ecdhe"
        case .session(let id): host + "/ecdhe/" + id
        case .keys: host + "/keys"
        case .key(let id): host + "/keys/" + id
        case .resources: host + "/resources"
        case .resource(let id): host + "/resources/" + id
        case .resourceKeys(let id): host + "/resources/" + id + "/keys"
        case .resourceAuthorizations(let id): host + "/resources/" + id + "/authorizations"
        case .resourceSearchKeys(let id): host + "/resources/" + id + "/searchKeys"
        case .memberships: host + "/memberships"
        case .sealingKey: host + "/sealingKey"
        case .signatures: host + "/signatures"
        case .resourceHold(let id): host + "/resources/" + id + "/hold"
        case .authorizations: host + "/authorizations"
        case .authorization(let id): host + "/authorizations/" + id
        case .ping: host + "/ping"
        case .other(let path): host + path
        }
    }

    /// Longest URI that is looked at, in octets.
    package static let maximumLength = 2048

    /// Nil when the text is neither a `kms:` URI nor a path, or when its query is malformed.
    ///
    /// Works on the octets and makes texts only of what is kept: this runs several times for every request.
    package init?(_ text: String) {
        var text = text
        let parsed = text.withUTF8 { Self.parse($0) }
        guard let parsed else { return nil }
        self = parsed
    }

    private typealias Octets = Slice<UnsafeBufferPointer<UInt8>>

    private static func parse(_ text: UnsafeBufferPointer<UInt8>) -> KMSURI? {
        guard text.count <= maximumLength, text.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { return nil }
        var rest = text[...]
        if let hash = rest.firstIndex(of: UInt8(ascii: "#")) { rest = rest[..<hash] }
        var query: Octets?
        if let mark = rest.firstIndex(of: UInt8(ascii: "?")) {
            query = rest[(mark + 1)...]
            rest = rest[..<mark]
        }
        var host: String?
        if rest.first != UInt8(ascii: "/") {
            guard rest.count > 6, zip(rest, "kms://".utf8).allSatisfy({ $0 | 0x20 == $1 | 0x20 }) else { return nil }
            rest = rest.dropFirst(6)
            let end = rest.firstIndex(of: UInt8(ascii: "/")) ?? rest.endIndex
            let authority = rest[..<end]
            guard !authority.isEmpty, !authority.contains(UInt8(ascii: "@")) else { return nil }
            host = string(authority)
            rest = rest[end...]
        }
        guard let items = self.items(query) else { return nil }
        return KMSURI(host: host, object: object(path: rest), authID: items.authID, wantsDetails: items.wantsDetails)
    }

    private static func string(_ octets: Octets) -> String { String(decoding: octets, as: UTF8.self) }

    private static func object(path: Octets) -> Object {
        var parts: [Octets] = []
        var rest = path
        while rest.first == UInt8(ascii: "/") {
            rest = rest.dropFirst()
            let end = rest.firstIndex(of: UInt8(ascii: "/")) ?? rest.endIndex
            parts.append(rest[..<end])
            rest = rest[end...]
        }
        guard let first = parts.first else { return .cluster }
        func names(_ part: Octets, _ word: StaticString) -> Bool { word.withUTF8Buffer { part.elementsEqual($0) } }
        func identifier(_ part: Octets) -> String? {
            UUIDText.isValid(UnsafeBufferPointer(rebasing: part)) ? string(part) : nil
        }
        switch parts.count {
        case 1:
            if names(first, "ecdhe") { return .sessions }
            if names(first, "keys") { return .keys }
            if names(first, "resources") { return .resources }
            if names(first, "authorizations") { return .authorizations }
            if names(first, "ping") { return .ping }
            if names(first, "memberships") { return .memberships }
            if names(first, "sealingKey") { return .sealingKey }
            if names(first, "signatures") { return .signatures }
        case 2:
            if names(first, "statickeys") { return .staticKey(string(parts[1])) }
            guard let id = identifier(parts[1]) else { break }
            if names(first, "ecdhe") { return .session(id) }
            if names(first, "keys") { return .key(id) }
            if names(first, "resources") { return .resource(id) }
            if names(first, "authorizations") { return .authorization(id) }
        case 3:
            guard names(first, "resources"), let id = identifier(parts[1]) else { break }
            if names(parts[2], "keys") { return .resourceKeys(id) }
            if names(parts[2], "authorizations") { return .resourceAuthorizations(id) }
            if names(parts[2], "searchKeys") { return .resourceSearchKeys(id) }
            if names(parts[2], "hold") { return .resourceHold(id) }
        default: break
        }
        return .other(string(path))
    }

    /// Items that are not known are passed over; nil when a known one is malformed.
    private static func items(_ query: Octets?) -> (authID: String?, wantsDetails: Bool)? {
        var items: (authID: String?, wantsDetails: Bool) = (nil, true)
        for item in query?.split(separator: UInt8(ascii: "&")) ?? [] {
            let end = item.firstIndex(of: UInt8(ascii: "=")) ?? item.endIndex
            guard let value = percentDecoded(item[end...].dropFirst()) else { return nil }
            switch string(item[..<end]) {
            case "authId": items.authID = value
            case "responseDetails": items.wantsDetails = value != "false"
            default: break
            }
        }
        return items
    }

    private static func percentDecoded(_ text: Octets) -> String? {
        var bytes: [UInt8] = []
        var rest = text
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2, let value = Hexadecimal.decode(string(rest.prefix(2))) else { return nil }
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

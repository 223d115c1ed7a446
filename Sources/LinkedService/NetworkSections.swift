package import Cryptography
import Diagnostics
package import HTTPClient
package import ServiceRuntime
package import TLSChannel
package import WireText

/// The HTTP proxy that connections leave through (docs/networks.md).
package struct ProxySection: Decodable, Sendable {
    package enum Basic: String, NamedValue, Sendable {
        case never
        case whenAsked = "when-asked"
        case always
    }

    package let address: WebAddress
    /// PEM: the only certification authorities that are taken for an `https` proxy.
    package let authorities: FileLocation?
    package let user: String?
    package let password: SecretLocation?
    package let basic: Basic
    /// Targets that are reached without it.
    package let exceptions: [String]

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case address
        case authorities = "ca"
        case user, password, basic
        case exceptions = "except"
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        address = try section.value(.address)
        authorities = try section.optional(.authorities)
        user = try section.optional(.user)
        password = try section.optional(.password)
        basic = try section.value(.basic, default: .whenAsked)
        exceptions = try section.value(.exceptions, default: [])
        guard address.scheme == .http || address.scheme == .https, address.path.isEmpty || address.path == "/" else {
            throw section.problem(.address, "expected http://HOST:PORT or https://HOST:PORT")
        }
        guard (address.scheme == .https) == (authorities != nil) else {
            throw section.problem(.authorities, "expected with an https:// proxy, and only there")
        }
        guard (user == nil) == (password == nil) else {
            throw section.problem(.password, "expected user and password together, or neither")
        }
        // A colon would end the user's name (RFC 7617 section 2).
        guard user.map({ !$0.isEmpty && !$0.contains(":") && $0.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F } }) ?? true
        else { throw section.problem(.user, "expected a name without a colon or control characters") }
        guard exceptions.allSatisfy({ !$0.isEmpty && !$0.contains("/") && !$0.contains("*") && $0 != "." }) else {
            throw section.problem(.exceptions, "expected host names, addresses, or .example.com for a domain")
        }
    }

    package func proxy(_ credentials: Credentials) throws -> WebProxy {
        let known = try user.map { user in
            let place = password ?? .credential("")
            // Shows at the start what is missing; later changes of the file count at the next use.
            _ = try Self.password(place, credentials)
            return WebProxy.Credentials(user: user) { try Self.password(place, credentials) }
        }
        let trust = try authorities.map { TLSTrust(roots: try Certificate.all(inPEM: try $0.text(upTo: 1 << 20))) }
        let use: WebProxy.BasicUse =
            switch basic {
            case .never: .never
            case .whenAsked: .whenAsked
            case .always: .always
            }
        return try WebProxy(
            host: address.host, port: address.port, credentials: known, basic: use, trust: trust,
            exceptions: exceptions)
    }

    private static func password(_ place: SecretLocation, _ credentials: Credentials) throws -> Redacted<String> {
        let password = try credentials.text(of: place)
        guard password.reveal({ text in text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F } }) else {
            throw DiagnosedError(
                "proxy-password", fault: .configuration, "the proxy's password can not be sent",
                expected: "one line without control characters", hint: "write it into \(place) again")
        }
        return password
    }
}

/// The exception for a device that inspects the TLS of the link to the core (rule 34 of the security model).
///
/// It is for the host of `core.link` and for nothing else: token endpoints, issuers, witnesses and the database never see
/// it.
package struct InspectionSection: Decodable, Sendable {
    /// PEM: the authority that the device signs with.
    package let authorities: FileLocation
    /// How people call the device.
    package let name: String
    package let until: Timestamp
    /// PEM: the public key with which the core signs its welcome, a P-256 key.
    package let coreKey: FileLocation

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case authorities = "ca"
        case name, until
        case coreKey = "core-key"
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        authorities = try section.value(.authorities)
        name = try section.value(.name)
        coreKey = try section.value(.coreKey)
        let day: String = try section.value(.until)
        // The day counts as a whole.
        guard day.utf8.count == 10, let start = Timestamp(iso8601: day + "T00:00:00Z") else {
            throw section.problem(.until, "expected the last day as YYYY-MM-DD, such as 2027-03-31")
        }
        until = start.adding(seconds: 86_400)
        guard !name.isEmpty, name.utf8.count <= 100, name.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
            throw section.problem(.name, "expected 1 to 100 printable ASCII characters")
        }
    }

    private static let longest: Int64 = 366 * 86_400

    /// Refuses an exception without an end that can be seen.
    package func exception(now: Timestamp) throws -> TLSInspection {
        guard now < until else {
            throw DiagnosedError(
                "inspection-over", fault: .configuration, "core.inspection is over", expected: "a day that is to come",
                found: "its end at \(until.iso8601)",
                hint: "let the device pass the link without inspection and remove the section, or decide anew for it")
        }
        guard until < now.adding(seconds: Self.longest) else {
            throw DiagnosedError(
                "inspection-too-long", fault: .configuration, "core.inspection ends too late",
                expected: "at most a year ahead", found: "its end at \(until.iso8601)",
                hint: "choose an earlier day in core.inspection.until, and decide anew then")
        }
        return TLSInspection(
            name: name, authorities: try Certificate.all(inPEM: try authorities.text(upTo: 1 << 20)), until: until)
    }

    package func key() throws -> PublicKey {
        let key = try PublicKey(pem: try coreKey.text(upTo: 64 << 10))
        guard key.kind == .p256 else {
            throw DiagnosedError(
                "inspection-key", fault: .configuration, "core.inspection.core-key is of another kind",
                expected: "a P-256 public key in PEM",
                hint: "ask the core's operator for the key of its link.signing-key")
        }
        return key
    }
}

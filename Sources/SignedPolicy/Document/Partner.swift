import Cryptography
import Diagnostics
import JOSESignature
import WireText

/// Another organisation's KMS: who it is, whom it may speak for, what proves it.
package struct Partner: Sendable, Equatable {
    package enum Direction: String, Sendable, CaseIterable {
        /// They may ask this KMS.
        case inbound
        /// This KMS may ask them.
        case outbound
        case both
    }

    /// DNS name of its KMS; CN and SAN of its certificate must match it.
    package let host: String
    package let organisation: String
    /// Which user ids are its: domains of addresses, issuers of tokens, single ids. No two partners share one.
    package let domains: Set<String>
    package let issuers: Set<String>
    package let users: Set<String>
    /// DER of certificates that its path must end at.
    package let anchors: [[UInt8]]
    /// SHA-256 of public keys, one of which must stand on the path.
    package let pins: [[UInt8]]
    package let direction: Direction
    /// How long key bytes, never decisions, may be kept; 0 for not at all.
    package let cacheSeconds: Int

    init(_ place: PolicyPlace) throws(DiagnosedError) {
        let members = try place.object(
            ["host", "organisation", "domains", "issuers", "users", "anchors", "direction", "cacheSeconds"])
        host = try members.required("host").hostName()
        organisation = try members.required("organisation").text()
        domains = Set(
            try members["domains"]?.texts(upTo: 100) { (place) throws(DiagnosedError) in try place.hostName() } ?? [])
        issuers = Set(
            try members["issuers"]?.texts(upTo: 20) { (place) throws(DiagnosedError) in try place.text() } ?? [])
        users = Set(
            try members["users"]?.texts(upTo: 1000) { (place) throws(DiagnosedError) in try place.text() } ?? [])
        let word = try members.required("direction").text()
        guard let direction = Direction(rawValue: word) else {
            throw try members.required("direction").refusal(
                "this is no direction", expected: Direction.allCases.map(\.rawValue).joined(separator: ", "),
                found: word.quotedForError)
        }
        self.direction = direction
        guard !(domains.isEmpty && issuers.isEmpty && users.isEmpty) || direction == .outbound else {
            throw place.refusal(
                "a partner that may ask speaks for nobody", expected: "domains, issuers or users",
                hint: "say which users are the partner's")
        }
        cacheSeconds = try members["cacheSeconds"]?.integer(0...3600) ?? 0
        (anchors, pins) = try Self.anchors(members.required("anchors"))
    }

    /// PEM certificates and pins of the form `sha256/BASE64`.
    private static func anchors(_ list: PolicyPlace) throws(DiagnosedError) -> ([[UInt8]], [[UInt8]]) {
        var anchors: [[UInt8]] = []
        var pins: [[UInt8]] = []
        for place in try list.list(upTo: 10) {
            guard let text = place.node.string, text.utf8.count <= 16 << 10 else {
                throw place.refusal("a text is expected here", expected: "a PEM certificate or sha256/BASE64")
            }
            if text.hasPrefix("sha256/"), let pin = Base64.decode(text.dropFirst(7)), pin.count == SHA256.byteCount {
                guard !pins.contains(pin) else { throw place.refusal("the pin stands in the list twice") }
                pins.append(pin)
            } else if let certificates = try? Certificate.all(inPEM: text), certificates.count == 1 {
                guard certificates[0].isCA else {
                    throw place.refusal(
                        "the certificate is of no authority", expected: "a CA certificate, or a pin sha256/BASE64")
                }
                guard !anchors.contains(certificates[0].der) else {
                    throw place.refusal("the certificate stands in the list twice")
                }
                anchors.append(certificates[0].der)
            } else {
                throw place.refusal(
                    "this is no anchor", expected: "one PEM certificate, or sha256/ and 32 octets in base64")
            }
        }
        guard !(anchors.isEmpty && pins.isEmpty) else {
            throw list.refusal("nothing proves the partner", expected: "at least one anchor")
        }
        return (anchors, pins)
    }
}

/// Which partners the users of one of the own domains may share keys with; a domain that is not named has none.
package struct FederatedDomain: Sendable, Equatable {
    package let domain: String
    /// Hosts of partners.
    package let partners: Coverage

    init(_ place: PolicyPlace) throws(DiagnosedError) {
        let members = try place.object(["domain", "partners"])
        domain = try members.required("domain").hostName()
        partners = try members.required("partners").coverage(upTo: 200) { (place) throws(DiagnosedError) in
            try place.hostName()
        }
    }
}

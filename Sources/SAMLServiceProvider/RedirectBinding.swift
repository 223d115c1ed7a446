import Cryptography
import Diagnostics
import WireText

/// The HTTP-Redirect binding (SAML Bindings 2.0, section 3.4): a message in a query, signed as a query.
enum RedirectBinding {
    enum Kind: String {
        case request = "SAMLRequest"
        case response = "SAMLResponse"
    }

    /// The address with the message; signed when there is a key.
    static func address(
        _ kind: Kind, _ message: String, to url: String, relayState: String? = nil, key: PrivateKey?
    ) throws -> String {
        var query = "\(kind.rawValue)=" + encoded(Base64.encode(Inflate.stored(Array(message.utf8))))
        if let relayState { query += "&RelayState=" + encoded(relayState) }
        if let key {
            let (uri, algorithm) = algorithm(of: key)
            query += "&SigAlg=" + encoded(uri)
            query += "&Signature=" + encoded(Base64.encode(try key.sign(Array(query.utf8), algorithm: algorithm)))
        }
        return url + (url.contains("?") ? "&" : "?") + query
    }

    /// A message that came in a query, with a signature over the octets as they came that one of the keys has made.
    static func message(_ kind: Kind, query: [UInt8], keys: [PublicKey]) throws(DiagnosedError) -> [UInt8] {
        var raw: [String: ArraySlice<UInt8>] = [:]
        for part in query.split(separator: UInt8(ascii: "&")) {
            let equals = part.firstIndex(of: UInt8(ascii: "=")) ?? part.endIndex
            let name = String(decoding: part[..<equals], as: UTF8.self)
            guard raw.updateValue(part, forKey: name) == nil else {
                throw .saml(.samlMalformed, "a parameter came more than once")
            }
        }
        func value(_ name: String) -> String? {
            raw[name].flatMap { part in decoded(part.drop { $0 != UInt8(ascii: "=") }.dropFirst()) }
        }
        guard let uri = value("SigAlg"), let signature = value("Signature").flatMap({ Base64.decode($0) }) else {
            throw .saml(.samlSignature, "the message is not signed")
        }
        guard let algorithm = SignedElement.algorithms[uri] else {
            throw .saml(.samlSignature, "the signature algorithm is not allowed here")
        }
        // In the order of the standard, whatever the order in the query.
        let signed = [kind.rawValue, "RelayState", "SigAlg"].compactMap { raw[$0] }
        let octets = Array(signed.joined(separator: [UInt8(ascii: "&")]))
        guard
            keys.contains(where: {
                algorithm.suits($0.kind) && $0.isValidSignature(signature, for: octets, algorithm: algorithm)
            })
        else { throw .saml(.samlSignature, "the signature does not verify with a key of the provider") }
        guard let text = value(kind.rawValue), let packed = Base64.decode(text),
            let message = Inflate.expand(packed, limit: XMLReading.maximumBytes)
        else { throw .saml(.samlMalformed, "the message can not be unpacked") }
        return message
    }

    static func algorithm(of key: PrivateKey) -> (uri: String, SignatureAlgorithm) {
        key.publicKey.kind == .p256
            ? ("http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256", .es256)
            : ("http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", .rs256)
    }

    static func encoded(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var result: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                result.append(byte)
            default: result += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    private static func decoded(_ octets: some Collection<UInt8>) -> String? {
        var result: [UInt8] = []
        var iterator = octets.makeIterator()
        func digit(_ octet: UInt8?) -> UInt8? { octet.flatMap { UInt8(String(UnicodeScalar($0)), radix: 16) } }
        while let octet = iterator.next() {
            switch octet {
            case UInt8(ascii: "+"): result.append(0x20)
            case UInt8(ascii: "%"):
                guard let high = digit(iterator.next()), let low = digit(iterator.next()) else { return nil }
                result.append(high << 4 | low)
            default: result.append(octet)
            }
        }
        return String(validating: result, as: UTF8.self)
    }
}

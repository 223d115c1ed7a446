import PostQuantum
package import WireText

/// The member `postQuantum` of the request that opens a session and of its answer (docs/post-quantum.md):
/// `{"alg":"ML-KEM-768","encapsulationKey":"..."}` and `{"alg":"ML-KEM-768","ciphertext":"..."}`, base64url.
package enum KMSPostQuantum {
    package static let member = "postQuantum"
    package static let algorithm = "ML-KEM-768"

    package static func write(encapsulationKey: [UInt8], to json: inout JSONWriter) {
        write("encapsulationKey", encapsulationKey, to: &json)
    }

    package static func write(ciphertext: [UInt8], to json: inout JSONWriter) {
        write("ciphertext", ciphertext, to: &json)
    }

    /// What the offer in a request says.
    package enum Offer: Equatable {
        case none
        /// An algorithm that is not known here: the session is opened without.
        case other
        case key([UInt8])
        case malformed
    }

    package static func offer(in root: JSONNode) -> Offer {
        guard let node = root[member] else { return .none }
        guard let name = node["alg"]?.string else { return .malformed }
        guard name == algorithm else { return .other }
        guard let key = octets("encapsulationKey", of: node, count: MLKEM768KeyPair.publicKeyCount) else {
            return .malformed
        }
        return .key(key)
    }

    static func ciphertext(in node: JSONNode) -> [UInt8]? {
        guard node["alg"]?.string == algorithm else { return nil }
        return octets("ciphertext", of: node, count: MLKEM768KeyPair.ciphertextCount)
    }

    private static func octets(_ name: String, of node: JSONNode, count: Int) -> [UInt8]? {
        guard let octets = node[name]?.string.flatMap({ Base64URL.decode($0) }), octets.count == count else {
            return nil
        }
        return octets
    }

    private static func write(_ name: String, _ octets: [UInt8], to json: inout JSONWriter) {
        json.name(member)
        json.beginObject()
        json.member("alg", algorithm)
        json.member(name, Base64URL.encode(octets))
        json.endObject()
    }
}

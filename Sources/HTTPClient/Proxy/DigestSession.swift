import Cryptography
import Diagnostics
import WireText

/// What a proxy asked Digest with, and how often its nonce was used (RFC 7616).
///
/// `qop` is `auth` always: without it (RFC 2069) there is neither a count nor a value of the client's own, so such a
/// challenge is not answered.
struct DigestSession: Sendable, Equatable {
    enum Algorithm: String, Sendable, CaseIterable {
        case md5 = "MD5"
        case sha256 = "SHA-256"

        /// Nil where the system does not offer it.
        func hash(_ octets: [UInt8]) -> String? {
            switch self {
            case .md5: MD5.hash(octets).map(Hexadecimal.encode)
            case .sha256: Hexadecimal.encode(SHA256.hash(octets))
            }
        }
    }

    let algorithm: Algorithm
    let realm: String
    var nonce: String
    let opaque: String?
    let hashesUser: Bool
    /// The number of the request among those of this nonce.
    var count: UInt32 = 1

    /// Nil for a challenge that can not be answered.
    init?(_ challenge: ProxyChallenge) {
        guard challenge.scheme == "digest", let realm = challenge["realm"], let nonce = challenge["nonce"] else {
            return nil
        }
        let name = challenge["algorithm"]?.uppercased() ?? Algorithm.md5.rawValue
        let qualities = challenge["qop"]?.lowercased().split { $0 == "," || $0 == " " } ?? []
        guard let algorithm = Algorithm(rawValue: name), algorithm.hash([]) != nil, qualities.contains("auth") else {
            return nil
        }
        self.algorithm = algorithm
        self.realm = realm
        self.nonce = nonce
        opaque = challenge["opaque"]
        hashesUser = challenge["userhash"]?.lowercased() == "true"
    }

    /// The value of `Proxy-Authorization` for one CONNECT; `cnonce` is random and for this one only.
    func authorization(
        user: String, password: Redacted<String>, method: String = "CONNECT", target: String, cnonce: String
    ) -> String? {
        let secret = password.reveal { algorithm.hash(Array("\(user):\(realm):\($0)".utf8)) }
        let digits = String(count, radix: 16)
        let nc = String(repeating: "0", count: 8 - digits.count) + digits
        guard let secret, let request = algorithm.hash(Array("\(method):\(target)".utf8)),
            let response = algorithm.hash(Array("\(secret):\(nonce):\(nc):\(cnonce):auth:\(request)".utf8))
        else { return nil }
        var fields: [String] = []
        if hashesUser {
            guard let hashed = algorithm.hash(Array("\(user):\(realm)".utf8)) else { return nil }
            fields += ["username=\"\(hashed)\"", "userhash=true"]
        } else if user.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) {
            fields.append("username=" + ProxyChallenge.quoted(user))
        } else {
            fields.append("username*=UTF-8''" + Self.percentEncoded(user))
        }
        fields += [
            "realm=" + ProxyChallenge.quoted(realm), "nonce=" + ProxyChallenge.quoted(nonce),
            "uri=" + ProxyChallenge.quoted(target), "algorithm=\(algorithm.rawValue)", "response=\"\(response)\"",
            "qop=auth", "nc=\(nc)", "cnonce=\"\(cnonce)\"",
        ]
        if let opaque { fields.append("opaque=" + ProxyChallenge.quoted(opaque)) }
        return "Digest " + fields.joined(separator: ", ")
    }

    /// The session after an answer that names the next nonce.
    func following(_ nextNonce: String?) -> DigestSession {
        var next = self
        if let nextNonce, !nextNonce.isEmpty {
            next.nonce = nextNonce
            next.count = 0
        }
        return next
    }

    /// RFC 8187 section 3.2.
    private static func percentEncoded(_ text: String) -> String {
        let plain = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~".utf8)
        return text.utf8.map { octet in
            plain.contains(octet)
                ? String(UnicodeScalar(octet)) : "%" + (octet < 16 ? "0" : "") + String(octet, radix: 16).uppercased()
        }.joined()
    }
}

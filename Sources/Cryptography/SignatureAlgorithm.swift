/// The digital signatures of JWS (RFC 7518, section 3.1) that the project makes and verifies; symmetric ones are none.
package enum SignatureAlgorithm: String, Sendable, Hashable, CaseIterable {
    /// RSASSA-PKCS1-v1_5.
    case rs256 = "RS256", rs384 = "RS384", rs512 = "RS512"
    /// RSASSA-PSS with MGF1 of the same digest and a salt of the digest's size.
    case ps256 = "PS256", ps384 = "PS384", ps512 = "PS512"
    /// ECDSA on P-256 with SHA-256; the signature is r and s, 32 octets each.
    case es256 = "ES256"

    var digest: Primitive {
        switch self {
        case .rs256, .ps256, .es256: .sha256
        case .rs384, .ps384: .sha384
        case .rs512, .ps512: .sha512
        }
    }

    /// The size of the digest, which is also the size of the salt of a PSS signature.
    var digestByteCount: Int32 {
        switch self {
        case .rs256, .ps256, .es256: 32
        case .rs384, .ps384: 48
        case .rs512, .ps512: 64
        }
    }

    var isPSS: Bool {
        switch self {
        case .ps256, .ps384, .ps512: true
        case .rs256, .rs384, .rs512, .es256: false
        }
    }

    /// Whether a key of this kind can make or check such a signature.
    package func suits(_ kind: PublicKey.Kind) -> Bool {
        switch kind {
        case .rsa: self != .es256
        case .p256: self == .es256
        case .unsupported: false
        }
    }
}

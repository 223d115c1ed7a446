import WireText

/// The form of access tokens that say nothing to who holds them: three fields joined by `_`, as deployed clients expect
/// them: secret, cluster, organisation.
///
/// The secret is 256 random bits in hexadecimal digits, so that it can not hold the separator. Cluster and organisation
/// are for clients that look at them; no decision rests on them.
package enum OpaqueToken {
    /// From 32 random octets.
    package static func text(secret: [UInt8], cluster: String, organisation: String) -> String {
        "\(Hexadecimal.encode(secret))_\(cluster)_\(organisation)"
    }

    /// Whether a name can stand in the second or third field: letters, digits, `-` and `.`, at most 64.
    package static func isField(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) || (byte >= 0x30 && byte <= 0x39) || byte == 0x2D
                    || byte == 0x2E
            }
    }
}

/// How access tokens of one audience look.
package enum TokenFormat: String, Sendable, CaseIterable {
    case jwt
    case opaque
}

import Cryptography
import Diagnostics
import Encryption
package import SecretMemory
import WireText

/// The one-time code of an invitation: 128 random bits, typed by a person on the new machine.
///
/// Text form: 26 characters of Crockford's base 32 in groups of five. Reading takes small letters, `O` as 0, `I` and `L`
/// as 1, and no regard of hyphens and blanks. It is stored nowhere; from it both sides derive a `JoiningKey`.
package struct InvitationCode: Sendable {
    package static let byteCount = 16
    package static let lifeSeconds: Int64 = 600
    private static let alphabet = Array("0123456789ABCDEFGHJKMNPQRSTVWXYZ".utf8)
    private static let characters = 26

    private let bits: SymmetricKey

    package static func create() throws -> InvitationCode {
        InvitationCode(bits: try SymmetricKey.random(count: byteCount))
    }

    private init(bits: SymmetricKey) { self.bits = bits }

    /// Nil when it is none.
    package init?(_ text: borrowing SecretBytes) {
        let values = text.withUnsafeBytes { text in
            text.compactMap { octet -> UInt8? in
                switch octet {
                case UInt8(ascii: "-"), UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\r"): nil
                default: Self.value(of: octet) ?? .max
                }
            }
        }
        guard values.count == Self.characters, values.allSatisfy({ $0 < 32 }), values[25] & 0b11 == 0 else {
            return nil
        }
        var octets: [UInt8] = []
        var (buffer, count) = (UInt32(0), 0)
        for value in values {
            buffer = buffer << 5 | UInt32(value)
            count += 5
            if count >= 8, octets.count < Self.byteCount {
                octets.append(UInt8(truncatingIfNeeded: buffer >> UInt32(count - 8)))
                count -= 8
            }
        }
        bits = SymmetricKey(copying: octets)
        wipe(&octets)
    }

    /// What to show to the administrator, once.
    package var text: String {
        var characters: [UInt8] = []
        bits.withUnsafeBytes { bits in
            var (buffer, count) = (UInt32(0), 0)
            for octet in bits {
                buffer = buffer << 8 | UInt32(octet)
                count += 8
                while count >= 5 {
                    characters.append(Self.alphabet[Int(buffer >> UInt32(count - 5)) & 31])
                    count -= 5
                }
            }
            characters.append(Self.alphabet[Int(buffer << UInt32(5 - count)) & 31])
        }
        return stride(from: 0, to: characters.count, by: 5).map { start in
            String(decoding: characters[start..<min(start + 5, characters.count)], as: UTF8.self)
        }.joined(separator: "-")
    }

    /// What proves the code for that node and no other.
    package func key(node: String, host: String) throws -> JoiningKey {
        var info: [UInt8] = []
        for text in ["HDS node join v1", host, node] { info.append(lengthPrefixed: text) }
        return JoiningKey(try HKDFSHA256.derive(from: bits, info: info))
    }

    private static func value(of octet: UInt8) -> UInt8? {
        let upper = (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(octet) ? octet - 0x20 : octet
        switch upper {
        case UInt8(ascii: "O"): return 0
        case UInt8(ascii: "I"), UInt8(ascii: "L"): return 1
        default: return alphabet.firstIndex(of: upper).map { UInt8($0) }
        }
    }
}

/// The key that both sides of a joining have from the one-time code: HMAC-SHA-256 over what each of them says.
package struct JoiningKey: Sendable {
    private let key: SymmetricKey

    package init(_ key: SymmetricKey) { self.key = key }

    /// 16 octets: shows whether a code was typed right. Of 128 random bits it tells nothing.
    package var check: [UInt8] { Array(HMACSHA256.code(for: Array("check".utf8), key: key).prefix(16)) }

    /// The new machine's word for its public key.
    package func code(ofNewMachine publicKey: [UInt8]) -> [UInt8] {
        HMACSHA256.code(for: Self.message("new machine", [publicKey]), key: key)
    }

    package func isValid(_ code: [UInt8], ofNewMachine publicKey: [UInt8]) -> Bool {
        HMACSHA256.isValid(code, for: Self.message("new machine", [publicKey]), key: key)
    }

    /// The cluster's word for its own fingerprint, to the machine with that public key: the fingerprint (32 octets), then
    /// the code.
    package func answer(cluster: [UInt8], to publicKey: [UInt8]) -> [UInt8] {
        cluster + HMACSHA256.code(for: Self.message("cluster", [publicKey, cluster]), key: key)
    }

    /// The cluster's fingerprint from an answer; nil when it was not made with this code for that public key.
    package func cluster(from answer: [UInt8], to publicKey: [UInt8]) -> [UInt8]? {
        guard answer.count == 64 else { return nil }
        let (cluster, code) = (Array(answer[..<32]), Array(answer[32...]))
        return HMACSHA256.isValid(code, for: Self.message("cluster", [publicKey, cluster]), key: key) ? cluster : nil
    }

    /// For sealing.
    package func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        try key.withUnsafeBytes { try body($0) }
    }

    private static func message(_ side: String, _ parts: [[UInt8]]) -> [UInt8] {
        var message: [UInt8] = []
        message.append(lengthPrefixed: side)
        for part in parts {
            message.append(bigEndian: UInt32(part.count))
            message += part
        }
        return message
    }
}

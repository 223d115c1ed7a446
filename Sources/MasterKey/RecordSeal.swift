import Cryptography
import Diagnostics
import Encryption
import SecretMemory
import WireText

/// What a sealed record is: part of what its seal is bound to, so that a record of one kind never opens as another.
package enum RecordKind: String, Sendable, CaseIterable {
    case key, resource, authorization, session
    case sessionKEK = "session-kek"
    case erasableKey = "erasable-key"
    case setting, audit, backup
}

/// The seal of one record: AES-256-GCM under a key that HKDF derives for exactly this record, kind, id and version.
///
/// Octets: format (1), generation of the parent key (4, big endian), nonce (12, random), ciphertext, tag (16). What
/// HKDF gets as info and GCM as associated data is the same: format and generation, then purpose, kind and id, each
/// behind its length (4, big endian), then the version (8, big endian). So no row can be altered, moved to another id
/// or kind, put back in an older version under a newer number, or opened under another generation. Why random nonces
/// are enough: docs/decisions/012-nonce-bounds.md. Stateless; any thread may call.
enum RecordSeal {
    /// Which parent the generation counts.
    enum Format: UInt8 {
        /// A version of the root key.
        case root = 1
        /// The KEK of sessions of a day.
        case sessionKEK = 2
        /// The key of a month's audit details, such as 202611.
        case month = 3
    }

    struct Identity {
        let kind: RecordKind
        let id: String
        let version: Int64
    }

    private static let purpose = "HDS record seal"
    private static let headerCount = 5
    private static let overhead = headerCount + AESGCM.nonceByteCount + AESGCM.tagByteCount

    static func seal(
        _ plaintext: UnsafeRawBufferPointer, as identity: Identity, format: Format, generation: UInt32,
        parent: SymmetricKey
    ) throws -> [UInt8] {
        let binding = binding(of: identity, format, generation)
        let key = try HKDFSHA256.expand(parent, info: binding)
        let nonce = try RandomBytes.bytes(AESGCM.nonceByteCount)
        var sealed = [UInt8](repeating: 0, count: overhead + plaintext.count)
        sealed.replaceSubrange(0..<headerCount, with: binding[0..<headerCount])
        sealed.replaceSubrange(headerCount..<headerCount + nonce.count, with: nonce)
        try sealed.withUnsafeMutableBytes { sealed in
            let tag = sealed.count - AESGCM.tagByteCount
            try binding.withUnsafeBytes { binding in
                try AESGCM.seal(
                    plaintext, key: key, nonce: nonce, aad: binding,
                    into: UnsafeMutableRawBufferPointer(rebasing: sealed[(headerCount + nonce.count)..<tag]),
                    tag: UnsafeMutableRawBufferPointer(rebasing: sealed[tag...]))
            }
        }
        return sealed
    }

    /// The generation that sealed it; nil when it is no seal of that format.
    static func generation(of sealed: [UInt8], format: Format) -> UInt32? {
        guard sealed.count >= overhead, sealed[0] == format.rawValue else { return nil }
        return sealed[1..<headerCount].reduce(0) { $0 << 8 | UInt32($1) }
    }

    static func open(
        _ sealed: [UInt8], as identity: Identity, format: Format, generation: UInt32, parent: SymmetricKey
    ) throws -> SecretBytes {
        guard self.generation(of: sealed, format: format) == generation else { throw broken(identity.kind) }
        let binding = binding(of: identity, format, generation)
        let key = try HKDFSHA256.expand(parent, info: binding)
        let body = headerCount + AESGCM.nonceByteCount
        let tag = sealed.count - AESGCM.tagByteCount
        do {
            return try AESGCM.open(
                Array(sealed[body..<tag]), tag: Array(sealed[tag...]), key: key,
                nonce: Array(sealed[headerCount..<body]), aad: binding)
        } catch {
            throw broken(identity.kind)
        }
    }

    /// The one error of everything that does not open. Ids are left out: they are pseudonymised in logs.
    static func broken(_ kind: RecordKind) -> DiagnosedError {
        DiagnosedError(
            .sealBroken, fault: .store, "the seal of a \(kind.rawValue) record does not open",
            expected: "a record as this KMS wrote it",
            hint: "somebody changed, moved or put back a row of the database; find out who can write to it")
    }

    private static func binding(of identity: Identity, _ format: Format, _ generation: UInt32) -> [UInt8] {
        var octets: [UInt8] = []
        octets.reserveCapacity(96)
        octets.append(format.rawValue)
        octets.append(bigEndian: generation)
        octets.append(lengthPrefixed: purpose)
        octets.append(lengthPrefixed: identity.kind.rawValue)
        octets.append(lengthPrefixed: identity.id)
        octets.append(bigEndian: identity.version)
        return octets
    }
}

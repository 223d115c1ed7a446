internal import Cryptography
internal import Diagnostics
internal import MasterKey
package import SecretMemory
internal import WireText

/// A key-encryption key in a hardware token (PKCS#11): root keys are wrapped inside the token, and it never leaves.
///
/// AES-256-GCM (`CKM_AES_GCM`) with a random nonce and the root key's version as associated data, as for a key in a
/// file. Octets: format (1), nonce (12), ciphertext (32), tag (16). The fingerprint is the tag over nothing under the
/// nonce of zeros: it tells nothing about the key, and no other key has it. Calls block on the token.
package struct TokenKey: RootKeyWrapping {
    /// Where the key is.
    package struct Location: Sendable, Equatable {
        /// Absolute path of the token's PKCS#11 library.
        package let module: String
        /// Label of the token, up to 32 octets.
        package let token: String
        /// Label of the key.
        package let key: String

        package init(module: String, token: String, key: String) {
            self.module = module
            self.token = token
            self.key = key
        }
    }

    private static let format: UInt8 = 2
    private static let nonceCount = 12
    private static let keyCount = 32

    private let location: Location
    private let pin: SymmetricKey
    package let fingerprint: String

    /// Finds the key and proves that it works.
    package init(_ location: Location, pin: SymmetricKey) throws {
        self.location = location
        self.pin = pin
        let module = try TokenModule.load(location.module)
        let mark = try module.session(token: location.token, pin: pin) { session in
            try unsafe session.encrypt(
                UnsafeRawBufferPointer(start: nil, count: 0), key: try session.key(labelled: location.key),
                nonce: [UInt8](repeating: 0, count: Self.nonceCount), aad: Array("HDS-KEK-2 fingerprint".utf8))
        }
        fingerprint = Hexadecimal.encode(mark.prefix(8))
    }

    /// Makes the key in the token; refuses when one of that label is there.
    package static func create(_ location: Location, pin: SymmetricKey) throws -> TokenKey {
        try TokenModule.load(location.module).session(token: location.token, pin: pin, writing: true) { session in
            try session.generateKey(label: location.key)
        }
        return try TokenKey(location, pin: pin)
    }

    package func wrap(_ rootKey: SymmetricKey, version: Int64) throws -> [UInt8] {
        let nonce = try RandomBytes.bytes(Self.nonceCount)
        let sealed = try session { session, key in
            try unsafe rootKey.withUnsafeBytes {
                try unsafe session.encrypt($0, key: key, nonce: nonce, aad: Self.context(version))
            }
        }
        return [Self.format] + nonce + sealed
    }

    package func unwrap(_ wrapped: [UInt8], version: Int64) throws -> SymmetricKey {
        let body = 1 + Self.nonceCount
        guard wrapped.count == body + Self.keyCount + TokenSession.tagCount, wrapped[0] == Self.format else {
            throw damaged(version)
        }
        return try session { session, key in
            do {
                return try session.decrypt(
                    Array(wrapped[body...]), key: key, nonce: Array(wrapped[1..<body]), aad: Self.context(version))
            } catch let error as DiagnosedError where error.code == .tokenFailed {
                // Tokens name a wrong tag in several ways; one that works otherwise has opened it wrongly.
                guard (try? selfTest(session, key)) == true else { throw error }
                throw damaged(version)
            }
        }
    }

    private func session<R>(_ body: (TokenSession, UInt) throws -> R) throws -> R {
        try TokenModule.load(location.module).session(token: location.token, pin: pin) { session in
            try body(session, UInt(try session.key(labelled: location.key)))
        }
    }

    private func selfTest(_ session: TokenSession, _ key: UInt) throws -> Bool {
        let nonce = try RandomBytes.bytes(Self.nonceCount)
        let probe = try SymmetricKey.random()
        let sealed = try unsafe probe.withUnsafeBytes {
            try unsafe session.encrypt($0, key: key, nonce: nonce, aad: [])
        }
        return try session.decrypt(sealed, key: key, nonce: nonce, aad: []).isEqual(to: probe)
    }

    private static func context(_ version: Int64) -> [UInt8] {
        var octets = [format]
        octets.append(lengthPrefixed: "HDS root key")
        octets.append(bigEndian: version)
        return octets
    }

    private func damaged(_ version: Int64) -> DiagnosedError {
        DiagnosedError(
            .rootKeyDamaged, fault: .store, "version \(version) of the root key does not unwrap",
            expected: "what key-encryption key \(fingerprint) wrapped",
            hint: "somebody changed the table of root keys; restore it from a backup")
    }
}

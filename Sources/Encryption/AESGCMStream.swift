internal import Diagnostics
internal import Cryptography
package import SecretMemory

extension AESGCM {
    /// Seals what arrives in pieces, such as a file; `finish` gives the tag. At most 64 GiB, as GCM allows.
    package struct Sealer: ~Copyable {
        private var cipher: GCMCipher

        package init(key: SymmetricKey, nonce: [UInt8], aad: [UInt8]) throws {
            cipher = try GCMCipher.start(.seal, key: key, nonce: nonce, aad: aad)
        }

        /// The ciphertext of the piece, of the same size.
        package mutating func update(_ plaintext: [UInt8]) throws -> [UInt8] {
            try unsafe [UInt8](unsafeUninitializedCapacity: plaintext.count) { target, initialized in
                let done = unsafe plaintext.withUnsafeBytes { unsafe cipher.update($0, into: target.baseAddress) }
                guard done else { throw Self.failure() }
                initialized = plaintext.count
            }
        }

        package consuming func finish() throws -> [UInt8] {
            try unsafe [UInt8](unsafeUninitializedCapacity: tagByteCount) { tag, initialized in
                guard unsafe cipher.finishSealing(tag: UnsafeMutableRawBufferPointer(tag)) else { throw Self.failure() }
                initialized = tagByteCount
            }
        }

        private static func failure() -> DiagnosedError {
            OpenSSLFailure.error(.cryptographyFailure, "AES-256-GCM failed")
        }
    }

    /// Opens what arrives in pieces. What `update` returns is **not authenticated** before `finish` has returned:
    /// keep it where it can be thrown away, and do not act on it.
    package struct Opener: ~Copyable {
        private var cipher: GCMCipher

        package init(key: SymmetricKey, nonce: [UInt8], aad: [UInt8]) throws {
            cipher = try GCMCipher.start(.open, key: key, nonce: nonce, aad: aad)
        }

        /// The plaintext of the piece, of the same size, to be held back until `finish`.
        package mutating func update(_ ciphertext: [UInt8]) throws -> [UInt8] {
            try unsafe [UInt8](unsafeUninitializedCapacity: ciphertext.count) { target, initialized in
                let done = unsafe ciphertext.withUnsafeBytes { unsafe cipher.update($0, into: target.baseAddress) }
                guard done else { throw AESGCM.failure() }
                initialized = ciphertext.count
            }
        }

        /// Throws when the tag is not the one of everything that went through.
        package consuming func finish(tag: [UInt8]) throws {
            guard tag.count == tagByteCount, cipher.finishOpening(tag: tag) else { throw AESGCM.failure() }
        }
    }
}

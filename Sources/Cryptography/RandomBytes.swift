internal import COpenSSL
internal import Diagnostics
package import SecretMemory

/// Random bytes from OpenSSL's generators, which the kernel seeds and which are safe across fork.
package enum RandomBytes {
    /// For what becomes public: nonces, identifiers, salts.
    package static func bytes(_ count: Int) throws -> [UInt8] {
        unsafe try [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            guard unsafe RAND_bytes_ex(nil, buffer.baseAddress, count, 0) == 1 else { throw unavailable() }
            initialized = count
        }
    }

    /// For what stays secret: from a generator of its own, so that public output tells nothing about it.
    package static func secret(_ count: Int) throws -> SecretBytes {
        try unsafe SecretBytes(count: count) { buffer in
            guard unsafe RAND_priv_bytes_ex(nil, buffer.baseAddress, count, 0) == 1 else { throw unavailable() }
        }
    }

    private static func unavailable() -> DiagnosedError {
        OpenSSLFailure.error(
            .randomnessUnavailable, "no random numbers can be made", hint: "check the kernel's getrandom")
    }
}

extension SymmetricKey {
    package static func random(count: Int = 32) throws -> SymmetricKey {
        SymmetricKey(try RandomBytes.secret(count))
    }
}

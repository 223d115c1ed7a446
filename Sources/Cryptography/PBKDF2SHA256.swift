internal import COpenSSL
internal import Diagnostics
package import SecretMemory

/// PBKDF2 with HMAC-SHA-256 (RFC 8018, section 5.2), for formats that prescribe it; passwords of our own are under scrypt.
package enum PBKDF2SHA256 {
    /// - Parameters:
    ///   - iterations: 1 to 2^31 - 1.
    ///   - count: octets of the result, at least 1.
    package static func derive(
        password: UnsafeRawBufferPointer, salt: UnsafeRawBufferPointer, iterations: Int, count: Int
    ) throws -> SymmetricKey {
        guard let rounds = Int32(exactly: iterations), rounds > 0, count > 0, password.count <= 1 << 20 else {
            throw DiagnosedError(
                .cryptographyFailure, fault: .internal, "the parameters of PBKDF2 are out of bounds",
                expected: "1 to \(Int32.max) iterations, 1 octet or more", found: "\(iterations), \(count)")
        }
        let derived = try unsafe SecretBytes(count: count) { target in
            let done = unsafe PKCS5_PBKDF2_HMAC(
                password.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(password.count),
                salt.baseAddress?.assumingMemoryBound(to: UInt8.self), Int32(salt.count), rounds, EVP_sha256(),
                Int32(count), target.baseAddress?.assumingMemoryBound(to: UInt8.self))
            guard done == 1 else { throw OpenSSLFailure.error(.cryptographyFailure, "PBKDF2 failed") }
        }
        return SymmetricKey(derived)
    }
}

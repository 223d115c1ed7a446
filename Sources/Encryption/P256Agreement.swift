internal import COpenSSL
package import Cryptography
internal import Diagnostics
package import SecretMemory

/// One side of an ECDH agreement on P-256 (NIST SP 800-56A): a key pair that is made, used and forgotten.
///
/// Any thread may use it; the private half ends with the object.
package final class P256Agreement: Sendable, CustomReflectable {
    private let handle: KeyHandle
    /// 32 octets each, leading zeros kept.
    package let publicX: [UInt8]
    package let publicY: [UInt8]

    private init(handle: KeyHandle) throws {
        guard let point = handle.p256Coordinates else {
            throw DiagnosedError(.privateKeyInvalid, fault: .internal, "no P-256 key can be made")
        }
        self.handle = handle
        (publicX, publicY) = point
    }

    package static func generate() throws -> P256Agreement {
        try P256Agreement(handle: try KeyHandle.generateP256())
    }

    /// With a key that is kept; a public half that is no point of P-256 is refused.
    package convenience init(_ key: PrivateKey) throws { try self.init(handle: key.handle) }

    /// From a known private scalar, for vectors and tests.
    package convenience init(privateScalar: UnsafeRawBufferPointer) throws {
        try self.init(handle: try unsafe KeyHandle.p256(scalar: privateScalar))
    }

    package convenience init(privateScalar: [UInt8]) throws {
        try self.init(handle: try unsafe privateScalar.withUnsafeBytes { try unsafe KeyHandle.p256(scalar: $0) })
    }

    /// Z, the x coordinate of the common point: 32 octets with leading zeros kept. The other's point must be on the
    /// curve; missing leading zeros of its coordinates are accepted.
    package func sharedSecret(withX x: [UInt8], y: [UInt8]) throws -> SymmetricKey {
        let other = try PublicKey(p256X: x, y: y)
        let context = unsafe EVP_PKEY_CTX_new_from_pkey(nil, handle.pointer, nil)
        defer { unsafe EVP_PKEY_CTX_free(context) }
        // The point was checked when the key was made, so OpenSSL need not do it again.
        guard unsafe EVP_PKEY_derive_init(context) == 1,
            unsafe EVP_PKEY_derive_set_peer_ex(context, other.handle.pointer, 0) == 1
        else { throw OpenSSLFailure.error(.cryptographyFailure, "the key agreement can not be set up") }
        let secret = try unsafe SecretBytes(capacity: 32) { target in
            var count = target.count
            let buffer = unsafe target.baseAddress?.assumingMemoryBound(to: UInt8.self)
            guard unsafe EVP_PKEY_derive(context, buffer, &count) == 1, count == 32 else {
                throw OpenSSLFailure.error(.cryptographyFailure, "the key agreement failed")
            }
            return count
        }
        return SymmetricKey(secret)
    }

    /// Nothing: a dump of any value that holds the key shows no key.
    package var customMirror: Mirror { Mirror(self, children: []) }
}

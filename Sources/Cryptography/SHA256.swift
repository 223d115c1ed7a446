internal import COpenSSL

/// SHA-256 (FIPS 180-4) of bytes that are at hand as a whole: 32 octets.
package enum SHA256 {
    package static let byteCount = 32

    package static func hash(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        unsafe [UInt8](unsafeUninitializedCapacity: byteCount) { digest, initialized in
            requireSuccess(
                unsafe EVP_Digest(
                    bytes.baseAddress, bytes.count, digest.baseAddress, nil, Primitive.sha256.pointer, nil),
                "SHA-256")
            initialized = byteCount
        }
    }

    /// For most callers: what is generic is not specialised across modules.
    package static func hash(_ bytes: [UInt8]) -> [UInt8] { unsafe bytes.withUnsafeBytes { unsafe hash($0) } }

    package static func hash(_ bytes: some Collection<UInt8>) -> [UInt8] {
        if let digest = bytes.withContiguousStorageIfAvailable({ unsafe hash(UnsafeRawBufferPointer($0)) }) {
            return digest
        }
        return unsafe Array(bytes).withUnsafeBytes { unsafe hash($0) }
    }
}

/// SHA-256 of bytes that arrive in pieces.
@safe
package struct SHA256Hasher: ~Copyable {
    private let context: OpaquePointer

    package init() {
        guard let context = unsafe EVP_MD_CTX_new() else { fatalError("out of memory: digest context") }
        unsafe self.context = context
        requireSuccess(unsafe EVP_DigestInit_ex2(context, Primitive.sha256.pointer, nil), "SHA-256")
    }

    deinit { unsafe EVP_MD_CTX_free(context) }

    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        requireSuccess(unsafe EVP_DigestUpdate(context, bytes.baseAddress, bytes.count), "SHA-256")
    }

    package mutating func update(_ bytes: some Collection<UInt8>) {
        if bytes.withContiguousStorageIfAvailable({ unsafe update(UnsafeRawBufferPointer($0)) }) == nil {
            unsafe Array(bytes).withUnsafeBytes { unsafe update($0) }
        }
    }

    package consuming func finalize() -> [UInt8] {
        unsafe [UInt8](unsafeUninitializedCapacity: SHA256.byteCount) { digest, initialized in
            requireSuccess(unsafe EVP_DigestFinal_ex(context, digest.baseAddress, nil), "SHA-256")
            initialized = SHA256.byteCount
        }
    }
}

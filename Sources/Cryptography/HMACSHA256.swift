internal import COpenSSL
package import SecretMemory

/// HMAC with SHA-256 (RFC 2104, FIPS 198-1): a tag of 32 octets under a key of any size.
package enum HMACSHA256 {
    package static let byteCount = 32

    package static func code(for message: UnsafeRawBufferPointer, key: SymmetricKey) -> [UInt8] {
        unsafe [UInt8](unsafeUninitializedCapacity: byteCount) { tag, initialized in
            var context = unsafe key.withUnsafeBytes { unsafe HMACSHA256Context(key: $0) }
            unsafe context.update(message)
            unsafe context.finalize(into: UnsafeMutableRawBufferPointer(tag))
            initialized = byteCount
        }
    }

    /// For most callers: what is generic is not specialised across modules.
    package static func code(for message: [UInt8], key: SymmetricKey) -> [UInt8] {
        unsafe message.withUnsafeBytes { unsafe code(for: $0, key: key) }
    }

    package static func code(for message: some Collection<UInt8>, key: SymmetricKey) -> [UInt8] {
        if let tag = message.withContiguousStorageIfAvailable({ unsafe code(for: UnsafeRawBufferPointer($0), key: key) }
        ) {
            return tag
        }
        return unsafe Array(message).withUnsafeBytes { unsafe code(for: $0, key: key) }
    }

    /// Whether `tag` is the whole tag of the message, compared in constant time; a shortened tag is none.
    package static func isValid(_ tag: some Collection<UInt8>, for message: UnsafeRawBufferPointer, key: SymmetricKey)
        -> Bool
    {
        unsafe constantTimeEqual(code(for: message, key: key), tag)
    }

    package static func isValid(_ tag: some Collection<UInt8>, for message: some Collection<UInt8>, key: SymmetricKey)
        -> Bool
    {
        constantTimeEqual(code(for: message, key: key), tag)
    }
}

/// HMAC-SHA-256 of a message in pieces, with the tag written to where the caller wants it (a secret, for HKDF).
@safe
package struct HMACSHA256Context: ~Copyable {
    private let context: OpaquePointer

    package init(key: UnsafeRawBufferPointer) {
        // A null key means "the key from before" to OpenSSL, so the empty key needs an address.
        var empty: UInt8 = 0
        self = unsafe withUnsafePointer(to: &empty) { empty in
            unsafe Self(start: key.baseAddress?.assumingMemoryBound(to: UInt8.self) ?? empty, count: key.count)
        }
    }

    /// For keys that are public, such as the salt of HKDF.
    package init(key: [UInt8]) {
        unsafe self.init(start: key, count: key.count)
    }

    private init(start: UnsafePointer<UInt8>, count: Int) {
        guard let context = unsafe EVP_MAC_CTX_dup(MACTemplate.sha256.context) else {
            fatalError("out of memory: MAC context")
        }
        unsafe self.context = context
        requireSuccess(unsafe EVP_MAC_init(context, start, count, nil), "HMAC")
    }

    deinit { unsafe EVP_MAC_CTX_free(context) }

    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        guard unsafe !bytes.isEmpty else { return }
        let start = unsafe bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        requireSuccess(unsafe EVP_MAC_update(context, start, bytes.count), "HMAC")
    }

    package mutating func update(_ bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { unsafe update($0) }
    }

    /// Writes the tag's 32 octets to the start of `tag`.
    package consuming func finalize(into tag: UnsafeMutableRawBufferPointer) {
        precondition(tag.count >= HMACSHA256.byteCount, "an HMAC needs room for 32 octets")
        var written = 0
        let start = unsafe tag.baseAddress?.assumingMemoryBound(to: UInt8.self)
        requireSuccess(unsafe EVP_MAC_final(context, start, &written, tag.count), "HMAC")
    }
}

/// HMAC with its digest chosen and no key yet: copying it spares every message the search for the digest.
@safe
private struct MACTemplate: @unchecked Sendable {  // points to a context that is only copied
    let context: OpaquePointer

    static let sha256 = MACTemplate("SHA256")

    private init(_ digest: StaticString) {
        let name: StaticString = "digest"
        let list = unsafe [
            OSSL_PARAM_construct_utf8_string(name.cString, UnsafeMutablePointer(mutating: digest.cString), 0),
            OSSL_PARAM_construct_end(),
        ]
        guard let context = unsafe EVP_MAC_CTX_new(Primitive.hmac.pointer) else {
            fatalError("out of memory: MAC context")
        }
        requireSuccess(unsafe EVP_MAC_CTX_set_params(context, list), "HMAC")
        unsafe self.context = context
    }
}

internal import COpenSSL
package import SecretMemory

/// HMAC-SHA-256 of many short messages under one key: the two blocks of the key are hashed once (RFC 2104, section 4).
///
/// A message of up to 55 octets then costs two compressions, where setting up a MAC of OpenSSL costs twenty times that. The
/// states are as secret as the key and stand in secret memory. Immutable; any thread may use it.
package final class HMACSHA256Midstate: Sendable, CustomReflectable {
    /// Inner and outer state of SHA-256 after one block: 8 words each, in the machine's order.
    private let states: SecretBytes
    private static let stateByteCount = 32

    package init(key: SymmetricKey) {
        states = unsafe SecretBytes(count: 2 * Self.stateByteCount) { target in
            var block = [UInt8](repeating: 0, count: 64)
            unsafe key.withUnsafeBytes { key in
                if key.count > block.count {
                    // As RFC 2104 says: a longer key is hashed first.
                    var digest = unsafe SHA256.hash(key)
                    block.replaceSubrange(0..<digest.count, with: digest)
                    wipe(&digest)
                } else {
                    for index in 0..<key.count { block[index] = unsafe key[index] }
                }
            }
            let words = unsafe target.baseAddress!.assumingMemoryBound(to: UInt32.self)  // 64 octets: never empty
            for index in block.indices { block[index] ^= 0x36 }
            unsafe hds_sha256_first_block(words, block)
            for index in block.indices { block[index] ^= 0x36 ^ 0x5c }
            unsafe hds_sha256_first_block(words + 8, block)
            wipe(&block)
        }
    }

    /// The tag of 32 octets, written to the start of `tag`.
    package func code(for message: UnsafeRawBufferPointer, into tag: UnsafeMutableRawBufferPointer) {
        precondition(tag.count >= HMACSHA256.byteCount, "an HMAC needs room for 32 octets")
        unsafe states.withUnsafeBytes { states in
            let words = unsafe states.baseAddress!.assumingMemoryBound(to: UInt32.self)  // 64 octets: never empty
            unsafe hds_sha256_two_passes(
                words, words + 8, message.baseAddress, message.count,
                tag.baseAddress!.assumingMemoryBound(to: UInt8.self))  // 32 octets: never empty
        }
    }

    package func code(for message: [UInt8]) -> [UInt8] {
        unsafe [UInt8](unsafeUninitializedCapacity: HMACSHA256.byteCount) { tag, initialized in
            unsafe message.withUnsafeBytes {
                unsafe code(for: $0, into: UnsafeMutableRawBufferPointer(tag))
            }
            initialized = HMACSHA256.byteCount
        }
    }

    /// The first 16 octets of the tag as two numbers, big endian.
    package func prefix(for message: [UInt8]) -> (high: UInt64, low: UInt64) {
        unsafe withUnsafeTemporaryAllocation(byteCount: HMACSHA256.byteCount, alignment: 8) { tag in
            unsafe message.withUnsafeBytes { unsafe code(for: $0, into: tag) }
            return unsafe (
                UInt64(bigEndian: tag.load(as: UInt64.self)),
                UInt64(bigEndian: tag.load(fromByteOffset: 8, as: UInt64.self))
            )
        }
    }

    /// Nothing: a dump shows no state.
    package var customMirror: Mirror { Mirror(self, children: []) }
}

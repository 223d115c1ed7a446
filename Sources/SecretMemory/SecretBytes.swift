internal import COpenSSL

/// Bytes that must not leak: one owner, off swap and core dumps where the kernel allows, wiped at the end.
///
/// The type can not be copied by accident, has no description and shows nothing to reflection. The content is reached
/// inside a closure only, so that a search for `withUnsafeBytes` lists every place that touches raw key material. It
/// is immutable once made and may be read by any thread.
///
/// ```swift
/// let secret = SecretBytes(count: 32) { buffer in readRandom(into: buffer) }
/// let first = secret.withUnsafeBytes { $0[0] }
/// ```
@safe @usableFromInline
package struct SecretBytes: ~Copyable, Sendable {
    @usableFromInline let block: SecretBlock
    @usableFromInline package let count: Int

    package init(copying bytes: UnsafeRawBufferPointer) {
        unsafe self.init(count: bytes.count) { unsafe $0.copyMemory(from: bytes) }
    }

    /// Copies from an array; the caller's array is not wiped.
    package init(copying bytes: [UInt8]) {
        unsafe self.init(count: bytes.count) { unsafe $0.copyBytes(from: bytes) }
    }

    /// `count` octets, zero at first, that `body` fills in place.
    package init<E: Error>(
        count: Int, initializingWith body: (UnsafeMutableRawBufferPointer) throws(E) -> Void
    ) throws(E) {
        try unsafe self.init(capacity: count) { (buffer) throws(E) -> Int in
            try unsafe body(buffer)
            return count
        }
    }

    /// At most `capacity` octets; `body` fills them and returns how many count. The rest is wiped with them.
    package init<E: Error>(
        capacity: Int, initializingWith body: (UnsafeMutableRawBufferPointer) throws(E) -> Int
    ) throws(E) {
        precondition(capacity >= 0, "a secret has no negative size")
        let block = SecretBlock(capacity: capacity)
        let buffer = unsafe UnsafeMutableRawBufferPointer(start: block.base, count: capacity)
        if capacity > 0 { unsafe buffer.initializeMemory(as: UInt8.self, repeating: 0) }
        let count = try unsafe body(buffer)
        precondition(count >= 0 && count <= capacity, "a secret can not be larger than its memory")
        self.block = block
        self.count = count
    }

    /// The bytes, for the time of `body`: no pointer may leave it, and what is copied out is no longer protected.
    @inlinable
    package borrowing func withUnsafeBytes<R: ~Copyable, E: Error>(
        _ body: (UnsafeRawBufferPointer) throws(E) -> R
    ) throws(E) -> R {
        try unsafe body(UnsafeRawBufferPointer(start: block.base, count: count))
    }

    package borrowing func copy() -> SecretBytes {
        unsafe withUnsafeBytes { unsafe SecretBytes(copying: $0) }
    }
}

/// Overwrites the elements with zeros where the compiler can not optimise it away.
///
/// Reaches this array's own storage only: make sure that no other variable holds a copy.
package func wipe(_ bytes: inout [UInt8]) {
    unsafe bytes.withUnsafeMutableBytes { unsafe OPENSSL_cleanse($0.baseAddress, $0.count) }
}

/// Whether both hold the same bytes, in time that depends on the lengths only.
package func constantTimeEqual(_ left: some Collection<UInt8>, _ right: some Collection<UInt8>) -> Bool {
    guard left.count == right.count else { return false }
    func compare(_ left: UnsafeBufferPointer<UInt8>, _ right: UnsafeBufferPointer<UInt8>) -> Bool {
        unsafe left.isEmpty || CRYPTO_memcmp(left.baseAddress, right.baseAddress, left.count) == 0
    }
    let fast = left.withContiguousStorageIfAvailable { left in
        right.withContiguousStorageIfAvailable { right in unsafe compare(left, right) }
    }
    if let fast, let fast { return fast }
    let left = Array(left), right = Array(right)
    return unsafe left.withUnsafeBufferPointer { left in
        unsafe right.withUnsafeBufferPointer { right in unsafe compare(left, right) }
    }
}

/// A secret key that several owners share: an immutable box around `SecretBytes`, wiped when the last owner lets go.
///
/// May stand in arrays and dictionaries. Any thread may use it. Keys are compared in constant time by `isEqual(to:)`;
/// there is no `==`, no hash and no description on purpose. Random keys are made by `SymmetricKey.random` of the
/// module Cryptography.
@usableFromInline
package final class SymmetricKey: Sendable, CustomReflectable {
    @usableFromInline let bytes: SecretBytes

    package init(_ bytes: consuming SecretBytes) {
        self.bytes = bytes
    }

    package init(copying bytes: UnsafeRawBufferPointer) {
        self.bytes = unsafe SecretBytes(copying: bytes)
    }

    /// Copies from an array; the caller's array is not wiped.
    package init(copying bytes: [UInt8]) {
        self.bytes = SecretBytes(copying: bytes)
    }

    package var count: Int { bytes.count }

    /// The bytes, for the time of `body`: no pointer may leave it, and what is copied out is no longer protected.
    @inlinable
    package func withUnsafeBytes<R: ~Copyable, E: Error>(
        _ body: (UnsafeRawBufferPointer) throws(E) -> R
    ) throws(E) -> R {
        try unsafe bytes.withUnsafeBytes(body)
    }

    package func isEqual(to other: SymmetricKey) -> Bool {
        unsafe withUnsafeBytes { left in
            unsafe other.withUnsafeBytes { right in unsafe constantTimeEqual(left, right) }
        }
    }

    /// Nothing: a dump of any value that holds a key shows no key.
    @usableFromInline package var customMirror: Mirror { Mirror(self, children: []) }
}

internal import Cryptography
internal import Diagnostics
package import SecretMemory

/// HKDF with SHA-256 (RFC 5869): many keys from one.
///
/// An empty salt stands for 32 zero octets, as the RFC says. Expanding to 32 octets costs one HMAC.
package enum HKDFSHA256 {
    package static let maximumCount = 255 * HMACSHA256.byteCount

    /// Extract, then expand.
    package static func derive(
        from key: SymmetricKey, salt: [UInt8] = [], info: [UInt8] = [], count: Int = 32
    ) throws -> SymmetricKey {
        try expand(extract(from: key, salt: salt), info: info, count: count)
    }

    /// The pseudorandom key: HMAC of the input under the salt.
    package static func extract(from key: SymmetricKey, salt: [UInt8] = []) -> SymmetricKey {
        extract(from: [key], salt: salt)
    }

    /// The same of several keys, one behind the other as they are.
    package static func extract(from keys: [SymmetricKey], salt: [UInt8] = []) -> SymmetricKey {
        let result = unsafe SecretBytes(count: HMACSHA256.byteCount) { target in
            var context = HMACSHA256Context(key: salt)
            for key in keys { unsafe key.withUnsafeBytes { unsafe context.update($0) } }
            unsafe context.finalize(into: target)
        }
        return SymmetricKey(result)
    }

    /// 1 to 8,160 octets from a pseudorandom key of at least 32.
    package static func expand(_ key: SymmetricKey, info: [UInt8], count: Int = 32) throws -> SymmetricKey {
        guard (1...maximumCount).contains(count), key.count >= HMACSHA256.byteCount else {
            throw DiagnosedError(
                .encryptionParameters, fault: .internal, "HKDF can not be used with these sizes",
                expected: "1 to \(maximumCount) octets from a key of at least \(HMACSHA256.byteCount)",
                found: "\(count) from \(key.count)")
        }
        let blockSize = HMACSHA256.byteCount
        let blocks = (count + blockSize - 1) / blockSize
        let result = unsafe SecretBytes(capacity: blocks * blockSize) { target in
            for index in 0..<blocks {
                let block = unsafe UnsafeMutableRawBufferPointer(rebasing: target[(index * blockSize)...])
                var context = unsafe key.withUnsafeBytes { unsafe HMACSHA256Context(key: $0) }
                if index > 0 {
                    let previous = unsafe target[((index - 1) * blockSize)..<(index * blockSize)]
                    unsafe context.update(UnsafeRawBufferPointer(rebasing: previous))
                }
                context.update(info)
                context.update([UInt8(index + 1)])
                unsafe context.finalize(into: block)
            }
            return count
        }
        return SymmetricKey(result)
    }
}

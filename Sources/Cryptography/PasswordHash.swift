internal import COpenSSL
internal import Diagnostics
package import SecretMemory
private import WireText

/// Passwords stored as scrypt hashes (RFC 7914) in one line: `scrypt$ln=15,r=8,p=1$SALT$HASH`, both base64url.
///
/// One hash takes about 32 MiB and a tenth of a second by intent: call it off the event loops. The parameters of a
/// stored hash are bounded, so that a planted line can not exhaust memory.
package enum PasswordHash {
    private static let defaultLogN = 15
    private static let blockSize = 8
    private static let saltBytes = 16
    private static let hashBytes = 32
    private static let allowedLogN = 10...18
    /// What one comparison may take, whatever a stored line says.
    private static let maximumMemory = 256 << 20

    package static func hash(_ password: String) throws -> String {
        let salt = try RandomBytes.bytes(saltBytes)
        let secret = SecretBytes(copying: Array(password.utf8))
        let key = try unsafe secret.withUnsafeBytes {
            try unsafe derive(password: $0, salt: salt, logN: defaultLogN, count: hashBytes)
        }
        let hash = unsafe key.withUnsafeBytes { unsafe Base64URL.encode(Array($0)) }
        return "scrypt$ln=\(defaultLogN),r=\(blockSize),p=1$\(Base64URL.encode(salt))$\(hash)"
    }

    /// Whether the password is the one of the line; false also for a line that is not of the form above.
    package static func verify(_ password: String, against line: String) -> Bool {
        guard let stored = Stored(line) else { return false }
        let secret = SecretBytes(copying: Array(password.utf8))
        let key = unsafe secret.withUnsafeBytes {
            unsafe scrypt(
                password: $0, salt: stored.salt, logN: stored.logN, r: stored.r, p: stored.p, count: stored.hash.count)
        }
        guard let key else { return false }
        return unsafe key.withUnsafeBytes { unsafe constantTimeEqual($0, stored.hash) }
    }

    /// Whether `verify` can compare with this line: for refusing a clear password in its place when a file is read.
    package static func isHash(_ line: String) -> Bool { Stored(line) != nil }

    /// A key from a password, with r = 8 and p = 1.
    package static func derive(
        password: UnsafeRawBufferPointer, salt: [UInt8], logN: Int, count: Int = 32
    ) throws -> SymmetricKey {
        guard allowedLogN.contains(logN), !salt.isEmpty, (16...64).contains(count) else {
            throw DiagnosedError(
                .cryptographyFailure, fault: .internal, "the parameters of scrypt are out of bounds",
                expected: "ln in \(allowedLogN), a salt, 16 to 64 octets",
                found: "ln \(logN), a salt of \(salt.count), \(count) octets")
        }
        let key = unsafe scrypt(password: password, salt: salt, logN: logN, r: blockSize, p: 1, count: count)
        guard let key else { throw OpenSSLFailure.error(.cryptographyFailure, "scrypt failed") }
        return key
    }

    private struct Stored {
        let logN: Int, r: Int, p: Int
        let salt: [UInt8], hash: [UInt8]

        init?(_ line: String) {
            let parts = line.split(separator: "$", omittingEmptySubsequences: false)
            guard parts.count == 4, parts[0] == "scrypt", line.utf8.count <= 256,
                let salt = Base64URL.decode(parts[2]), let hash = Base64URL.decode(parts[3]),
                (8...64).contains(salt.count), (16...64).contains(hash.count)
            else { return nil }
            let numbers = parts[1].split(separator: ",", omittingEmptySubsequences: false)
            func number(_ index: Int, _ name: String) -> Int? {
                guard numbers.count == 3, numbers[index].hasPrefix(name) else { return nil }
                let digits = numbers[index].dropFirst(name.utf8.count)
                return digits.allSatisfy { $0.isASCII && $0.isNumber } ? Int(digits) : nil
            }
            guard let logN = number(0, "ln="), let r = number(1, "r="), let p = number(2, "p="),
                PasswordHash.allowedLogN.contains(logN), (1...16).contains(r), (1...4).contains(p),
                128 * r << logN <= PasswordHash.maximumMemory
            else { return nil }
            (self.logN, self.r, self.p, self.salt, self.hash) = (logN, r, p, salt, hash)
        }
    }

    private static func scrypt(
        password: UnsafeRawBufferPointer, salt: [UInt8], logN: Int, r: Int, p: Int, count: Int
    ) -> SymmetricKey? {
        guard let context = unsafe EVP_KDF_CTX_new(Primitive.scrypt.pointer) else { return nil }
        defer { unsafe EVP_KDF_CTX_free(context) }
        let rounds = UInt64(1) << UInt64(logN)
        var numbers = [rounds, UInt64(r), UInt64(p), 128 * UInt64(r) * (rounds + UInt64(p) + 2) + (1 << 20)]
        // A null password means "none given" to OpenSSL, so the empty one needs an address.
        var salt = salt, empty: [UInt8] = [0]
        var result: Int32 = 0
        let derived = unsafe SecretBytes(count: count) { buffer in
            // The list points to these variables and to the caller's bytes; nothing is copied on the way.
            result = unsafe numbers.withUnsafeMutableBufferPointer { numbers in
                unsafe salt.withUnsafeMutableBytes { salt in
                    unsafe empty.withUnsafeMutableBytes { empty in
                        let start = unsafe UnsafeMutableRawPointer(mutating: password.baseAddress) ?? empty.baseAddress
                        guard let first = numbers.baseAddress else { return 0 }
                        let list = unsafe [
                            octets("pass", start, password.count), octets("salt", salt.baseAddress, salt.count),
                            number("n", first), number("r", first + 1), number("p", first + 2),
                            number("maxmem_bytes", first + 3), OSSL_PARAM_construct_end(),
                        ]
                        let target = unsafe buffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
                        return unsafe EVP_KDF_derive(context, target, count, list)
                    }
                }
            }
        }
        return result == 1 ? SymmetricKey(derived) : nil
    }

    private static func octets(_ name: StaticString, _ start: UnsafeMutableRawPointer?, _ count: Int) -> OSSL_PARAM {
        unsafe OSSL_PARAM_construct_octet_string(name.cString, start, count)
    }

    private static func number(_ name: StaticString, _ value: UnsafeMutablePointer<UInt64>) -> OSSL_PARAM {
        unsafe OSSL_PARAM_construct_uint64(name.cString, value)
    }
}

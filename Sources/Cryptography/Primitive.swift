internal import COpenSSL

/// The digests and functions of libcrypto that the project uses, each fetched once.
///
/// An implicit fetch by every operation costs more than the hashing of a short message. The objects are immutable
/// and reference counted; they live as long as the process.
@safe
package struct Primitive: @unchecked Sendable {  // points to an immutable object that OpenSSL shares among threads
    package let pointer: OpaquePointer

    private init(_ name: String, _ pointer: OpaquePointer?) {
        guard let pointer = unsafe pointer else {
            // Not a matter of input: the system's libcrypto lacks its default provider, and nothing can work.
            let reason = OpenSSLFailure.drainReasons() ?? "no reason given"
            fatalError("the system's OpenSSL does not offer \(name): \(reason); check openssl.cnf and its providers")
        }
        unsafe self.pointer = pointer
    }

    package static let sha1 = unsafe Primitive("SHA1", EVP_MD_fetch(nil, "SHA1", nil))
    package static let sha256 = unsafe Primitive("SHA256", EVP_MD_fetch(nil, "SHA256", nil))
    package static let sha384 = unsafe Primitive("SHA384", EVP_MD_fetch(nil, "SHA384", nil))
    package static let sha512 = unsafe Primitive("SHA512", EVP_MD_fetch(nil, "SHA512", nil))
    static let hmac = unsafe Primitive("HMAC", EVP_MAC_fetch(nil, "HMAC", nil))
    static let aes128 = unsafe Primitive("AES-128-ECB", EVP_CIPHER_fetch(nil, "AES-128-ECB", nil))
    static let scrypt = unsafe Primitive("SCRYPT", EVP_KDF_fetch(nil, "SCRYPT", nil))
}

/// Ends the process where OpenSSL fails although no input can be the cause: memory is exhausted or the library broken.
///
/// For operations such as hashing, whose callers could do nothing with an error and must not go on without the result.
func requireSuccess(_ result: Int32, _ operation: StaticString) {
    guard result == 1 else {
        fatalError("OpenSSL failed: \(operation): \(OpenSSLFailure.drainReasons() ?? "no reason given")")
    }
}

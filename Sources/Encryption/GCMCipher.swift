internal import COpenSSL
internal import Cryptography
internal import Diagnostics
internal import SecretMemory

/// One run of OpenSSL's AES-256-GCM; its key schedule is wiped when the run ends.
@safe
struct GCMCipher: ~Copyable {
    enum Direction {
        case open, seal
    }

    private let context: OpaquePointer

    private init() {
        guard let context = unsafe EVP_CIPHER_CTX_new() else { fatalError("out of memory: cipher context") }
        unsafe self.context = context
    }

    /// A factory, because an initialiser of a type with a `deinit` can not throw half-way.
    static func start(
        _ direction: Direction, key: SymmetricKey, nonce: [UInt8], aad: UnsafeRawBufferPointer
    ) throws(DiagnosedError) -> GCMCipher {
        guard key.count == AESGCM.keyByteCount, nonce.count == AESGCM.nonceByteCount else {
            throw DiagnosedError(
                .encryptionParameters, fault: .peer, "AES-256-GCM can not be used with these sizes",
                expected: "a key of \(AESGCM.keyByteCount) octets and a nonce of \(AESGCM.nonceByteCount)",
                found: "\(key.count) and \(nonce.count)")
        }
        var cipher = GCMCipher()
        let context = unsafe cipher.context
        let isReady = unsafe key.withUnsafeBytes { key in
            let key = unsafe key.baseAddress?.assumingMemoryBound(to: UInt8.self)
            let algorithm = unsafe FetchedCipher.aes256GCM.pointer
            switch direction {
            case .seal: return unsafe EVP_EncryptInit_ex2(context, algorithm, key, nonce, nil) == 1
            // By this name, a look at a binary's symbols tells whether it can decrypt.
            case .open: return unsafe EVP_DecryptInit_ex2(context, algorithm, key, nonce, nil) == 1
            }
        }
        guard isReady, unsafe cipher.pass(aad, into: nil) else {
            throw OpenSSLFailure.error(.cryptographyFailure, "AES-256-GCM failed")
        }
        return cipher
    }

    static func start(
        _ direction: Direction, key: SymmetricKey, nonce: [UInt8], aad: [UInt8]
    ) throws(DiagnosedError) -> GCMCipher {
        var cipher = try unsafe start(
            direction, key: key, nonce: nonce, aad: UnsafeRawBufferPointer(start: nil, count: 0))
        guard unsafe aad.withUnsafeBytes({ unsafe cipher.pass($0, into: nil) }) else {
            throw OpenSSLFailure.error(.cryptographyFailure, "AES-256-GCM failed")
        }
        return cipher
    }

    deinit { unsafe EVP_CIPHER_CTX_free(context) }

    mutating func update(_ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawPointer?) -> Bool {
        unsafe pass(input, into: output)
    }

    mutating func finishSealing(tag: UnsafeMutableRawBufferPointer) -> Bool {
        var none: UInt8 = 0
        var count: Int32 = 0
        return unsafe EVP_CipherFinal_ex(context, &none, &count) == 1
            && EVP_CIPHER_CTX_ctrl(
                context, EVP_CTRL_AEAD_GET_TAG, Int32(AESGCM.tagByteCount), tag.baseAddress) == 1
    }

    /// Compares the tag in constant time.
    mutating func finishOpening(tag: [UInt8]) -> Bool {
        var tag = tag
        var none: UInt8 = 0
        var count: Int32 = 0
        let isSet = unsafe tag.withUnsafeMutableBytes {
            unsafe EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, Int32($0.count), $0.baseAddress)
        }
        return unsafe isSet == 1 && EVP_CipherFinal_ex(context, &none, &count) == 1
    }

    /// OpenSSL counts in 32 bits, so long input goes through in pieces.
    private mutating func pass(_ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawPointer?) -> Bool {
        var offset = 0
        while offset < input.count {
            let piece = min(input.count - offset, 1 << 30)
            var written: Int32 = 0
            let source = unsafe input.baseAddress?.advanced(by: offset).assumingMemoryBound(to: UInt8.self)
            let target = unsafe output?.advanced(by: offset).assumingMemoryBound(to: UInt8.self)
            guard unsafe EVP_CipherUpdate(context, target, &written, source, Int32(piece)) == 1 else { return false }
            offset += piece
        }
        return true
    }
}

/// The cipher of libcrypto, fetched once.
@safe
private struct FetchedCipher: @unchecked Sendable {  // points to an immutable object that OpenSSL shares among threads
    let pointer: OpaquePointer

    static let aes256GCM = FetchedCipher("AES-256-GCM")

    private init(_ name: String) {
        guard let pointer = unsafe EVP_CIPHER_fetch(nil, name, nil) else {
            // Not a matter of input: the system's libcrypto lacks its default provider, and nothing can work.
            fatalError("the system's OpenSSL does not offer \(name): check openssl.cnf and its providers")
        }
        unsafe self.pointer = pointer
    }
}

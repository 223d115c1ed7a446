internal import COpenSSL
package import Diagnostics
internal import SecretMemory

/// One key object of OpenSSL, freed with its last owner.
///
/// OpenSSL lets several threads use a key at once as long as nobody changes it; nobody does after construction.
@safe
package final class KeyHandle: @unchecked Sendable {  // owns an EVP_PKEY that is never changed
    package let pointer: OpaquePointer

    /// Takes over the reference.
    package init(owning pointer: OpaquePointer) {
        unsafe self.pointer = pointer
    }

    deinit { unsafe EVP_PKEY_free(pointer) }

    var isRSA: Bool { unsafe EVP_PKEY_is_a(pointer, "RSA") == 1 }

    var isP256: Bool {
        guard unsafe EVP_PKEY_is_a(pointer, "EC") == 1 else { return false }
        var name = [CChar](repeating: 0, count: 64)
        let found = unsafe name.withUnsafeMutableBufferPointer { buffer in
            unsafe EVP_PKEY_get_utf8_string_param(
                pointer, OSSL_PKEY_PARAM_GROUP_NAME, buffer.baseAddress, buffer.count, nil)
        }
        guard found == 1 else {
            ERR_clear_error()
            return false
        }
        return name.starts(with: "prime256v1\0".utf8.map { CChar(bitPattern: $0) })
    }

    /// A public number of the key, big-endian without leading zeros.
    func publicNumber(_ name: String) -> [UInt8]? {
        var number: OpaquePointer?
        guard unsafe EVP_PKEY_get_bn_param(pointer, name, &number) == 1, let number = unsafe number else {
            ERR_clear_error()
            return nil
        }
        defer { unsafe BN_clear_free(number) }
        let count = Int((unsafe BN_num_bits(number) + 7) / 8)
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            initialized = Int(max(0, unsafe BN_bn2binpad(number, buffer.baseAddress, Int32(count))))
        }
        return bytes.count == count ? bytes : nil
    }

    /// The point of a P-256 key, 32 octets each.
    package var p256Coordinates: (x: [UInt8], y: [UInt8])? {
        guard isP256 else { return nil }
        var count = 0
        let encoded = unsafe [UInt8](unsafeUninitializedCapacity: 65) { buffer, initialized in
            let result = unsafe EVP_PKEY_get_octet_string_param(
                pointer, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, buffer.baseAddress, buffer.count, &count)
            initialized = result == 1 ? min(count, 65) : 0
        }
        guard encoded.count == 65, encoded[0] == 4 else {
            ERR_clear_error()
            return nil
        }
        return (Array(encoded[1..<33]), Array(encoded[33...]))
    }

    /// Whether an RSA private key has two primes whose product is its modulus.
    ///
    /// OpenSSL signs with wrong primes too, by falling back to the private exponent at three times the cost.
    var modulusIsProductOfPrimes: Bool {
        var numbers: [OpaquePointer?] = unsafe [nil, nil, nil]
        let product = unsafe BN_secure_new()
        let scratch = unsafe BN_CTX_secure_new()
        defer {
            unsafe numbers.forEach { unsafe BN_clear_free($0) }
            unsafe BN_clear_free(product)
            unsafe BN_CTX_free(scratch)
            ERR_clear_error()
        }
        for (index, name) in ["n", "rsa-factor1", "rsa-factor2"].enumerated() {
            guard unsafe EVP_PKEY_get_bn_param(pointer, name, &numbers[index]) == 1 else { return false }
        }
        return unsafe BN_mul(product, numbers[1], numbers[2], scratch) == 1 && BN_cmp(product, numbers[0]) == 0
    }

    var subjectPublicKeyInfo: [UInt8] {
        var encoded: UnsafeMutablePointer<UInt8>?
        let count = unsafe i2d_PUBKEY(pointer, &encoded)
        guard count > 0, let encoded = unsafe encoded else {
            fatalError("OpenSSL can not encode a key that it made: \(OpenSSLFailure.drainReasons() ?? "")")
        }
        defer { unsafe CRYPTO_free(encoded, nil, 0) }
        return unsafe Array(UnsafeBufferPointer(start: encoded, count: Int(count)))
    }

    /// A new key pair on P-256, without the checks that a key from a file needs.
    package static func generateP256() throws(DiagnosedError) -> KeyHandle {
        try unsafe generate("EC", from: EVP_PKEY_CTX_new_from_pkey(nil, P256Import.template.pointer, nil)) { _ in true }
    }

    package static func p256(scalar: UnsafeRawBufferPointer) throws(DiagnosedError) -> KeyHandle {
        SecureHeap.initialize()
        return try unsafe P256Import.privateKey(scalar: scalar)
    }

    static func generate(
        _ type: String, _ configure: (OpaquePointer) -> Bool
    ) throws(DiagnosedError) -> KeyHandle {
        try unsafe generate(type, from: EVP_PKEY_CTX_new_from_name(nil, type, nil), configure)
    }

    /// Takes over the context.
    private static func generate(
        _ type: String, from context: OpaquePointer?, _ configure: (OpaquePointer) -> Bool
    ) throws(DiagnosedError) -> KeyHandle {
        SecureHeap.initialize()
        defer { unsafe EVP_PKEY_CTX_free(context) }
        var key: OpaquePointer?
        guard let context = unsafe context, unsafe EVP_PKEY_keygen_init(context) == 1, unsafe configure(context),
            unsafe EVP_PKEY_generate(context, &key) == 1, let key = unsafe key
        else { throw OpenSSLFailure.error(.cryptographyFailure, "no \(type) key can be made") }
        return unsafe KeyHandle(owning: key)
    }

    /// Makes a key of one type (`RSA`, `EC`) from its numbers.
    static func build(
        type: String, selection: Int32, _ describe: (inout KeyNumbers) -> Bool
    ) throws(DiagnosedError) -> KeyHandle {
        var numbers = KeyNumbers()
        guard describe(&numbers), let parameters = unsafe numbers.parameters() else {
            throw OpenSSLFailure.error(.keyInvalid, fault: .peer, "the numbers of the \(type) key can not be used")
        }
        defer { unsafe OSSL_PARAM_free(parameters) }
        let context = unsafe EVP_PKEY_CTX_new_from_name(nil, type, nil)
        defer { unsafe EVP_PKEY_CTX_free(context) }
        var key: OpaquePointer?
        guard unsafe EVP_PKEY_fromdata_init(context) == 1,
            unsafe EVP_PKEY_fromdata(context, &key, selection, parameters) == 1, let key = unsafe key
        else {
            throw OpenSSLFailure.error(.keyInvalid, fault: .peer, "the \(type) key is not valid")
        }
        return unsafe KeyHandle(owning: key)
    }

    static let publicSelection = Int32(OSSL_KEYMGMT_SELECT_ALL_PARAMETERS | OSSL_KEYMGMT_SELECT_PUBLIC_KEY)
    static let pairSelection = publicSelection | Int32(OSSL_KEYMGMT_SELECT_PRIVATE_KEY)
}

/// The numbers a key is made of, on their way into OpenSSL: private ones stand on the secure heap and are wiped.
@safe
struct KeyNumbers: ~Copyable {
    private let builder: OpaquePointer?
    private var numbers: [OpaquePointer?] = unsafe []
    /// The builder keeps pointers to what it is given, so octets must outlive it, as static strings do.
    private var octets: [[UInt8]] = []

    init() {
        unsafe builder = OSSL_PARAM_BLD_new()
    }

    deinit {
        unsafe OSSL_PARAM_BLD_free(builder)
        unsafe numbers.forEach { unsafe BN_clear_free($0) }
    }

    mutating func add(_ name: StaticString, public bytes: [UInt8]) -> Bool {
        unsafe bytes.withUnsafeBytes { unsafe add(name, $0, to: BN_new()) }
    }

    mutating func add(_ name: StaticString, secret bytes: UnsafeRawBufferPointer) -> Bool {
        unsafe add(name, bytes, to: BN_secure_new())
    }

    mutating func add(_ name: StaticString, text: StaticString) -> Bool {
        unsafe OSSL_PARAM_BLD_push_utf8_string(builder, name.cString, text.cString, 0) == 1
    }

    mutating func add(_ name: StaticString, octets bytes: [UInt8]) -> Bool {
        octets.append(bytes)
        return unsafe octets[octets.count - 1].withUnsafeBytes { bytes in
            unsafe OSSL_PARAM_BLD_push_octet_string(builder, name.cString, bytes.baseAddress, bytes.count) == 1
        }
    }

    private mutating func add(_ name: StaticString, _ bytes: UnsafeRawBufferPointer, to number: OpaquePointer?) -> Bool
    {
        unsafe numbers.append(number)
        let start = unsafe bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        guard let number = unsafe number, unsafe BN_bin2bn(start, Int32(bytes.count), number) != nil else {
            return false
        }
        return unsafe OSSL_PARAM_BLD_push_BN(builder, name.cString, number) == 1
    }

    func parameters() -> UnsafeMutablePointer<OSSL_PARAM>? {
        unsafe OSSL_PARAM_BLD_to_param(builder)
    }
}

extension StaticString {
    /// The text with its final zero, valid for ever; OpenSSL keeps the names of parameters by address.
    var cString: UnsafePointer<CChar> {
        unsafe UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self)
    }
}

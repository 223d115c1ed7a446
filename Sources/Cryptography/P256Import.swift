internal import COpenSSL
internal import Diagnostics

/// P-256 keys from their numbers, with the curve's checks.
enum P256Import {
    private static let groupName: StaticString = "prime256v1"

    /// A key of the curve whose parameters the others copy: several times faster than naming the curve each time.
    static let template: KeyHandle = {
        do {
            return try unsafe KeyHandle.generate("EC") { unsafe EVP_PKEY_CTX_set_group_name($0, "prime256v1") == 1 }
        } catch {
            // Not a matter of input: the system's libcrypto lacks the curve, and nothing can work.
            fatalError("the system's OpenSSL does not offer P-256: \(error)")
        }
    }()

    /// Refuses a point that is not on the curve; infinity has no coordinates and can not be said.
    static func publicKey(x: [UInt8], y: [UInt8]) throws(DiagnosedError) -> KeyHandle {
        guard let key = unsafe EVP_PKEY_new() else { fatalError("out of memory: key") }
        let handle = unsafe KeyHandle(owning: key)
        let point = [4] + x + y
        guard unsafe EVP_PKEY_copy_parameters(key, template.pointer) == 1,
            unsafe EVP_PKEY_set1_encoded_public_key(key, point, point.count) == 1
        else {
            throw OpenSSLFailure.error(
                .keyInvalid, fault: .peer, "the P-256 public key is not valid", expected: "a point on the curve")
        }
        return handle
    }

    /// From the private scalar, a number from 1 to the order of the curve minus 1.
    static func privateKey(scalar: UnsafeRawBufferPointer) throws(DiagnosedError) -> KeyHandle {
        guard let point = unsafe publicPoint(scalar: scalar) else {
            OpenSSLFailure.discard()
            throw DiagnosedError(
                .privateKeyInvalid, fault: .configuration, "the P-256 private key is not valid",
                expected: "a number from 1 to the order of the curve minus 1")
        }
        return try KeyHandle.build(type: "EC", selection: KeyHandle.pairSelection) {
            unsafe $0.add("group", text: groupName)
                && $0.add("pub", octets: point)
                && $0.add("priv", secret: scalar)
        }
    }

    private static func publicPoint(scalar: UnsafeRawBufferPointer) -> [UInt8]? {
        guard unsafe !scalar.isEmpty, scalar.count <= 33 else { return nil }
        let group = unsafe EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1)
        let number = unsafe BN_secure_new()
        let point = unsafe EC_POINT_new(group)
        defer {
            unsafe EC_POINT_free(point)
            unsafe BN_clear_free(number)
            unsafe EC_GROUP_free(group)
        }
        let start = unsafe scalar.baseAddress?.assumingMemoryBound(to: UInt8.self)
        guard unsafe BN_bin2bn(start, Int32(scalar.count), number) != nil, unsafe BN_is_zero(number) == 0,
            unsafe BN_cmp(number, EC_GROUP_get0_order(group)) < 0
        else { return nil }
        unsafe BN_set_flags(number, BN_FLG_CONSTTIME)
        guard unsafe EC_POINT_mul(group, point, number, nil, nil, nil) == 1 else { return nil }
        let encoded = unsafe [UInt8](unsafeUninitializedCapacity: 65) { buffer, initialized in
            initialized = unsafe EC_POINT_point2oct(
                group, point, POINT_CONVERSION_UNCOMPRESSED, buffer.baseAddress, 65, nil)
        }
        return encoded.count == 65 ? encoded : nil
    }
}

internal import COpenSSL
internal import Diagnostics
private import WireText

/// A public key that verifies signatures, or that another module encrypts to: RSA of 2048 to 8192 bits, or P-256.
///
/// A value of this type is a sound key: on its curve, large enough, with a usable exponent, not a known weak one (but
/// for certificates' keys of kind `unsupported`, which do nothing).
/// Immutable; any thread may use it. Two keys are equal when their numbers are.
package final class PublicKey: Sendable, Equatable {
    package enum Kind: Sendable, Hashable {
        case rsa(bits: Int)
        case p256
        /// A certificate's key of a kind or strength that the project does not use, such as P-384 of an authority: it
        /// verifies nothing here and nothing is encrypted to it; only its encoding counts.
        case unsupported
    }

    package let kind: Kind
    /// For the modules that hand the key to OpenSSL.
    package let handle: KeyHandle
    /// Modulus and exponent, the coordinates x and y, or the encoding.
    private let numbers: ([UInt8], [UInt8])

    /// An RSA key from big-endian numbers; leading zero octets are dropped.
    package init(rsaModulus: [UInt8], exponent: [UInt8]) throws {
        let modulus = RSAKeyRules.withoutLeadingZeros(rsaModulus)
        let exponent = RSAKeyRules.withoutLeadingZeros(exponent)
        try RSAKeyRules.check(modulus: modulus, exponent: exponent)
        handle = try KeyHandle.build(type: "RSA", selection: KeyHandle.publicSelection) {
            $0.add("n", public: modulus) && $0.add("e", public: exponent)
        }
        kind = .rsa(bits: RSAKeyRules.bitCount(modulus))
        numbers = (modulus, exponent)
    }

    /// A point of P-256, which must be on the curve. Missing leading zero octets are accepted, as clients leave them out.
    package init(p256X: [UInt8], y: [UInt8]) throws {
        guard let x = Self.coordinate(p256X), let y = Self.coordinate(y) else {
            throw DiagnosedError(
                .keyInvalid, fault: .peer, "the coordinates of the P-256 key have the wrong size",
                expected: "1 to 32 octets each", found: "\(p256X.count) and \(y.count)")
        }
        handle = try P256Import.publicKey(x: x, y: y)
        kind = .p256
        numbers = (x, y)
    }

    /// A SubjectPublicKeyInfo (RFC 5280) in DER: exactly one, of a named curve with an uncompressed point.
    package convenience init(subjectPublicKeyInfo der: [UInt8]) throws {
        guard der.count <= 4096, DERStructure.isWellFormed(der) else {
            throw DiagnosedError(.keyInvalid, fault: .peer, "the public key is not valid DER")
        }
        let key: OpaquePointer? = unsafe der.withUnsafeBufferPointer { buffer in
            var position = buffer.baseAddress
            return unsafe d2i_PUBKEY(nil, &position, buffer.count)
        }
        guard let key = unsafe key else {
            throw OpenSSLFailure.error(.keyInvalid, fault: .peer, "the public key can not be read")
        }
        try self.init(handle: unsafe KeyHandle(owning: key))
        guard subjectPublicKeyInfo == der else {
            throw DiagnosedError(
                .keyInvalid, fault: .peer, "the public key is not in its usual encoding",
                expected: "plain RSA, or the named curve P-256 with an uncompressed point")
        }
    }

    /// The first `PUBLIC KEY` block of a PEM text (RFC 7468).
    package convenience init(pem: String) throws {
        guard let der = try PEMText.blocks("PUBLIC KEY", in: pem).first else {
            throw DiagnosedError(.keyInvalid, fault: .configuration, "no public key", expected: "a block PUBLIC KEY")
        }
        try self.init(subjectPublicKeyInfo: der)
    }

    /// The public half of any key that OpenSSL read, if it is of a supported kind; the handle itself is not kept.
    convenience init(handle: KeyHandle) throws {
        if handle.isRSA, let modulus = handle.publicNumber("n"), let exponent = handle.publicNumber("e") {
            try self.init(rsaModulus: modulus, exponent: exponent)
        } else if let point = handle.p256Coordinates {
            try self.init(p256X: point.x, y: point.y)
        } else {
            throw DiagnosedError(
                .keyInvalid, fault: .peer, "the key is of a kind that is not supported", expected: "RSA or EC P-256")
        }
    }

    /// A certificate's key, whatever it is.
    init(certificateKey handle: KeyHandle) {
        if let key = try? PublicKey(handle: handle) {
            (kind, self.handle, numbers) = (key.kind, key.handle, key.numbers)
        } else {
            OpenSSLFailure.discard()
            (kind, self.handle, numbers) = (.unsupported, handle, (handle.subjectPublicKeyInfo, []))
        }
    }

    package var rsaModulus: [UInt8]? {
        if case .rsa = kind { numbers.0 } else { nil }
    }

    package var rsaExponent: [UInt8]? {
        if case .rsa = kind { numbers.1 } else { nil }
    }

    /// 32 octets each.
    package var p256Coordinates: (x: [UInt8], y: [UInt8])? {
        kind == .p256 ? (numbers.0, numbers.1) : nil
    }

    /// The key as SubjectPublicKeyInfo in DER.
    package var subjectPublicKeyInfo: [UInt8] { handle.subjectPublicKeyInfo }

    /// What public-key pins compare (RFC 7469).
    package var spkiSHA256: [UInt8] { SHA256.hash(subjectPublicKeyInfo) }

    package var pem: String { PEMText.encode("PUBLIC KEY", subjectPublicKeyInfo) }

    /// The pointer stays valid during `body`.
    package func withUnsafePointer<R, E: Error>(_ body: (OpaquePointer) throws(E) -> R) throws(E) -> R {
        try unsafe body(handle.pointer)
    }

    package static func == (left: PublicKey, right: PublicKey) -> Bool {
        left.kind == right.kind && left.numbers == right.numbers
    }

    private static func coordinate(_ bytes: [UInt8]) -> [UInt8]? {
        guard !bytes.isEmpty, bytes.count <= 32 else { return nil }
        return [UInt8](repeating: 0, count: 32 - bytes.count) + bytes
    }
}

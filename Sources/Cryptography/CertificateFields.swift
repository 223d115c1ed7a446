internal import COpenSSL
internal import Diagnostics
private import Glibc
internal import WireText

/// The parts of OpenSSL's certificate as Swift values, each refused when two readers could take it differently.
enum CertificateFields {
    static func commonName(_ certificate: OpaquePointer) -> String? {
        let name = unsafe X509_get_subject_name(certificate)
        let first = unsafe X509_NAME_get_index_by_NID(name, NID_commonName, -1)
        guard first >= 0, unsafe X509_NAME_get_index_by_NID(name, NID_commonName, first) < 0 else { return nil }
        let value = unsafe X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, first))
        var text: UnsafeMutablePointer<UInt8>?
        let count = unsafe ASN1_STRING_to_UTF8(&text, value)
        guard count >= 0, let text = unsafe text else { return nil }
        defer { unsafe CRYPTO_free(text, nil, 0) }
        let bytes = unsafe UnsafeBufferPointer(start: text, count: Int(count))
        return unsafe bytes.contains(0) ? nil : String(validating: bytes, as: UTF8.self)
    }

    static func alternativeNames(_ certificate: OpaquePointer) throws(DiagnosedError) -> [SubjectAlternativeName] {
        var critical: Int32 = 0
        let extracted = unsafe X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical, nil)
        guard let extracted = unsafe extracted else {
            // -1: there is none. -2: there are several. Otherwise it can not be read.
            guard critical == -1 else { throw Certificate.malformed("subjectAltName is not valid") }
            return []
        }
        let names = OpaquePointer(extracted)
        defer { unsafe GENERAL_NAMES_free(names) }
        var result: [SubjectAlternativeName] = []
        for index in 0..<(unsafe OPENSSL_sk_num(names)) {
            let name = unsafe OPENSSL_sk_value(names, index).assumingMemoryBound(to: GENERAL_NAME.self)
            result.append(try unsafe alternativeName(name))
        }
        return result
    }

    private static func alternativeName(
        _ name: UnsafeMutablePointer<GENERAL_NAME>
    ) throws(DiagnosedError) -> SubjectAlternativeName {
        var type: Int32 = 0
        let value = unsafe GENERAL_NAME_get0_value(name, &type)
        func octets() -> [UInt8] {
            guard let value = unsafe value else { return [] }
            let string = OpaquePointer(value)
            let count = Int(unsafe ASN1_STRING_length(unsafe UnsafePointer(string)))
            return unsafe Array(UnsafeBufferPointer(start: ASN1_STRING_get0_data(UnsafePointer(string)), count: count))
        }
        switch type {
        case GEN_DNS: return .dns(try text(octets()))
        case GEN_URI: return .uri(try text(octets()))
        case GEN_EMAIL: return .email(try text(octets()))
        case GEN_IPADD: return .ip(octets())
        default: return .other(tag: Int(type))
        }
    }

    /// An IA5String, without the control characters that make two readers see two names.
    private static func text(_ bytes: [UInt8]) throws(DiagnosedError) -> String {
        guard bytes.allSatisfy({ (0x20...0x7E).contains($0) }) else {
            throw Certificate.malformed("a name in subjectAltName is not printable ASCII")
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    static func serialNumber(_ certificate: OpaquePointer) throws(DiagnosedError) -> String {
        let number = unsafe ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nil)
        defer { unsafe BN_free(number) }
        guard let number = unsafe number, let text = unsafe BN_bn2dec(number) else {
            throw Certificate.malformed("the serial number can not be read")
        }
        defer { unsafe CRYPTO_free(text, nil, 0) }
        return unsafe String(cString: text)
    }

    static func time(_ time: UnsafePointer<ASN1_TIME>?) throws(DiagnosedError) -> Timestamp {
        var broken = unsafe tm()
        guard unsafe ASN1_TIME_to_tm(time, &broken) == 1 else {
            throw Certificate.malformed("its validity can not be read")
        }
        return Timestamp(seconds: Int64(unsafe timegm(&broken)))
    }

    static func usesWeakDigest(_ certificate: OpaquePointer) -> Bool {
        var digest: Int32 = 0
        guard unsafe X509_get_signature_info(certificate, &digest, nil, nil, nil) == 1 else { return false }
        return [NID_sha1, NID_md5, NID_md4, NID_md5_sha1].contains(digest)
    }

    static func text(_ name: OpaquePointer?) -> String {
        guard let name = unsafe name, let sink = unsafe BIO_new(BIO_s_mem()) else { return "" }
        defer { unsafe BIO_free(sink) }
        var start: UnsafeMutableRawPointer?
        guard unsafe X509_NAME_print_ex(sink, name, 0, HDS_XN_FLAG_RFC2253) >= 0,
            case let count = unsafe BIO_ctrl(sink, BIO_CTRL_INFO, 0, &start), count > 0
        else { return "" }
        return unsafe String(decoding: UnsafeRawBufferPointer(start: start, count: count), as: UTF8.self)
    }
}

import COpenSSL
import Cryptography
package import Diagnostics

/// One SSL_CTX: what all connections of a client or of a server have in common.
///
/// TLS 1.3 preferred, 1.2 at least; ephemeral key agreement with authenticated encryption only; no compression, no
/// renegotiation, whatever the machine's openssl.cnf says. A client resumes no sessions, so that every connection is
/// judged; a server hands out stateless tickets.
///
/// Sendable: the SSL_CTX is complete when the initialiser returns and OpenSSL counts its references atomically.
@safe package final class TLSConfiguration: @unchecked Sendable {  // complete after init
    enum Side { case client, server }

    let side: Side
    let context: OpaquePointer
    private let verifier: PathVerifier?
    private let protocols: ProtocolList?

    /// - Parameter applicationProtocols: names for ALPN (RFC 7301), such as `http/1.1`.
    package static func client(
        trust: TLSTrust, applicationProtocols: [String] = [], maximumVersion: TLSVersion = .tls13
    ) throws(DiagnosedError) -> TLSConfiguration {
        let configuration = try TLSConfiguration(
            side: .client, verifier: PathVerifier(trust: trust), applicationProtocols: applicationProtocols,
            maximumVersion: maximumVersion)
        try configuration.install(trust)
        if let identity = trust.identity { try configuration.install(identity) }
        return configuration
    }

    package static func server(
        identity: TLSServerIdentity, applicationProtocols: [String] = [], maximumVersion: TLSVersion = .tls13
    ) throws(DiagnosedError) -> TLSConfiguration {
        let configuration = try TLSConfiguration(
            side: .server, verifier: nil, applicationProtocols: applicationProtocols, maximumVersion: maximumVersion)
        try configuration.install(identity)
        return configuration
    }

    private init(
        side: Side, verifier: PathVerifier?, applicationProtocols: [String], maximumVersion: TLSVersion
    ) throws(DiagnosedError) {
        ERR_clear_error()
        guard let context = unsafe SSL_CTX_new(side == .client ? TLS_client_method() : TLS_server_method()) else {
            throw Self.refused("OpenSSL made no context", found: opensslReason())
        }
        self.side = side
        unsafe self.context = context
        self.verifier = verifier
        protocols = applicationProtocols.isEmpty ? nil : ProtocolList(applicationProtocols)
        try applyPolicy(maximumVersion)
        applyProtocols()
    }

    deinit { unsafe SSL_CTX_free(context) }

    // MARK: - Policy

    /// TLS 1.2 suites (RFC 5289, RFC 7905) and TLS 1.3 suites (RFC 8446 appendix B.4), best first.
    private static let suitesOfTLS12 = """
        ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:\
        ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
        ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305
        """
    /// Whether the OpenSSL that is there (3.5 and later) agrees keys by ML-KEM beside an elliptic curve.
    package static let hasHybridGroups: Bool = OpenSSL_version_num() >= 0x3050_0000
    private static let hybridGroups = "X25519MLKEM768:SecP256r1MLKEM768:x25519:secp256r1:secp384r1"
    private static let suitesOfTLS13 = "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"

    // The macros SSL_OP_... of ssl.h are bits that Swift does not import.
    private static let noCompression: UInt64 = 1 << 17
    private static let preferServerCiphers: UInt64 = 1 << 22
    private static let noRenegotiation: UInt64 = 1 << 30

    private func applyPolicy(_ maximumVersion: TLSVersion) throws(DiagnosedError) {
        let maximum = maximumVersion == .tls12 ? TLS1_2_VERSION : TLS1_3_VERSION
        let applied =
            unsafe SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(TLS1_2_VERSION), nil) == 1
            && SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(maximum), nil) == 1
            && SSL_CTX_set_cipher_list(context, Self.suitesOfTLS12) == 1
            && SSL_CTX_set_ciphersuites(context, Self.suitesOfTLS13) == 1
        guard applied else { throw Self.refused("OpenSSL refused the cipher policy", found: opensslReason()) }
        // Where OpenSSL has ML-KEM (3.5), it stands before the classical groups; else the library's own order stays.
        if Self.hasHybridGroups {
            let set = unsafe Self.hybridGroups.withCString {
                unsafe SSL_CTX_ctrl(context, SSL_CTRL_SET_GROUPS_LIST, 0, UnsafeMutableRawPointer(mutating: $0)) == 1
            }
            // A provider without them (FIPS of an older version): then the library's own order stays.
            if !set { ERR_clear_error() }
        }
        // 112 bits: RSA of 2048 and SHA-2 at least, also where openssl.cnf asks for less.
        unsafe SSL_CTX_set_security_level(context, 2)
        unsafe SSL_CTX_set_options(context, Self.noCompression | Self.noRenegotiation | Self.preferServerCiphers)
        // Idle connections give their record buffers back.
        unsafe SSL_CTX_ctrl(context, SSL_CTRL_MODE, Int(SSL_MODE_RELEASE_BUFFERS), nil)
        unsafe SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, Int(SSL_SESS_CACHE_OFF), nil)
        if side == .server { unsafe SSL_CTX_set_num_tickets(context, 1) }
    }

    private func applyProtocols() {
        guard let protocols else { return }
        switch side {
        case .client:
            unsafe SSL_CTX_set_alpn_protos(context, protocols.wire.baseAddress, UInt32(protocols.wire.count))
        case .server:
            unsafe SSL_CTX_set_alpn_select_cb(
                context,
                { _, chosen, chosenCount, offered, offeredCount, argument in
                    guard let argument = unsafe argument else { return SSL_TLSEXT_ERR_ALERT_FATAL }
                    let own = unsafe Unmanaged<ProtocolList>.fromOpaque(argument).takeUnretainedValue().wire
                    // SSL_select_next_proto wants a mutable pointer to the choice, OpenSSL gives a constant one.
                    var name: UnsafeMutablePointer<UInt8>?
                    let outcome = unsafe SSL_select_next_proto(
                        &name, chosenCount, own.baseAddress, UInt32(own.count), offered, offeredCount)
                    guard outcome == OPENSSL_NPN_NEGOTIATED else { return SSL_TLSEXT_ERR_ALERT_FATAL }
                    unsafe chosen?.pointee = unsafe UnsafePointer(name)
                    return SSL_TLSEXT_ERR_OK
                }, Unmanaged.passUnretained(protocols).toOpaque())
        }
    }

    // MARK: - Trust and identity

    private func install(_ trust: TLSTrust) throws(DiagnosedError) {
        guard !trust.roots.isEmpty else {
            throw Self.refused("no root certificate to trust", hint: "name at least one root in the configuration")
        }
        guard let store = unsafe SSL_CTX_get_cert_store(context) else {
            throw Self.refused("OpenSSL made no certificate store", found: opensslReason())
        }
        let authorities = trust.inspection?.authorities ?? []
        guard authorities.allSatisfy({ authority in !trust.roots.contains { $0.spkiSHA256 == authority.spkiSHA256 } })
        else {
            throw Self.refused(
                "the authority of a TLS inspection is also a root of the server",
                hint: "list what inspects TLS as the inspection only, or nothing could tell the two apart")
        }
        for root in trust.roots + authorities {
            guard unsafe root.withUnsafePointer({ unsafe X509_STORE_add_cert(store, $0) }) == 1 else {
                throw Self.refused("a root certificate was refused", found: opensslReason())
            }
        }
        // A configured root is an anchor also when another CA has issued it.
        unsafe X509_STORE_set_flags(store, UInt(X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST))
        unsafe SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
        guard let verifier else { return }
        unsafe SSL_CTX_set_cert_verify_callback(
            context,
            { store, argument in
                guard let store = unsafe store, let argument = unsafe argument else { return 0 }
                let verifier = unsafe Unmanaged<PathVerifier>.fromOpaque(argument).takeUnretainedValue()
                return unsafe verifier.verify(store) ? 1 : 0
            }, Unmanaged.passUnretained(verifier).toOpaque())
    }

    private func install(_ identity: TLSServerIdentity) throws(DiagnosedError) {
        guard let leaf = identity.certificateChain.first else {
            throw Self.refused("there is no certificate", hint: "put it first into the certificate file")
        }
        ERR_clear_error()
        guard unsafe leaf.withUnsafePointer({ unsafe SSL_CTX_use_certificate(context, $0) }) == 1 else {
            throw Self.refused("the certificate was refused", found: opensslReason())
        }
        for issuer in identity.certificateChain.dropFirst() {
            let added = unsafe issuer.withUnsafePointer {
                unsafe SSL_CTX_ctrl(context, SSL_CTRL_CHAIN_CERT, 1, UnsafeMutableRawPointer($0))
            }
            guard added == 1 else {
                throw Self.refused("an intermediate certificate was refused", found: opensslReason())
            }
        }
        let fits = unsafe identity.privateKey.withUnsafePointer { key in
            unsafe SSL_CTX_use_PrivateKey(context, key) == 1 && SSL_CTX_check_private_key(context) == 1
        }
        guard fits else {
            throw Self.refused(
                "the private key does not fit the certificate", found: opensslReason(),
                hint: "the first certificate of the file must belong to the key")
        }
    }

    private static func refused(_ summary: String, found: String? = nil, hint: String? = nil) -> DiagnosedError {
        DiagnosedError(.tlsConfiguration, fault: .configuration, summary, found: found, hint: hint)
    }
}

/// Names for ALPN in the form of the wire, at an address that does not move while the SSL_CTX points to it.
///
/// Sendable: written once before anyone else sees it.
@safe private final class ProtocolList: @unchecked Sendable {
    let wire: UnsafeMutableBufferPointer<UInt8>

    init(_ names: [String]) {
        let bytes = names.flatMap { [UInt8(truncatingIfNeeded: $0.utf8.count)] + Array($0.utf8) }
        unsafe wire = .allocate(capacity: bytes.count)
        _ = unsafe wire.initialize(fromContentsOf: bytes)
    }

    deinit { unsafe wire.deallocate() }
}

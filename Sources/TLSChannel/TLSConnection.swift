import COpenSSL
import Diagnostics
import NIOCore

/// One SSL of OpenSSL over byte buffers: octets of the network in, plaintext out, and back. No channel, no clock.
///
/// Not thread-safe: it belongs to one event loop. After an operation has thrown, only `takeOutbound` is of use, for
/// the alert that OpenSSL may have written.
@safe final class TLSConnection {
    /// The name that the server's certificate has to carry; nil on a server.
    let serverName: String?
    /// Left by the path verifier when it refuses the server.
    var rejection: DiagnosedError?
    /// Left by it when it accepts the server.
    var verdict = PathVerifier.Verdict()

    private let side: TLSConfiguration.Side
    private let ssl: OpaquePointer
    private let transport = BufferBIO()
    /// The SSL_CTX's callbacks point into the configuration.
    private let configuration: TLSConfiguration

    init(_ configuration: TLSConfiguration, serverName: String?) throws(DiagnosedError) {
        ERR_clear_error()
        guard let ssl = unsafe SSL_new(configuration.context) else { throw Self.unusable() }
        unsafe self.ssl = ssl
        self.configuration = configuration
        self.serverName = serverName
        side = configuration.side
        guard let bio = unsafe transport.makeBIO() else { throw Self.unusable() }
        unsafe SSL_set_bio(ssl, bio, bio)
        unsafe SSL_set_ex_data(ssl, Self.ownerIndex, Unmanaged.passUnretained(self).toOpaque())
        switch side {
        case .server:
            unsafe SSL_set_accept_state(ssl)
        case .client:
            unsafe SSL_set_connect_state(ssl)
            try expect(serverName)
        }
    }

    deinit { unsafe SSL_free(ssl) }

    /// Index 0 is the application's own (SSL_set_app_data).
    private static let ownerIndex: Int32 = 0

    static func of(_ ssl: OpaquePointer) -> TLSConnection? {
        guard let data = unsafe SSL_get_ex_data(ssl, ownerIndex) else { return nil }
        return unsafe Unmanaged<TLSConnection>.fromOpaque(data).takeUnretainedValue()
    }

    /// A DNS name or an address, told to the server (names only, RFC 6066 section 3) and demanded of its certificate.
    private func expect(_ name: String?) throws(DiagnosedError) {
        let isName = name.map { !$0.isEmpty && $0.utf8.count <= 253 && !$0.utf8.contains(0) } ?? false
        guard let name, isName else {
            throw DiagnosedError(
                .tlsConfiguration, fault: .configuration, "a TLS client needs the server's name",
                expected: "a DNS name or an address", found: "none")
        }
        let parameters = unsafe SSL_get0_param(ssl)
        if unsafe X509_VERIFY_PARAM_set1_ip_asc(parameters, name) == 1 { return }
        ERR_clear_error()
        // Names stand in subjectAltName; a common name says nothing, a wildcard is a whole label (RFC 6125).
        unsafe X509_VERIFY_PARAM_set_hostflags(
            parameters, UInt32(X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
        let isSet = unsafe name.withCString { text in
            unsafe X509_VERIFY_PARAM_set1_host(parameters, text, 0) == 1
                && SSL_ctrl(
                    ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, Int(TLSEXT_NAMETYPE_host_name),
                    UnsafeMutableRawPointer(mutating: text)) == 1
        }
        guard isSet else { throw Self.unusable() }
    }

    // MARK: - Octets of the network

    func receive(_ octets: consuming ByteBuffer) {
        if transport.inbound.readableBytes == 0 {
            transport.inbound = octets
        } else {
            transport.inbound.writeImmutableBuffer(octets)
        }
    }

    func receiveEnd() { transport.isInboundEnded = true }

    /// What is to be sent, if anything.
    func takeOutbound() -> ByteBuffer? {
        guard transport.outbound.readableBytes > 0 else { return nil }
        defer { transport.outbound = ByteBuffer() }
        return transport.outbound
    }

    /// Makes room for this much ciphertext at once.
    func reserveOutbound(_ count: Int) { transport.outbound.reserveCapacity(minimumWritableBytes: count) }

    // MARK: - Handshake

    /// The session when the handshake is done, nil when more octets are needed.
    func handshake() throws(DiagnosedError) -> TLSSession? {
        ERR_clear_error()
        let outcome = unsafe SSL_do_handshake(ssl)
        if outcome == 1 { return session() }
        let error = unsafe SSL_get_error(ssl, outcome)
        if error == SSL_ERROR_WANT_READ { return nil }
        throw rejection ?? handshakeFailure(error)
    }

    private func session() -> TLSSession {
        var name: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        unsafe SSL_get0_alpn_selected(ssl, &name, &count)
        let chosen = unsafe UnsafeBufferPointer(start: name, count: Int(count))
        return TLSSession(
            version: unsafe String(cString: SSL_get_version(ssl)),
            cipherSuite: unsafe String(cString: SSL_CIPHER_get_name(SSL_get_current_cipher(ssl))),
            keyExchange: keyExchange(),
            applicationProtocol: chosen.isEmpty ? nil : String(decoding: unsafe Array(chosen), as: UTF8.self),
            channelBinding: channelBinding(), matchedPins: verdict.matchedPins, inspection: verdict.inspection)
    }

    private func keyExchange() -> String {
        let group = unsafe SSL_ctrl(ssl, SSL_CTRL_GET_NEGOTIATED_GROUP, 0, nil)
        guard group > 0, let name = unsafe SSL_group_to_name(ssl, Int32(group)) else { return "unknown" }
        return unsafe String(cString: name)
    }

    /// Nil for TLS 1.2 without the extended master secret, where the value could be that of two connections (RFC 9266
    /// section 4.2).
    private func channelBinding() -> ChannelBinding? {
        let isTLS13 = unsafe SSL_version(ssl) >= TLS1_3_VERSION
        guard unsafe isTLS13 || SSL_ctrl(ssl, SSL_CTRL_GET_EXTMS_SUPPORT, 0, nil) == 1 else { return nil }
        var octets = [UInt8](repeating: 0, count: ChannelBinding.byteCount)
        let label = ChannelBinding.label
        // The context is there and empty (RFC 9266 section 4): for TLS 1.2 that is another value than without one.
        let made = unsafe SSL_export_keying_material(
            ssl, &octets, octets.count, label, label.utf8.count, [], 0, 1)
        ERR_clear_error()
        return made == 1 ? ChannelBinding(octets: octets) : nil
    }

    private func handshakeFailure(_ error: Int32) -> DiagnosedError {
        // OpenSSL 3 has a reason of its own for it (SSL_get_error(3), SSL_OP_IGNORE_UNEXPECTED_EOF).
        let isCut =
            ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING
            || error == SSL_ERROR_SYSCALL || error == SSL_ERROR_ZERO_RETURN
        let reason = opensslReason()
        if transport.isInboundEnded, isCut { return Self.cut(found: "the end of the connection") }
        return DiagnosedError(
            .tlsHandshakeFailed, fault: .peer, "the TLS handshake failed",
            expected: "TLS 1.2 or 1.3 with an AEAD cipher suite",
            found: reason,
            hint: side == .client
                ? "check that host and port are those of the TLS server, and its log"
                : nil)
    }

    static func cut(found: String) -> DiagnosedError {
        DiagnosedError(
            .tlsHandshakeCut, fault: .peer, "the connection ended within the TLS handshake",
            expected: "a server that stays", found: found,
            hint: "is it starting again, or does a firewall cut connections? its log may tell")
    }

    // MARK: - Plaintext

    enum ReadOutcome { case wantsMore, closeNotify }

    /// Appends all plaintext that the received octets hold.
    func read(into plaintext: inout ByteBuffer) throws(DiagnosedError) -> ReadOutcome {
        while true {
            var count = 0
            var outcome: Int32 = 0
            ERR_clear_error()
            // A record is at most 16 KiB of plaintext, and never more than the octets it came in.
            let room = min(max(transport.inbound.readableBytes, 512), 16 * 1024)
            unsafe plaintext.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { target in
                outcome = unsafe SSL_read_ex(ssl, target.baseAddress, target.count, &count)
                return outcome == 1 ? count : 0
            }
            if outcome == 1 { continue }
            let error = unsafe SSL_get_error(ssl, outcome)
            switch error {
            case SSL_ERROR_WANT_READ: return .wantsMore
            case SSL_ERROR_ZERO_RETURN: return .closeNotify
            default:
                if transport.isInboundEnded, transport.inbound.readableBytes == 0 { return .wantsMore }
                throw DiagnosedError(
                    .tlsRecordInvalid, fault: .peer, "the TLS connection broke", expected: "a valid record",
                    found: opensslReason())
            }
        }
    }

    /// Encrypts into the outbound buffer; nothing is ever refused for want of room.
    func write(_ plaintext: UnsafeRawBufferPointer) throws(DiagnosedError) {
        guard unsafe !plaintext.isEmpty else { return }
        ERR_clear_error()
        var written = 0
        let outcome = unsafe SSL_write_ex(ssl, plaintext.baseAddress, plaintext.count, &written)
        guard outcome == 1, written == plaintext.count else {
            throw DiagnosedError(
                .tlsRecordInvalid, fault: .peer, "the TLS connection broke", expected: "to send",
                found: opensslReason())
        }
    }

    /// Writes close_notify, once.
    func shutdown() {
        ERR_clear_error()
        unsafe SSL_shutdown(ssl)
        ERR_clear_error()
    }

    private static func unusable() -> DiagnosedError {
        DiagnosedError(.tlsConfiguration, fault: .internal, "OpenSSL made no connection", found: opensslReason())
    }
}

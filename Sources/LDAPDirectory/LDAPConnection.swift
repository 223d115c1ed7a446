import CLDAP
package import Diagnostics
import Glibc

/// One connection to an LDAP server, of libldap: opened, bound, searched page by page, closed.
///
/// Blocks; one thread at a time. The server's certificate is checked against the configured authorities and its name against
/// the host of the address (libldap of Debian does TLS with GnuTLS: docs/decisions/152-ldap-by-libldap.md). References to
/// other servers are not followed. Every code but success is an error, so what was cut short is never taken for the whole.
@safe struct LDAPConnection: ~Copyable {
    /// An entry as it came: DN, and values by the attribute's name in lower case.
    struct Entry {
        let dn: String
        let values: [String: [[UInt8]]]

        func texts(_ attribute: String) -> [String] {
            (values[attribute.lowercased()] ?? []).compactMap { String(validating: $0, as: UTF8.self) }
        }
        func octets(_ attribute: String) -> [UInt8]? { values[attribute.lowercased()]?.first }
    }

    enum Depth: Int32 {
        case base = 0
        case subtree = 2
    }

    private static let longestValue = 64 << 10
    let handle: OpaquePointer
    private let settings: LDAPSettings

    /// Connects, starts TLS where it is wanted, and binds.
    static func open(_ settings: LDAPSettings) throws(DiagnosedError) -> LDAPConnection {
        var handle: OpaquePointer?
        let code = unsafe ldap_initialize(&handle, settings.url)
        guard code == LDAP_SUCCESS, let handle = unsafe handle else {
            throw failure(code, "the address of the directory can not be used", settings)
        }
        let connection = unsafe LDAPConnection(handle: handle, settings: settings)
        try connection.prepare()
        try connection.bind()
        return connection
    }

    private init(handle: OpaquePointer, settings: LDAPSettings) {
        unsafe self.handle = handle
        self.settings = settings
    }

    deinit { unsafe ldap_unbind_ext_s(handle, nil, nil) }

    private func set(_ option: Int32, _ value: Int32) throws(DiagnosedError) {
        var value = value
        let code = unsafe ldap_set_option(handle, option, &value)
        guard code == LDAP_OPT_SUCCESS else { throw Self.failure(code, "an option was refused", settings) }
    }

    private func prepare() throws(DiagnosedError) {
        try set(LDAP_OPT_PROTOCOL_VERSION, LDAP_VERSION3)
        unsafe ldap_set_option(handle, LDAP_OPT_REFERRALS, nil)
        var time = timeval(tv_sec: settings.timeout, tv_usec: 0)
        unsafe ldap_set_option(handle, LDAP_OPT_NETWORK_TIMEOUT, &time)
        unsafe ldap_set_option(handle, LDAP_OPT_TIMEOUT, &time)
        guard settings.startTLS || settings.url.hasPrefix("ldaps:") else { return }
        guard let authorities = settings.authorities else {
            throw DiagnosedError(.ldapFailed, fault: .configuration, "TLS without authorities")
        }
        let code = unsafe authorities.withCString { unsafe ldap_set_option(handle, LDAP_OPT_X_TLS_CACERTFILE, $0) }
        guard code == LDAP_OPT_SUCCESS else {
            throw Self.failure(code, "the authorities can not be used", settings)
        }
        try set(LDAP_OPT_X_TLS_REQUIRE_CERT, LDAP_OPT_X_TLS_DEMAND)
        // TLS 1.2, as the library writes it.
        try set(LDAP_OPT_X_TLS_PROTOCOL_MIN, 3 << 8 | 3)
        // Takes the options above into a context of its own, for a client.
        try set(LDAP_OPT_X_TLS_NEWCTX, 0)
        guard settings.startTLS else { return }
        let started = unsafe ldap_start_tls_s(handle, nil, nil)
        guard started == LDAP_SUCCESS else { throw failed(started, "TLS with the directory could not be started") }
    }

    private func bind() throws(DiagnosedError) {
        let code = settings.password.reveal { password in
            var octets = Array(password.utf8CString)
            let count = octets.count - 1
            return unsafe octets.withUnsafeMutableBufferPointer { buffer in
                var credential = unsafe berval(bv_len: ber_len_t(count), bv_val: buffer.baseAddress)
                defer { if let start = buffer.baseAddress { unsafe explicit_bzero(start, buffer.count) } }
                return unsafe ldap_sasl_bind_s(handle, settings.bindDN, nil, &credential, nil, nil, nil)
            }
        }
        guard code == LDAP_SUCCESS else { throw failed(code, "the directory does not take this service's bind") }
    }

    /// Every entry below a base, in pages (RFC 2696), or the base itself; `take` gets one after the other.
    func search(
        _ search: LDAPSettings.Search, _ depth: Depth = .subtree, attributes: [String], upTo maximum: Int,
        _ take: (Entry) throws(DiagnosedError) -> Void
    ) throws(DiagnosedError) {
        var cookie: [UInt8] = []
        var count = 0
        repeat {
            let (entries, next) = try page(search, depth, attributes, cookie: cookie)
            count += entries.count
            guard count <= maximum else {
                throw DiagnosedError(
                    .ldapFailed, fault: .configuration, "the directory has more entries than are read",
                    expected: "at most \(maximum)", hint: "make base or filter narrower")
            }
            for entry in entries { try take(entry) }
            // A server that gives cookies for ever gives pages without entries.
            guard next.isEmpty || !entries.isEmpty || next != cookie else {
                throw DiagnosedError(.ldapFailed, fault: .peer, "the directory gives the same page again and again")
            }
            cookie = next
        } while !cookie.isEmpty
    }

    private func page(
        _ search: LDAPSettings.Search, _ depth: Depth, _ attributes: [String], cookie: [UInt8]
    ) throws(DiagnosedError) -> (entries: [Entry], next: [UInt8]) {
        var control: UnsafeMutablePointer<LDAPControl>?
        var octets = cookie.map { CChar(bitPattern: $0) }
        let made = unsafe octets.withUnsafeMutableBufferPointer { buffer in
            var value = unsafe berval(bv_len: ber_len_t(buffer.count), bv_val: buffer.baseAddress)
            // Nil: the first page.
            return unsafe withUnsafeMutablePointer(to: &value) { pointer in
                unsafe ldap_create_page_control(
                    handle, settings.pageSize, buffer.isEmpty ? nil : pointer, 1, &control)
            }
        }
        guard made == LDAP_SUCCESS else { throw failed(made, "a page could not be asked for") }
        defer { unsafe ldap_control_free(control) }
        var names = unsafe attributes.map { unsafe strdup($0) } + [nil]
        defer { unsafe names.indices.forEach { unsafe free(names[$0]) } }
        // Of a single entry there are no pages; servers answer for their root without the control.
        var controls = unsafe depth == .base ? [nil] : [control, nil]
        var time = timeval(tv_sec: settings.timeout, tv_usec: 0)
        var answer: OpaquePointer?
        let code = unsafe ldap_search_ext_s(
            handle, search.base, depth.rawValue, search.filter, &names, 0, &controls, nil, &time, 0, &answer)
        defer { if let answer = unsafe answer { _ = unsafe ldap_msgfree(answer) } }
        guard code == LDAP_SUCCESS, let answer = unsafe answer else {
            throw failed(code, "the directory could not be read to its end")
        }
        var entries: [Entry] = []
        var entry = unsafe ldap_first_entry(handle, answer)
        while let present = unsafe entry {
            entries.append(unsafe read(present))
            unsafe entry = ldap_next_entry(handle, present)
        }
        return (entries, depth == .base ? [] : try unsafe next(of: answer))
    }

    /// The cookie of the next page; empty at the end. An answer without one is no whole page.
    private func next(of answer: OpaquePointer) throws(DiagnosedError) -> [UInt8] {
        var result: Int32 = 0
        var controls: UnsafeMutablePointer<UnsafeMutablePointer<LDAPControl>?>?
        let code = unsafe ldap_parse_result(handle, answer, &result, nil, nil, nil, &controls, 0)
        defer { unsafe ldap_controls_free(controls) }
        guard code == LDAP_SUCCESS, result == LDAP_SUCCESS else {
            throw failed(code == LDAP_SUCCESS ? result : code, "the directory could not be read to its end")
        }
        guard let found = unsafe ldap_control_find("1.2.840.113556.1.4.319", controls, nil) else {
            throw DiagnosedError(
                .ldapFailed, fault: .peer, "the directory does not say whether there is another page",
                expected: "the control of paged results (RFC 2696)")
        }
        var cookie = unsafe berval()
        var estimate: ber_int_t = 0
        let parsed = unsafe ldap_parse_pageresponse_control(handle, found, &estimate, &cookie)
        guard parsed == LDAP_SUCCESS else { throw failed(parsed, "the control of paged results is malformed") }
        defer { unsafe ber_memfree(cookie.bv_val) }
        return unsafe Self.octets(cookie)
    }

    private func read(_ entry: OpaquePointer) -> Entry {
        var dn = ""
        if let text = unsafe ldap_get_dn(handle, entry) {
            dn = unsafe String(cString: text)
            unsafe ldap_memfree(text)
        }
        var values: [String: [[UInt8]]] = [:]
        var position: OpaquePointer?
        var name = unsafe ldap_first_attribute(handle, entry, &position)
        while let attribute = unsafe name {
            if let list = unsafe ldap_get_values_len(handle, entry, attribute) {
                var found: [[UInt8]] = []
                var index = 0
                while let value = unsafe list[index] {
                    if unsafe value.pointee.bv_len <= Self.longestValue {
                        found.append(unsafe Self.octets(value.pointee))
                    }
                    index += 1
                }
                values[unsafe String(cString: attribute).lowercased()] = found
                unsafe ldap_value_free_len(list)
            }
            unsafe ldap_memfree(attribute)
            unsafe name = ldap_next_attribute(handle, entry, position)
        }
        unsafe ber_free(position, 0)
        return Entry(dn: dn, values: values)
    }

    private static func octets(_ value: berval) -> [UInt8] {
        guard let start = unsafe value.bv_val, unsafe value.bv_len > 0 else { return [] }
        return unsafe Array(UnsafeRawBufferPointer(start: start, count: Int(value.bv_len)))
    }

    // MARK: Errors

    /// With what the server said besides, when it said something.
    func failed(_ code: Int32, _ summary: String) -> DiagnosedError {
        var text: UnsafeMutablePointer<CChar>?
        unsafe ldap_get_option(handle, LDAP_OPT_DIAGNOSTIC_MESSAGE, &text)
        var more: String?
        if let text = unsafe text {
            more = unsafe String(cString: text)
            unsafe ldap_memfree(text)
        }
        return Self.failure(code, summary, settings, more)
    }

    private static func failure(
        _ code: Int32, _ summary: String, _ settings: LDAPSettings, _ more: String? = nil
    ) -> DiagnosedError {
        let text = unsafe String(cString: ldap_err2string(code))
        let isOurs = [
            LDAP_INVALID_CREDENTIALS, LDAP_INSUFFICIENT_ACCESS, LDAP_NO_SUCH_OBJECT, LDAP_INVALID_DN_SYNTAX,
            LDAP_FILTER_ERROR,
        ].contains(code)
        let addition = more.flatMap { $0.isEmpty ? nil : " (" + $0.quotedForError + ")" } ?? ""
        return DiagnosedError(
            .ldapFailed, fault: isOurs ? .configuration : .peer, "\(summary): \(settings.url)",
            found: text + addition,
            hint: isOurs
                ? "check bind-dn, password, base and filter of the directory \(settings.name)"
                : "see that the server runs, that its certificate is of the configured authority and has its name")
    }
}

extension DiagnosedError.Code {
    /// An LDAP server does not do what is asked of it.
    package static let ldapFailed: Self = "ldap-failed"
}

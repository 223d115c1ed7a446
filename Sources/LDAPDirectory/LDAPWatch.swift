import CLDAP
import Diagnostics
import Glibc

/// Waits on a server until it tells of a change: content synchronization (RFC 4533), in the mode refresh and persist.
///
/// The cookie is made of the `contextCSN` that the last round saw, so the server tells of what came since then, or of nothing
/// until something comes. What it tells is only taken as that there is something: who left says the next whole reading, so
/// no lost message leaves anybody in. A server without it, or one that refuses the cookie, ends the wait with an error; then
/// the interval goes by as without.
enum LDAPWatch {
    private static let oid = "1.3.6.1.4.1.4203.1.9.1.1"
    /// How long a stop may take.
    private static let slice = timeval(tv_sec: 0, tv_usec: 250_000)

    /// True: something has changed. False: the time is over, or `isStopped`.
    static func wait(
        _ settings: LDAPSettings, marker: String, until end: ContinuousClock.Instant, isStopped: () -> Bool
    ) throws(DiagnosedError) -> Bool {
        let connection = try LDAPConnection.open(settings)
        // As OpenLDAP writes its cookies; the marker has one CSN for each server that writes.
        let cookie = "rid=000,csn=" + marker.split(separator: " ").joined(separator: ";")
        let search = try connection.startSync(settings.people, oid: oid, value: request(cookie: Array(cookie.utf8)))
        while ContinuousClock.now < end, !isStopped() {
            switch try connection.nextSync(search, within: slice) {
            case .nothing, .refreshed: continue
            case .change: return true
            }
        }
        return false
    }

    /// syncRequestValue: SEQUENCE { mode refreshAndPersist (3), cookie }.
    static func request(cookie: [UInt8]) -> [UInt8] {
        func element(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
            let count = content.count
            let length: [UInt8] =
                count < 0x80
                ? [UInt8(count)] : [0x82, UInt8(truncatingIfNeeded: count >> 8), UInt8(truncatingIfNeeded: count)]
            return [tag] + length + content
        }
        return element(0x30, [0x0A, 0x01, 0x03] + element(0x04, cookie))
    }
}

extension LDAPConnection {
    enum SyncNews {
        case nothing
        /// The server has told all that came since the cookie.
        case refreshed
        case change
    }

    func startSync(
        _ search: LDAPSettings.Search, oid: String, value: [UInt8]
    ) throws(DiagnosedError) -> Int32 {
        var octets = value.map { CChar(bitPattern: $0) }
        var message: Int32 = 0
        let code = unsafe octets.withUnsafeMutableBufferPointer { buffer in
            var content = unsafe berval(bv_len: ber_len_t(buffer.count), bv_val: buffer.baseAddress)
            var control: UnsafeMutablePointer<LDAPControl>?
            guard unsafe ldap_control_create(oid, 1, &content, 1, &control) == LDAP_SUCCESS else {
                return LDAP_NO_MEMORY
            }
            defer { unsafe ldap_control_free(control) }
            var controls = unsafe [control, nil]
            // No attributes: that there is something is enough.
            var names = unsafe [strdup("1.1"), nil]
            defer { unsafe names.indices.forEach { unsafe free(names[$0]) } }
            return unsafe ldap_search_ext(
                handle, search.base, Depth.subtree.rawValue, search.filter, &names, 0, &controls, nil, nil, 0, &message)
        }
        guard code == LDAP_SUCCESS else { throw failed(code, "the directory can not be watched") }
        return message
    }

    func nextSync(_ message: Int32, within time: timeval) throws(DiagnosedError) -> SyncNews {
        var time = time
        var answer: OpaquePointer?
        let kind = unsafe ldap_result(handle, message, 0, &time, &answer)
        guard kind != 0 else { return .nothing }
        guard kind > 0, let answer = unsafe answer else {
            throw failed(LDAP_SERVER_DOWN, "the directory ended the watch")
        }
        defer { _ = unsafe ldap_msgfree(answer) }
        switch UInt32(kind) {
        case UInt32(LDAP_RES_SEARCH_ENTRY): return .change
        // To another server, which is not followed.
        case UInt32(LDAP_RES_SEARCH_REFERENCE): return .nothing
        case UInt32(LDAP_RES_INTERMEDIATE):
            var data: UnsafeMutablePointer<berval>?
            let code = unsafe ldap_parse_intermediate(handle, answer, nil, &data, nil, 0)
            defer { unsafe ber_bvfree(data) }
            guard code == LDAP_SUCCESS else { throw failed(code, "what the directory tells is malformed") }
            guard let value = unsafe data, unsafe value.pointee.bv_len > 0, let start = unsafe value.pointee.bv_val
            else {
                return .refreshed
            }
            // refreshDelete and refreshPresent end a phase; a new cookie and a set of ids are changes.
            let tag = UInt8(bitPattern: unsafe start[0])
            return tag == 0xA1 || tag == 0xA2 ? .refreshed : .change
        default:
            // The search is over: the server does not do this, or wants everything to be read anew.
            var result: Int32 = 0
            let code = unsafe ldap_parse_result(handle, answer, &result, nil, nil, nil, nil, 0)
            // e-syncRefreshRequired (RFC 4533, section 2.5)
            if code == LDAP_SUCCESS, result == 0x1000 { return .change }
            throw failed(code == LDAP_SUCCESS ? result : code, "the directory can not be watched")
        }
    }
}

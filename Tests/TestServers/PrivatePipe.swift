import Glibc

/// Two ends of a stream of which no program inherits one that is started meanwhile: what is written ends when the test
/// closes its end, and not when some other program has ended.
///
/// A pair of sockets: of a pipe the flag can only be set afterwards.
package struct PrivatePipe: Sendable {
    package let reading: Int32
    package let writing: Int32

    package init() throws {
        var ends: [Int32] = [-1, -1]
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else { throw TestPKI.Failure(what: "socketpair") }
        (reading, writing) = (ends[0], ends[1])
    }
}

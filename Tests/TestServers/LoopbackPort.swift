import Glibc
import Synchronization

/// A port of this machine for a server that is to be found there again after a stop.
///
/// From below what the kernel hands out for port 0, and each one once: no other test can take it while the server is
/// away. Above 20000 the scripts of `deploy/lib` choose theirs.
package enum LoopbackPort {
    private static let given = Mutex<Set<UInt16>>([])

    package static func take() throws -> Int {
        for _ in 0..<1000 {
            let port = UInt16.random(in: 10_000..<20_000)
            if given.withLock({ $0.insert(port).inserted }), isFree(port) { return Int(port) }
        }
        throw TestPKI.Failure(what: "a free port")
    }

    /// Returns when nobody listens there any more: a program that is being started has a copy of the listener for a
    /// moment after its server has ended.
    package static func untilFree(_ port: Int) async throws {
        let deadline = ContinuousClock.now + .seconds(30)
        while !isFree(UInt16(port)) {
            guard ContinuousClock.now < deadline else { throw TestPKI.Failure(what: "port \(port) back") }
            await Task.yield()
        }
    }

    private static func isFree(_ port: UInt16) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { close(descriptor) }
        // Connections that linger are no obstacle for a server either.
        var yes: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }
}

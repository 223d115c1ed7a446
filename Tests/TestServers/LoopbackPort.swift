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

    private static func isFree(_ port: UInt16) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { close(descriptor) }
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

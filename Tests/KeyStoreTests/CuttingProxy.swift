import Foundation
import Glibc
import Synchronization
import TestServers

/// Stands between a client and a PostgreSQL server without TLS and cuts a connection at a COMMIT when it is told to.
final class CuttingProxy: Sendable {
    enum Cut: Sendable {
        /// The server never hears of it.
        case beforeCommit
        /// The server does it; its answer does not come back.
        case afterCommit
        /// The same for a ROLLBACK that never reaches the server.
        case beforeRollback

        /// Binding the statement, as the protocol writes it: an empty portal name, then the statement's.
        var octets: [UInt8] { Array((self == .beforeRollback ? "\0rollback\0" : "\0commit\0").utf8) }
    }

    let port: Int
    private let listener: Int32
    private let target: Int
    private let next = Mutex<[Cut]>([])
    private let pairs = Mutex<[Pair]>([])

    init(to target: Int) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = Self.address(0)
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, size) == 0 }
        }
        guard bound, listen(listener, 64) == 0 else { throw TestFailure("listen: \(errno)") }
        var found = sockaddr_in()
        var length = size
        _ = withUnsafeMutablePointer(to: &found) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(listener, $0, &length) }
        }
        self.target = target
        self.listener = listener
        port = Int(UInt16(bigEndian: found.sin_port))
        Thread.detachNewThread { self.accept() }
    }

    /// The next COMMITs are cut like that, in their order.
    func cut(_ cuts: Cut...) { next.withLock { $0 += cuts } }
    var isDone: Bool { next.withLock { $0.isEmpty } }

    /// The connections that are open now stay open and are never answered again.
    func silence() {
        for pair in pairs.withLock({ $0 }) { pair.isSilent.store(true, ordering: .sequentiallyConsistent) }
    }

    func close() { shutdown(listener, Int32(SHUT_RDWR)) }

    private static func address(_ port: Int) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
        return address
    }

    private func accept() {
        while true {
            let client = Glibc.accept(listener, nil, nil)
            guard client >= 0 else {
                Glibc.close(listener)
                return
            }
            let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            var address = Self.address(target)
            let connected = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
                }
            }
            let pair = Pair(client: client, server: server)
            guard connected else {
                pair.finish()
                pair.finish()
                continue
            }
            pairs.withLock { $0.append(pair) }
            Thread.detachNewThread { self.forward(pair) }
            Thread.detachNewThread { self.answer(pair) }
        }
    }

    /// Two sockets, closed when both directions have ended.
    private final class Pair: Sendable {
        let client: Int32
        let server: Int32
        let swallows = Atomic(false)
        let isSilent = Atomic(false)
        private let open = Mutex(2)

        init(client: Int32, server: Int32) {
            (self.client, self.server) = (client, server)
        }

        func finish() {
            shutdown(client, Int32(SHUT_RDWR))
            shutdown(server, Int32(SHUT_RDWR))
            let left = open.withLock { count in
                count -= 1
                return count
            }
            guard left == 0 else { return }
            Glibc.close(client)
            Glibc.close(server)
        }
    }

    private func forward(_ pair: Pair) {
        defer { pair.finish() }
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = read(pair.client, &chunk, chunk.count), count > 0 {
            let sent = chunk[..<count]
            let cut = next.withLock { cuts -> Cut? in
                guard let first = cuts.first, sent.firstRange(of: first.octets) != nil else { return nil }
                return cuts.removeFirst()
            }
            if let cut {
                guard cut == .afterCommit else { return }
                pair.swallows.store(true, ordering: .sequentiallyConsistent)
            }
            guard Self.write(pair.server, chunk[..<count]) else { return }
        }
    }

    private func answer(_ pair: Pair) {
        defer { pair.finish() }
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = read(pair.server, &chunk, chunk.count), count > 0 {
            guard !pair.swallows.load(ordering: .sequentiallyConsistent) else { return }
            if pair.isSilent.load(ordering: .sequentiallyConsistent) { continue }
            guard Self.write(pair.client, chunk[..<count]) else { return }
        }
    }

    private static func write(_ socket: Int32, _ octets: ArraySlice<UInt8>) -> Bool {
        var rest = octets
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }
}

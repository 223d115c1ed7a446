import Glibc
import TestServers

/// A TCP connection to this machine that says exactly what it is told, or nothing at all.
final class RawClient: Sendable {
    private let descriptor: Int32

    struct Refused: Error {}

    static func connect(to port: Int) async throws -> RawClient { try await onOwnThread { try RawClient(port) } }

    private init(_ port: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0 else { throw Refused() }
    }

    deinit { close(descriptor) }

    /// - Parameter count: octets that leave together.
    func send(_ text: String, inPiecesOf count: Int = .max) async throws {
        try await onOwnThread { [descriptor, piece = count] in
            var rest = Array(text.utf8)[...]
            while !rest.isEmpty {
                let count = rest.prefix(piece).withUnsafeBytes {
                    Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                guard count > 0 else { return }
                rest = rest.dropFirst(count)
            }
        }
    }

    /// Everything until the peer closes.
    func rest() async throws -> String {
        try await onOwnThread { [descriptor] in
            var bytes: [UInt8] = []
            var piece = [UInt8](repeating: 0, count: 4096)
            while case let count = recv(descriptor, &piece, piece.count, 0), count > 0 { bytes += piece[..<count] }
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    /// One connection that says this; what comes back.
    static func exchange(_ text: String, with port: Int) async throws -> String {
        let client = try await connect(to: port)
        try await client.send(text)
        return try await client.rest()
    }
}

import Foundation
import Glibc
import Testing

extension StoryTests {
    @Suite("Under systemd") struct SystemdTests {
        @Test("hds-kms tells READY once its link is up, its status, the watchdog, and STOPPING")
        func notifications() async throws {
            try await Deployment.with { deployment in
                try await deployment[.kms]?.cut()
                try await deployment[.core]?.cut()
                let socket = try NotifySocket(path: deployment.domain.path("notify"))
                let kms = try deployment.start(
                    .kms, environment: ["NOTIFY_SOCKET": socket.path, "WATCHDOG_USEC": "2000000"])
                // Without the core it works on its start, feeds the watchdog, and is not ready.
                _ = try await eventually("the watchdog before READY", seen: { kms.tail() }) {
                    socket.lines().filter { $0 == "WATCHDOG=1" }.count >= 2 ? true : nil
                }
                #expect(!socket.lines().contains("READY=1"))
                #expect(socket.lines().contains { $0.hasPrefix("STATUS=") })
                try deployment.start(.core)
                _ = try await eventually("READY=1", seen: { kms.tail() }) {
                    socket.lines().contains("READY=1") ? true : nil
                }
                #expect(await deployment.status(of: .kms, "/readyz") == 200)
                let fed = socket.lines().filter { $0 == "WATCHDOG=1" }.count
                _ = try await eventually("the watchdog after READY") {
                    socket.lines().filter { $0 == "WATCHDOG=1" }.count > fed ? true : nil
                }
                kms.send(SIGTERM)
                #expect(try await kms.end(within: .seconds(20)) == .exit(0), "\(kms.tail())")
                let lines = socket.lines()
                let ready = try #require(lines.firstIndex(of: "READY=1"))
                let stopping = try #require(lines.firstIndex(of: "STOPPING=1"))
                #expect(ready < stopping)
            }
        }
    }
}

/// A datagram socket as systemd's, with all lines that came.
final class NotifySocket {
    let path: String
    private let descriptor: Int32
    private var received: [String] = []

    init(path: String) throws {
        self.path = path
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw NotInTime(what: "a socket at \(path)", limit: .zero, seen: "the path is too long")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard status == 0 else { throw NotInTime(what: "a socket at \(path)", limit: .zero, seen: "errno \(errno)") }
    }

    deinit { close(descriptor) }

    /// All lines up to now, in order.
    func lines() -> [String] {
        var buffer = [UInt8](repeating: 0, count: 8192)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            guard count > 0 else { return received }
            received += String(decoding: buffer[..<count], as: UTF8.self).split(separator: "\n").map(String.init)
        }
    }
}

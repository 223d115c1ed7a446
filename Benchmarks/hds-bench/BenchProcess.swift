import Foundation
import Glibc

/// The real service as a child process, seen through /proc and its notification socket.
final class BenchProcess {
    private let process = Process()
    private let socket: Int32
    private let log: URL
    private let name: String

    init(_ program: String, configuration: URL, folder: URL) throws {
        let path = folder.appending(path: "notify").path
        let socket = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        self.socket = socket
        name = URL(filePath: program).lastPathComponent
        log = folder.appending(path: name + ".log")
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard path.utf8.count < 107, socket >= 0 else { throw BenchFailure("no notification socket") }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard bound == 0 else { throw BenchFailure("the notification socket can not be bound") }
        _ = FileManager.default.createFile(atPath: log.path, contents: nil)
        process.executableURL = URL(filePath: program)
        process.arguments = ["--config", configuration.path]
        process.environment = ["NOTIFY_SOCKET": path, "SWIFT_BACKTRACE": "enable=no", "PATH": "/usr/bin:/bin"]
        let output = try FileHandle(forWritingTo: log)
        process.standardError = output
        process.standardOutput = output
    }

    /// Seconds from the start to READY=1.
    func start() async throws -> Double {
        let begun = ContinuousClock.now
        try process.run()
        var timeout = timeval(tv_sec: 15, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        var buffer = [UInt8](repeating: 0, count: 4096)
        let descriptor = socket
        while process.isRunning {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            if String(decoding: buffer[..<count], as: UTF8.self).split(separator: "\n").contains("READY=1") {
                return begun.duration(to: .now).inSeconds
            }
        }
        let text = (try? String(contentsOf: log, encoding: .utf8)) ?? ""
        throw BenchFailure("\(name) did not become ready:\n" + text.suffix(2000))
    }

    /// Resident and private memory in megabytes.
    func memory() throws -> (resident: Double, anonymous: Double) {
        let text = try String(contentsOfFile: "/proc/\(process.processIdentifier)/status", encoding: .utf8)
        func value(_ name: String) -> Double {
            guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix(name + ":") }) else { return .nan }
            return (Double(line.split(whereSeparator: { !$0.isNumber }).first ?? "") ?? .nan) / 1024
        }
        return (value("VmRSS"), value("RssAnon"))
    }

    func cpuSeconds() throws -> Double {
        let text = try String(contentsOfFile: "/proc/\(process.processIdentifier)/stat", encoding: .utf8)
        // Fields after the name in parentheses; utime and stime are the 12th and 13th of them.
        let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
        guard fields.count > 13, let user = Double(fields[11]), let system = Double(fields[12]) else {
            throw BenchFailure("no CPU time in /proc")
        }
        return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    func stop() {
        if process.isRunning {
            process.terminate()
            process.waitUntilExit()
        }
        close(socket)
    }
}

import Foundation
import Glibc
import Synchronization
import TestServers

/// A program running as a process of its own, with its output in a file.
///
/// It is started with default signals and without any descriptor but the three standard ones, as systemd would, on this
/// machine or on a host of a drill's network.
final class ChildProcess: Sendable {
    enum Ending: Equatable { case exit(Int32), signal(Int32) }
    enum Input { case nothing, text(String), openPipe }

    let pid: pid_t
    let output: String
    /// The end of the pipe to its standard input, when one is wanted.
    private let input: Int32?
    private let ending = Mutex<Ending?>(nil)

    init(
        _ program: String, _ arguments: [String] = [], output: String, input: Input = .nothing,
        environment: [String: String] = [:], at place: NetworkPlace? = nil
    ) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        var pipe: PrivatePipe?
        switch input {
        case .nothing: posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        case .text, .openPipe:
            let made = try PrivatePipe()
            posix_spawn_file_actions_adddup2(&actions, made.reading, 0)
            pipe = made
        }
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        actions.closeAllButStandard()
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
        var variables = ProcessInfo.processInfo.environment
        variables["SWIFT_BACKTRACE"] = "enable=no"
        variables["NOTIFY_SOCKET"] = nil
        variables["WATCHDOG_USEC"] = nil
        variables.merge(environment) { $1 }
        var argv: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        var started: pid_t = 0
        let spawn = { posix_spawnp(&started, program, &actions, &attributes, &argv, &envp) }
        let status = try place.map { try $0.within(spawn) } ?? spawn()
        if let pipe { close(pipe.reading) }
        guard status == 0 else {
            if let pipe { close(pipe.writing) }
            throw Self.failure("start of \(program)", status)
        }
        pid = started
        self.output = output
        self.input = pipe?.writing
        if case .text(let text) = input {
            write(text)
            if let end = self.input { close(end) }
        }
        Guardian.shared.watch(pid)
    }

    deinit {
        // What is still running when nobody holds it any more was forgotten by its test.
        if state() == nil {
            Glibc.kill(pid, SIGKILL)
            var status: Int32 = 0
            waitpid(pid, &status, 0)
            Guardian.shared.forget(pid)
        }
    }

    /// Bytes for its standard input.
    func write(_ text: String) {
        guard let input else { return }
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(input, $0.baseAddress, $0.count) }
            guard count > 0 else { return }
            bytes = bytes.dropFirst(count)
        }
    }

    func closeInput() { if let input { close(input) } }

    /// How it ended, or nil while it runs.
    func state() -> Ending? {
        ending.withLock { ending in
            if let ending { return ending }
            var status: Int32 = 0
            guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
            let signal = status & 0x7F
            ending = signal == 0 ? .exit((status >> 8) & 0xFF) : .signal(signal)
            Guardian.shared.forget(pid)
            return ending
        }
    }

    var isRunning: Bool { state() == nil }

    func end(within limit: Duration = .seconds(30)) async throws -> Ending {
        try await eventually("the end of process \(pid)", within: limit, seen: { self.tail() }) { state() }
    }

    func send(_ signal: Int32) { if isRunning { kill(pid, signal) } }

    /// SIGKILL, and wait until it is gone.
    func cut() async throws {
        send(SIGKILL)
        _ = try await end(within: .seconds(10))
    }

    func log() -> String { (try? String(contentsOfFile: output, encoding: .utf8)) ?? "" }
    func tail() -> String { String(log().suffix(1500)) }

    /// Runs a program to its end; anything but exit code 0 is an error.
    @discardableResult
    static func run(
        _ program: String, _ arguments: [String], folder: String, input: Input = .nothing,
        environment: [String: String] = [:], within limit: Duration = .seconds(30)
    ) async throws -> String {
        let output = folder + "/command-\(UUID().uuidString).log"
        defer { unlink(output) }
        let child = try ChildProcess(program, arguments, output: output, input: input, environment: environment)
        guard try await child.end(within: limit) == .exit(0) else {
            throw NotInTime(what: "\(program) \(arguments)", limit: .zero, seen: child.tail())
        }
        return child.log()
    }

    private static func failure(_ what: String, _ code: Int32 = errno) -> NotInTime {
        NotInTime(what: what, limit: .zero, seen: String(cString: strerror(code)))
    }
}

extension posix_spawn_file_actions_t {
    /// Nothing of this process leaks into the new one, least of all the guardian's pipe.
    fileprivate mutating func closeAllButStandard() {
        let open = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
        // Who opens one meanwhile says itself that it is not to be inherited.
        for descriptor in open.compactMap({ Int32($0) }) where descriptor > 2 {
            posix_spawn_file_actions_addclose(&self, descriptor)
        }
    }
}

/// Ends all processes of the tests and removes their folders when the process of the tests is gone, however it ended.
///
/// It is a shell that reads from a pipe; the pipe's other end closes with the last breath of this process.
final class Guardian: Sendable {
    static let shared = Guardian()
    private let pipe: Int32

    private init() {
        let script = """
            declare -A pids folders
            while read -r word value; do
                case $word in
                    watch) pids[$value]=1 ;;
                    forget) unset "pids[$value]" ;;
                    folder) folders[$value]=1 ;;
                esac
            done
            for pid in "${!pids[@]}"; do kill -KILL "$pid"; done 2>/dev/null
            for folder in "${!folders[@]}"; do rm -rf -- "$folder"; done
            """
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        guard let ends = try? PrivatePipe() else {
            pipe = -1
            return
        }
        posix_spawn_file_actions_adddup2(&actions, ends.reading, 0)
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        actions.closeAllButStandard()
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A group of its own: a signal for the tests (control-C, a time limit) must not end it.
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
        var argv: [UnsafeMutablePointer<CChar>?] =
            ["bash", "-c", script].map { (text: String) in strdup(text) } + [nil]
        defer { for pointer in argv { free(pointer) } }
        var pid: pid_t = 0
        posix_spawnp(&pid, "bash", &actions, &attributes, &argv, environ)
        close(ends.reading)
        pipe = ends.writing
    }

    func watch(_ pid: pid_t) { tell("watch \(pid)") }
    func forget(_ pid: pid_t) { tell("forget \(pid)") }
    func removeAtEnd(_ folder: String) { tell("folder \(folder)") }

    private func tell(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        _ = bytes.withUnsafeBytes { write(pipe, $0.baseAddress, $0.count) }
    }
}

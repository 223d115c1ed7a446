import Glibc

/// Another program of this machine, run to its end: by its full path, without this process's environment and descriptors,
/// with its input from memory, and for no longer than a limit. Blocks its thread.
package enum OtherProgram {
    package struct Ending: Sendable {
        /// The exit code; 128 and the signal for one that was ended by a signal.
        package let code: Int32
        package let output: [UInt8]

        package var text: String { String(decoding: output, as: UTF8.self) }
        /// The last line, for a message.
        package var lastLine: String {
            String(text.split(whereSeparator: \.isNewline).last?.prefix(300) ?? "no output")
        }
    }

    /// What of its output is wanted; the rest goes nowhere.
    package enum Output: Sendable { case everything, standard, errors }

    private static let maximumOutput = 1 << 20

    /// Nil when there is no such program, or it can not be started.
    ///
    /// - Parameters:
    ///   - input: at most what a socket holds (64 KiB); nothing when nil.
    package static func run(
        _ path: String, _ arguments: [String], input: UnsafeRawBufferPointer? = nil,
        output wanted: Output = .everything,
        limit: Duration = .seconds(20)
    ) -> Ending? {
        guard access(path, X_OK) == 0, let given = pipe(), let taken = pipe() else { return nil }
        let child = start(path, arguments, reading: given.reading, writing: taken.writing, wanted)
        close(given.reading)
        close(taken.writing)
        // To a program that is gone nothing is sent; its exit code tells.
        if let input, child != nil { _ = send(given.writing, input.baseAddress, input.count, Int32(MSG_NOSIGNAL)) }
        close(given.writing)
        defer { close(taken.reading) }
        guard let child else { return nil }
        let output = read(taken.reading, until: .now + limit)
        if output == nil { kill(child, SIGKILL) }
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        let signal = status & 0x7F
        return Ending(code: signal == 0 ? (status >> 8) & 0xFF : 128 + signal, output: output ?? [])
    }

    /// Nil when the time is over.
    private static func read(_ descriptor: Int32, until end: ContinuousClock.Instant) -> [UInt8]? {
        var output: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 14)
        while output.count < maximumOutput {
            let left = ContinuousClock.now.duration(to: end) / .milliseconds(1)
            guard left > 0 else { return nil }
            var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let ready = poll(&waiting, 1, Int32(min(left, 60_000)))
            if ready < 0, errno == EINTR { continue }
            guard ready > 0 else { return nil }
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            output += chunk[..<count]
        }
        return output
    }

    /// Two ends of a stream that no other program inherits: of a pipe that can only be said afterwards.
    private static func pipe() -> (reading: Int32, writing: Int32)? {
        var ends: [Int32] = [-1, -1]
        // SOCK_STREAM and SOCK_CLOEXEC: an optimised build does not see Glibc's names beside systemd's headers.
        let kind: Int32 = 1 | 0o2000000
        guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else { return nil }
        return (ends[0], ends[1])
    }

    private static func start(
        _ path: String, _ arguments: [String], reading: Int32, writing: Int32, _ wanted: Output
    ) -> pid_t? {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, reading, STDIN_FILENO)
        for (descriptor, isWanted) in [(STDOUT_FILENO, wanted != .errors), (STDERR_FILENO, wanted != .standard)] {
            if isWanted {
                posix_spawn_file_actions_adddup2(&actions, writing, descriptor)
            } else {
                posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_WRONLY, 0)
            }
        }
        let settings = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "SYSTEMD_PAGER=cat", "SYSTEMD_COLORS=0"]
        var words = ([path] + arguments).map { (word: String) in strdup(word) } + [nil]
        var environment = settings.map { (setting: String) in strdup(setting) } + [nil]
        defer { for text in words + environment { free(text) } }
        var child: pid_t = 0
        return posix_spawn(&child, path, &actions, nil, &words, &environment) == 0 ? child : nil
    }
}

import Glibc

/// One started program that gets octets and gives octets, with a deadline. Ends with it: never left behind.
package struct Child: ~Copyable {
    package enum Ending: Equatable, Sendable {
        case exit(Int32), signal(Int32)
        /// It had given as much as is wanted, and was ended.
        case full
        /// The deadline passed, and it was ended.
        case late
    }

    private let process: pid_t
    private let input: Int32
    private let output: Int32

    /// nil: it does not start. Its environment is empty.
    /// - Parameter files: are open in it as descriptors 3, 4 and so on; nothing else of this process's is, where files
    ///   are given.
    package init?(program: String, arguments: [String], files: [Int32] = []) {
        var (toChild, fromChild): ([Int32], [Int32]) = ([-1, -1], [-1, -1])
        guard pipe(&toChild) == 0 else { return nil }
        guard pipe(&fromChild) == 0 else {
            for end in toChild { close(end) }
            return nil
        }
        for end in toChild + fromChild { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, toChild[0], STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, fromChild[1], STDOUT_FILENO)
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0)
        // Out of the way first: one of them may have the number that another one gets.
        let away = files.map { fcntl($0, F_DUPFD_CLOEXEC, 64) }
        defer { for file in away { close(file) } }
        if !files.isEmpty {
            for (index, file) in away.enumerated() {
                posix_spawn_file_actions_adddup2(&actions, file, Int32(3 + index))
            }
            // One that is closed already is no error.
            for other in Self.openDescriptors() where other >= Int32(3 + files.count) {
                posix_spawn_file_actions_addclose(&actions, other)
            }
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A service ignores and blocks signals; its child does not.
        var (none, all) = (sigset_t(), sigset_t())
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        let words = ([program] + arguments).map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        let environment: [UnsafeMutablePointer<CChar>?] = [nil]
        var process: pid_t = 0
        let status = posix_spawn(&process, program, &actions, &attributes, words, environment)
        close(toChild[0])
        close(fromChild[1])
        guard status == 0 else {
            close(toChild[1])
            close(fromChild[0])
            return nil
        }
        self.process = process
        input = toChild[1]
        output = fromChild[0]
        for end in [input, output] { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
    }

    private static func openDescriptors() -> [Int32] {
        guard let directory = opendir("/proc/self/fd") else { return [] }
        defer { closedir(directory) }
        var found: [Int32] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if let number = Int32(name) { found.append(number) }
        }
        return found
    }

    /// Gives all of the input, takes the output up to a limit, and waits for the end.
    package consuming func run(
        input octets: [UInt8], outputLimit: Int, deadline: ContinuousClock.Instant
    ) -> (output: [UInt8], ending: Ending) {
        var taken: [UInt8] = []
        let stop = exchange(octets, &taken, outputLimit, deadline)
        close(output)
        if stop != nil { kill(process, SIGKILL) }
        let status = waited()
        if let stop { return (taken, stop) }
        let signal = status & 0x7F
        return (taken, signal == 0 ? .exit((status >> 8) & 0xFF) : .signal(signal))
    }

    /// nil: it closed its output, and is to be waited for.
    private borrowing func exchange(
        _ octets: [UInt8], _ taken: inout [UInt8], _ outputLimit: Int, _ deadline: ContinuousClock.Instant
    ) -> Ending? {
        var given = 0
        var isOpen = true
        var chunk = [UInt8](repeating: 0, count: 65_536)
        defer { if isOpen { close(input) } }
        while true {
            let left = ContinuousClock.now.duration(to: deadline)
            guard left > .zero else { return .late }
            var waits = [
                pollfd(fd: isOpen ? input : -1, events: Int16(POLLOUT), revents: 0),
                pollfd(fd: output, events: Int16(POLLIN), revents: 0),
            ]
            _ = poll(&waits, 2, Int32(min(left / .milliseconds(1), 60_000)) + 1)
            if isOpen, waits[0].revents != 0 {
                let count = given < octets.count ? send(octets, from: given) : 0
                if count > 0 { given += count }
                // All of it, or nobody reads any more: what the child says by its end counts.
                if given == octets.count || (count < 0 && errno != EAGAIN && errno != EINTR) {
                    close(input)
                    isOpen = false
                }
            }
            if waits[1].revents != 0 {
                let count = read(output, &chunk, chunk.count)
                if count == 0 { return nil }
                if count < 0, errno != EAGAIN, errno != EINTR { return nil }
                if count > 0 {
                    let room = outputLimit - taken.count
                    taken.append(contentsOf: chunk[..<min(count, room)])
                    if count > room { return .full }
                }
            }
        }
    }

    /// `write` that raises no SIGPIPE in a process that has not ignored it.
    private borrowing func send(_ octets: [UInt8], from start: Int) -> Int {
        var pipe = sigset_t()
        sigemptyset(&pipe)
        sigaddset(&pipe, SIGPIPE)
        var before = sigset_t()
        pthread_sigmask(SIG_BLOCK, &pipe, &before)
        let count = octets.withUnsafeBytes { octets in
            write(input, octets.baseAddress! + start, min(octets.count - start, 65_536))
        }
        let code = errno
        if count < 0, code == EPIPE {
            var none = timespec()
            sigtimedwait(&pipe, nil, &none)
        }
        pthread_sigmask(SIG_SETMASK, &before, nil)
        errno = code
        return count
    }

    private borrowing func waited() -> Int32 {
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        return status
    }
}

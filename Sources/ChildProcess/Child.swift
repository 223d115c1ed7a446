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

    /// What of its output is wanted; the rest goes nowhere.
    package enum Output: Sendable { case standard, errors, everything }

    private let process: pid_t
    private let input: Int32
    private let output: Int32

    /// nil: it does not start. Nothing of this process's descriptors is open in it but those given.
    /// - Parameters:
    ///   - files: are open in it as descriptors 3, 4 and so on.
    ///   - environment: `NAME=value`; nothing of this process's own.
    package init?(
        program: String, arguments: [String], files: [Int32] = [], environment: [String] = [],
        output wanted: Output = .standard
    ) {
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
        // Out of the way first: one of them may have the number that another one gets.
        let away = (files + [toChild[0], fromChild[1]]).map { fcntl($0, F_DUPFD_CLOEXEC, 64) }
        defer { for file in away where file >= 0 { close(file) } }
        guard away.allSatisfy({ $0 >= 0 }) else {
            for end in toChild + fromChild { close(end) }
            return nil
        }
        posix_spawn_file_actions_adddup2(&actions, away[files.count], STDIN_FILENO)
        for (descriptor, isWanted) in [(STDOUT_FILENO, wanted != .errors), (STDERR_FILENO, wanted != .standard)] {
            if isWanted {
                posix_spawn_file_actions_adddup2(&actions, away[files.count + 1], descriptor)
            } else {
                posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_WRONLY, 0)
            }
        }
        for index in files.indices { posix_spawn_file_actions_adddup2(&actions, away[index], Int32(3 + index)) }
        // One that is closed already is no error.
        for other in Self.openDescriptors() where other >= Int32(3 + files.count) {
            posix_spawn_file_actions_addclose(&actions, other)
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
        let settings = environment.map { strdup($0) } + [nil]
        defer { for text in words + settings { free(text) } }
        var process: pid_t = 0
        let status = posix_spawn(&process, program, &actions, &attributes, words, settings)
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
        let ending = octets.withUnsafeBytes { octets in
            conduct(octets, deadline) { more in
                let room = outputLimit - taken.count
                taken.append(contentsOf: more.prefix(room))
                return more.count <= room
            }
        }
        return (taken, ending)
    }

    /// The same with the output in pieces: `take` says whether more is wanted. What passed here is wiped.
    package consuming func run(
        input octets: UnsafeRawBufferPointer, deadline: ContinuousClock.Instant,
        take: (UnsafeRawBufferPointer) -> Bool
    ) -> Ending {
        conduct(octets, deadline, take)
    }

    private borrowing func conduct(
        _ octets: UnsafeRawBufferPointer, _ deadline: ContinuousClock.Instant,
        _ take: (UnsafeRawBufferPointer) -> Bool
    ) -> Ending {
        let stop = exchange(octets, take, deadline)
        close(output)
        if stop != nil { kill(process, SIGKILL) }
        let status = waited()
        if let stop { return stop }
        let signal = status & 0x7F
        return signal == 0 ? .exit((status >> 8) & 0xFF) : .signal(signal)
    }

    /// nil: it closed its output, and is to be waited for.
    private borrowing func exchange(
        _ octets: UnsafeRawBufferPointer, _ take: (UnsafeRawBufferPointer) -> Bool,
        _ deadline: ContinuousClock.Instant
    ) -> Ending? {
        var given = 0
        var isOpen = true
        let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536, alignment: 16)
        defer {
            if let start = chunk.baseAddress { explicit_bzero(start, chunk.count) }
            chunk.deallocate()
            if isOpen { close(input) }
        }
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
                let count = read(output, chunk.baseAddress, chunk.count)
                if count == 0 { return nil }
                if count < 0, errno != EAGAIN, errno != EINTR { return nil }
                if count > 0, !take(UnsafeRawBufferPointer(rebasing: chunk[..<count])) { return .full }
            }
        }
    }

    /// `write` that raises no SIGPIPE in a process that has not ignored it.
    private borrowing func send(_ octets: UnsafeRawBufferPointer, from start: Int) -> Int {
        var pipe = sigset_t()
        sigemptyset(&pipe)
        sigaddset(&pipe, SIGPIPE)
        var before = sigset_t()
        pthread_sigmask(SIG_BLOCK, &pipe, &before)
        let count = write(input, octets.baseAddress! + start, min(octets.count - start, 65_536))
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

import Diagnostics
import Glibc
import SecretMemory

/// The words of a share as a QR code for the terminal, made by `qrencode` (Debian: qrencode), which gets them through a
/// pipe and gives the picture back through another one.
///
/// Nothing of it touches a disk: no file is named, the program has no environment and leaves no core. The code holds the
/// words in capitals, for which QR codes have a denser form; `hdsctl` takes them as they come out of a scanner. Low error
/// correction: what is scanned from a screen is whole, and a smaller code fits on more terminals.
enum ShareCode {
    /// Never by PATH: whoever is found there gets the share.
    static let program = "/usr/bin/qrencode"
    private static let maximumCount = 64 << 10

    /// Lines of half blocks with colours of their own, so that light stays light on every terminal.
    static func picture(of words: borrowing SecretBytes) throws(DiagnosedError) -> SecretBytes {
        guard access(program, X_OK) == 0 else {
            throw unusable("no program \(program)", "apt-get install qrencode, or leave --qr out")
        }
        // The program's copy of the words is not to be left in a core either.
        var none = rlimit(rlim_cur: 0, rlim_max: 0)
        setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
        let (toProgram, fromProgram) = (try pipe(), try pipe())
        let child = start(reading: toProgram.reading, writing: fromProgram.writing)
        close(toProgram.reading)
        close(fromProgram.writing)
        // A program that is gone must not end this one: the write says so.
        let before = signal(SIGPIPE, SIG_IGN)
        let capitals = SecretBytes(count: words.count) { target in
            words.withUnsafeBytes { words in
                for (index, octet) in words.enumerated() {
                    target[index] = (0x61...0x7A).contains(octet) ? octet & ~0x20 : octet
                }
            }
        }
        // Less than a pipe holds: no reading is needed meanwhile.
        let isWritten = capitals.withUnsafeBytes { write(toProgram.writing, $0.baseAddress, $0.count) == $0.count }
        close(toProgram.writing)
        signal(SIGPIPE, before)
        let picture = SecretBytes(capacity: maximumCount) { buffer in
            var count = 0
            while count < buffer.count {
                let more = read(fromProgram.reading, buffer.baseAddress! + count, buffer.count - count)
                if more < 0, errno == EINTR { continue }
                guard more > 0 else { break }
                count += more
            }
            return count
        }
        close(fromProgram.reading)
        var status: Int32 = 0
        guard let child else { throw unusable("it does not start", nil) }
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        guard status == 0, isWritten, picture.count > 0, picture.count < maximumCount else {
            throw unusable("it ended with status \(status)", nil)
        }
        return picture
    }

    private static func pipe() throws(DiagnosedError) -> (reading: Int32, writing: Int32) {
        var ends: [Int32] = [-1, -1]
        guard Glibc.pipe(&ends) == 0 else { throw unusable(String(cString: strerror(errno)), nil) }
        // Nobody else starts programs meanwhile: a command has one thread.
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return (ends[0], ends[1])
    }

    private static func start(reading: Int32, writing: Int32) -> pid_t? {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, reading, STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, writing, STDOUT_FILENO)
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0)
        let words = [program, "--type=ANSIUTF8", "--level=L", "--margin=4", "--output=-"]
        var arguments = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var environment: [UnsafeMutablePointer<CChar>?] = [nil]
        var child: pid_t = 0
        return posix_spawn(&child, program, &actions, nil, &arguments, &environment) == 0 ? child : nil
    }

    private static func unusable(_ found: String, _ hint: String?) -> DiagnosedError {
        DiagnosedError(
            "qr-code", fault: .configuration, "no QR code of a share can be made", expected: "a working \(program)",
            found: found, hint: hint ?? "leave --qr out: the words alone are the whole share")
    }
}

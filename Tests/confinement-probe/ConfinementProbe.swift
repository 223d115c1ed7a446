import Confinement
import Glibc

/// What a document that took over the reader would try, each in one line with its result; for `ConfinementTests`.
@main
enum ConfinementProbe {
    static func main() {
        let parent = getppid()
        let secret = CommandLine.arguments[1]
        let mayBecomeAnother = CommandLine.arguments[2] == "another"
        let before = open(secret, O_RDONLY)
        say("before: read \(before >= 0)")
        do {
            try Confinement(memory: 1 << 30, seconds: 1, mayBecomeAnotherProgram: mayBecomeAnother).enter()
        } catch {
            say("not confined: \(error)")
            _exit(1)
        }
        var octet: UInt8 = 0
        say("open descriptor: \(read(before, &octet, 1) == 1)")
        say("read: \(open(secret, O_RDONLY) >= 0)")
        say("create: \(open(secret + ".new", O_WRONLY | O_CREAT, 0o600) >= 0)")
        say("unlink: \(unlink(secret) == 0)")
        say("socket: \(socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0) >= 0)")
        say("unix socket: \(socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0) >= 0)")
        say("signal: \(kill(parent, 0) == 0)")
        var process: pid_t = 0
        let words: [UnsafeMutablePointer<CChar>?] = [strdup("true"), nil]
        say("start: \(posix_spawn(&process, "/usr/bin/true", nil, nil, words, [nil]) == 0)")
        say("memory: \(mmap(nil, 2 << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)")
        say("program file: \(open("/usr/bin/env", O_RDONLY) >= 0)")
        var raised = rlimit(rlim_cur: 2 << 30, rlim_max: 2 << 30)
        say("raise limit: \(setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &raised) == 0)")
        while true { octet &+= 1 }
    }

    private static func say(_ line: String) {
        _ = Array((line + "\n").utf8).withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
    }
}

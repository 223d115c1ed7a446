import CSystemd
import Diagnostics
import Glibc

/// What the process does to itself before it touches a secret, whoever started it.
enum ProcessHardening {
    /// Files for the owner only; no core dumps; no ptrace and no /proc/self/mem by the same user; a closed pipe is an
    /// error of its write and not the end of the process; no lines of libdispatch. Returns what could not be done.
    static func apply() -> [Loggable] {
        var failures: [Loggable] = []
        umask(0o077)
        signal(SIGPIPE, SIG_IGN)
        // Without the right to raise priorities libdispatch writes a line to stderr for each thread it makes.
        setenv("LIBDISPATCH_LOG", "NO", 0)
        let core = __rlimit_resource_t(RLIMIT_CORE.rawValue)
        var none = rlimit(rlim_cur: 0, rlim_max: 0)
        if setrlimit(core, &none) != 0 {
            // A system call filter may forbid it where the unit has set LimitCORE=0 already.
            var limit = rlimit()
            if getrlimit(core, &limit) != 0 || limit.rlim_cur != 0 {
                failures.append("core dumps can not be switched off")
            }
        }
        if hds_forbid_dumps() != 0 { failures.append("the process can not be made undumpable") }
        return failures
    }

    static var isRoot: Bool { geteuid() == 0 }
}

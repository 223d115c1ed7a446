import CSeccomp
import Glibc

/// What a process gives up for good before it looks at the content of a file that somebody else made.
///
/// Memory, processor time and descriptors are bounded by resource limits; nothing can be written or made in the file
/// system; no socket, no process and no thread can be made, nobody else's memory or signals be reached. A document that
/// takes over the parser finds a process that can compute, and write text into one pipe. It can not be undone, and it
/// holds for a program that is started in place of this one.
package struct Confinement: Sendable {
    /// Bytes of address space.
    package var memory: UInt64
    /// Seconds of processor time; the process ends with SIGXCPU after them.
    package var seconds: UInt64
    /// Whether another program may take this one's place, and what it reads under `/usr`, `/lib`, `/etc`. Needs Landlock
    /// (Linux 5.13), for nothing else keeps it from the files of the service.
    package var mayBecomeAnotherProgram: Bool

    package init(memory: UInt64, seconds: UInt64, mayBecomeAnotherProgram: Bool) {
        self.memory = memory
        self.seconds = seconds
        self.mayBecomeAnotherProgram = mayBecomeAnotherProgram
    }

    /// The step that failed; `code` is its errno.
    package struct Failure: Error, Equatable {
        package let step: String
        package let code: Int32
    }

    /// Confines this process, which must have one thread. Of its descriptors only the standard ones stay open.
    package func enter() throws(Failure) {
        guard hds_close_descriptors() == 0 else { throw Failure(step: "descriptors", code: errno) }
        try limit(RLIMIT_CORE, 0)
        try limit(RLIMIT_FSIZE, 0)
        try limit(RLIMIT_AS, memory)
        try limit(RLIMIT_CPU, seconds)
        guard hds_no_new_privileges() == 0 else { throw Failure(step: "no-new-privileges", code: errno) }
        try closeFileSystem()
        try filterSystemCalls()
    }

    private func limit(_ resource: __rlimit_resource, _ value: UInt64) throws(Failure) {
        var bound = rlimit(rlim_cur: rlim_t(value), rlim_max: rlim_t(value))
        guard unsafe setrlimit(__rlimit_resource_t(resource.rawValue), &bound) == 0 else {
            throw Failure(step: "limit \(resource.rawValue)", code: errno)
        }
    }

    private func closeFileSystem() throws(Failure) {
        guard hds_landlock_version() >= 1 else {
            // Without another program nothing has to be opened: the filter of system calls refuses it all.
            if mayBecomeAnotherProgram { throw Failure(step: "landlock", code: errno) }
            return
        }
        let rules = hds_landlock_refuse_all()
        guard rules >= 0 else { throw Failure(step: "landlock", code: errno) }
        defer { close(rules) }
        if mayBecomeAnotherProgram {
            for folder in ["/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/fonts"] {
                let descriptor = unsafe open(folder, O_RDONLY | O_CLOEXEC)
                guard descriptor >= 0 else { continue }
                defer { close(descriptor) }
                // A file takes no rule for folders: then it is not readable, which only costs the loader time.
                _ = hds_landlock_allow_reading(rules, descriptor)
            }
        }
        guard hds_landlock_enforce(rules) == 0 else { throw Failure(step: "landlock", code: errno) }
    }

    private func filterSystemCalls() throws(Failure) {
        guard let filter = unsafe hds_filter() else { throw Failure(step: "filter", code: ENOMEM) }
        defer { unsafe seccomp_release(filter) }
        let names = Self.computing + (mayBecomeAnotherProgram ? Self.startingAnother : [])
        for name in names {
            let status = unsafe hds_filter_allow(filter, name)
            guard status == 0 else { throw Failure(step: "filter \(name)", code: -status) }
        }
        let status = unsafe seccomp_load(filter)
        guard status == 0 else { throw Failure(step: "filter", code: -status) }
    }

    /// What computing and the open descriptors need.
    private static let computing = [
        "read", "readv", "pread64", "write", "writev", "close", "fstat", "newfstatat", "lseek", "fcntl", "dup", "dup2",
        "mmap", "munmap", "mremap", "mprotect", "madvise", "brk", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
        "sigaltstack", "futex", "set_robust_list", "rseq", "getrandom", "clock_gettime", "gettimeofday", "getpid",
        "gettid",
        "tgkill", "exit", "exit_group", "sched_yield", "sched_getaffinity", "getrlimit", "sysinfo", "uname",
    ]
    /// What the loader of another program needs; what it may open is Landlock's to say.
    private static let startingAnother = [
        "execve", "arch_prctl", "set_tid_address", "prlimit64", "open", "openat", "access", "faccessat", "faccessat2",
        "stat", "lstat", "statx", "readlink", "readlinkat", "getcwd", "getdents64", "ioctl", "getuid", "geteuid",
        "getgid", "getegid", "poll", "statfs",
    ]
}

package import Glibc

/// Reads a clock of the kernel; the one place that does, for the members of `timespec` are not visible in every module.
package enum KernelClock {
    /// Nanoseconds since that clock's beginning, such as `CLOCK_BOOTTIME`, which neither jumps nor stops.
    package static func nanoseconds(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    /// Nanoseconds since the boot, the time in which the machine slept included.
    package static func bootNanoseconds() -> Int64 { nanoseconds(CLOCK_BOOTTIME) }

    /// Milliseconds since the boot.
    package static func monotonicMilliseconds() -> Int64 { nanoseconds(CLOCK_BOOTTIME) / 1_000_000 }

    /// When a file was last changed, in seconds since 1970; nil when it can not be found.
    package static func modified(_ path: String) -> Int64? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return Int64(status.st_mtim.tv_sec)
    }
}

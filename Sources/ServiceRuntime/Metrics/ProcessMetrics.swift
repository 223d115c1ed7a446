import Diagnostics
import Glibc
import WireText

/// What the kernel tells about this process, from /proc/self and the clocks. Works under ProcSubset=pid.
enum ProcessMetrics {
    static func register(in metrics: MetricRegistry) {
        metrics.read(.processResidentMemory) { kibibytes("VmRSS:") }
        metrics.read(.processPrivateMemory) { kibibytes("RssAnon:") }
        metrics.read(.processVirtualMemory) { kibibytes("VmSize:") }
        metrics.read(.processThreads) { status("Threads:") ?? 0 }
        metrics.read(.processOpenFiles) { Double(openFiles()) }
        metrics.read(.processMaximumFiles) {
            var limit = rlimit()
            return getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 ? Double(limit.rlim_cur) : 0
        }
        metrics.read(.processCPU) { seconds(CLOCK_PROCESS_CPUTIME_ID) }
        let start = Double(Timestamp.now().milliseconds) / 1000 - secondsSinceStart
        metrics.read(.processStart) { start }
    }

    /// Time since the kernel started the process, to a hundredth of a second.
    static var secondsSinceStart: Double {
        // Field 22 of /proc/self/stat, counted behind the name, which may hold spaces: ticks after the boot.
        guard let text = contents("/proc/self/stat"), let close = text.lastIndex(of: ")") else { return 0 }
        let fields = text[close...].split(separator: " ")
        guard fields.count > 20, let ticks = Double(fields[20]) else { return 0 }
        return max(0, seconds(CLOCK_BOOTTIME) - ticks / Double(sysconf(Int32(_SC_CLK_TCK))))
    }

    private static func kibibytes(_ name: String) -> Double { (status(name) ?? 0) * 1024 }

    private static func status(_ name: String) -> Double? {
        guard let text = contents("/proc/self/status") else { return nil }
        let line = text.split(separator: "\n").first { $0.hasPrefix(name) }
        return line?.dropFirst(name.count).split(whereSeparator: \.isWhitespace).first.flatMap { Double($0) }
    }

    private static func openFiles() -> Int {
        guard let folder = opendir("/proc/self/fd") else { return 0 }
        defer { closedir(folder) }
        var count = 0
        while let entry = readdir(folder) {
            if entry.pointee.d_name.0 != CChar(bitPattern: UInt8(ascii: ".")) { count += 1 }
        }
        // The one that lists them.
        return max(0, count - 1)
    }

    private static func seconds(_ clock: clockid_t) -> Double {
        Double(KernelClock.nanoseconds(clock)) * 1e-9
    }

    /// A small file of /proc.
    private static func contents(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        let bytes = [UInt8](unsafeUninitializedCapacity: 8192) { buffer, count in
            count = max(0, Glibc.read(descriptor, buffer.baseAddress, buffer.count))
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

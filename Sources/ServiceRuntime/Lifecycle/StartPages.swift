import Glibc

/// Lets go of the code that only the start needed: what is used again the kernel maps again, from memory.
///
/// Dynamic linking, registering types, reading configuration and the self-test touch most pages of the program and its
/// libraries once, and they would count as resident ever after. Only mappings of code are let go: they are never
/// written, so their content is that of their files.
enum StartPages {
    static func release() {
        for range in codeMappings(in: Self.maps()) {
            guard let start = UnsafeMutableRawPointer(bitPattern: range.lowerBound) else { continue }
            // The range is one whole mapping of this process, of code only; a failure leaves everything as it was.
            _ = madvise(start, range.count, MADV_DONTNEED)
        }
    }

    private static func maps() -> String {
        let descriptor = open("/proc/self/maps", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "" }
        defer { close(descriptor) }
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            guard count > 0 else { return String(decoding: text, as: UTF8.self) }
            text += buffer[..<count]
        }
    }

    /// Addresses of private mappings of files that are read and executed and not written (proc_pid_maps(5)).
    static func codeMappings(in maps: String) -> [Range<UInt>] {
        maps.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ", omittingEmptySubsequences: true)
            guard fields.count >= 6, fields[1] == "r-xp", fields[5].hasPrefix("/") else { return nil }
            let bounds = fields[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
            return bounds.count == 2 && bounds[0] < bounds[1] ? bounds[0]..<bounds[1] : nil
        }
    }
}

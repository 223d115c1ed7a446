import CSeccomp
import Glibc

/// A file in memory, without a name and without a trace on a disk.
package enum MemoryFile {
    /// Makes octets what this process, and a program that takes its place, reads from the standard input. False: it can not
    /// be had.
    package static func becomeStandardInput(_ octets: [UInt8]) -> Bool {
        let file = hds_memory_file()
        guard file >= 0 else { return false }
        defer { close(file) }
        var written = 0
        while written < octets.count {
            let count = unsafe octets[written...].withUnsafeBytes { unsafe write(file, $0.baseAddress, $0.count) }
            guard count > 0 else { return false }
            written += count
        }
        return lseek(file, 0, SEEK_SET) == 0 && dup2(file, STDIN_FILENO) == STDIN_FILENO
    }
}

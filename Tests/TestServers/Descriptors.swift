import Glibc

/// The open files of this process.
package enum Descriptors {
    /// A copy of the descriptor of this file, as a program that is being started has it between fork and exec.
    package static func copy(of path: String) -> Int32? {
        guard let folder = opendir("/proc/self/fd") else { return nil }
        defer { closedir(folder) }
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            var target = [UInt8](repeating: 0, count: Int(PATH_MAX))
            let count = readlink("/proc/self/fd/" + name, &target, target.count)
            if count > 0, String(decoding: target[..<count], as: UTF8.self) == path, let descriptor = Int32(name) {
                return fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
            }
        }
        return nil
    }
}

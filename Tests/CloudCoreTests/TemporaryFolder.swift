import Glibc
import WireText

/// A folder of one test, gone with it.
final class TemporaryFolder: Sendable {
    let path: String

    init() {
        path = "/tmp/hds-core-test-\(UUIDText.random())"
        mkdir(path, 0o700)
    }

    deinit { Self.remove(path) }

    /// The names in a folder of this one, without dots.
    func names(in folder: String) -> [String] { Self.names(path + "/" + folder) }

    private static func names(_ path: String) -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    private static func remove(_ path: String) {
        for name in names(path) {
            let child = path + "/" + name
            if unlink(child) != 0 { remove(child) }
        }
        rmdir(path)
    }
}

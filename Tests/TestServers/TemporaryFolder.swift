import Glibc
import WireText

/// A folder of one test, gone with it.
package final class TemporaryFolder: Sendable {
    package let path: String

    package init() {
        path = "/tmp/hds-test-\(UUIDText.random())"
        mkdir(path, 0o700)
    }

    deinit { end() }

    /// Takes the folder away now, where somebody may hold this for ever. Again has no effect.
    package func end() { Self.remove(path) }

    /// The names in a folder of this one, without dots.
    package func names(in folder: String) -> [String] { Self.names(path + "/" + folder) }

    /// The octets of a file as text, each octet a character of its own where they are no UTF-8.
    package func contents(of name: String) throws -> String {
        let descriptor = open(path + "/" + name, O_RDONLY)
        guard descriptor >= 0 else { throw TestPKI.Failure(what: "open \(name)") }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(descriptor, &chunk, chunk.count)
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += chunk[..<count]
        }
    }

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

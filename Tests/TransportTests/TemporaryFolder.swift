import Glibc

/// A folder of one test, removed with this object.
final class TemporaryFolder: Sendable {
    private let root: String

    init() {
        var template = Array("/tmp/hds-transport-XXXXXX".utf8CString)
        root = mkdtemp(&template).map { String(cString: $0) } ?? "/nonexistent"
    }

    deinit { _ = system("rm -rf \(root)") }

    struct Failure: Error {}

    func path(_ name: String) -> String { root + "/" + name }

    func exists(_ name: String) -> Bool { access(path(name), F_OK) == 0 }

    func write(_ bytes: [UInt8], to name: String) throws {
        guard let file = fopen(path(name), "w") else { throw Failure() }
        defer { fclose(file) }
        guard fwrite(bytes, 1, bytes.count, file) == bytes.count else { throw Failure() }
    }

    func read(_ name: String) throws -> [UInt8] {
        guard let file = fopen(path(name), "r") else { throw Failure() }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = fread(&buffer, 1, buffer.count, file), count > 0 { bytes += buffer[..<count] }
        return bytes
    }
}

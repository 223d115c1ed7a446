import FoundationEssentials
import Glibc
import TestServers

/// The checkout that these tests were built from.
enum Repository {
    static let root: String = {
        var parts = #filePath.split(separator: "/")
        parts.removeLast(3)
        return "/" + parts.joined(separator: "/")
    }()

    struct File {
        /// Relative to the root.
        let path: String
        let text: String

        /// The target that it belongs to: the folder below Sources, Tests or Benchmarks.
        var target: String { String(path.split(separator: "/")[1]) }
    }

    struct SwiftFile {
        let path: String
        let target: String
        let source: SwiftSource
    }

    /// Every Swift file of the package, read once.
    static let swiftFiles = Result {
        try ["Sources", "Tests", "Benchmarks"].flatMap { try files(below: $0, endings: [".swift"]) }
            .map { SwiftFile(path: $0.path, target: $0.target, source: SwiftSource($0.text)) }
    }

    /// All files below a folder with one of the endings, sorted by path.
    static func files(below folder: String, endings: [String]) throws -> [File] {
        let entries = try FileManager.default.subpathsOfDirectory(atPath: root + "/" + folder)
        return try entries.sorted().compactMap { entry in
            guard endings.contains(where: { entry.hasSuffix($0) }) else { return nil }
            let path = folder + "/" + entry
            guard let bytes = FileManager.default.contents(atPath: root + "/" + path) else {
                throw Trouble("can not read \(path)")
            }
            return File(path: path, text: String(decoding: bytes, as: UTF8.self))
        }
    }
}

/// What keeps a check from being made at all.
struct Trouble: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// The standard output of a shell command; throws when it fails.
func output(of command: String) async throws -> [UInt8] { try await onOwnThread { try waitForOutput(of: command) } }

private func waitForOutput(of command: String) throws -> [UInt8] {
    guard let stream = popen(command, "r") else { throw Trouble("can not start: \(command)") }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while case let count = fread(&buffer, 1, buffer.count, stream), count > 0 { bytes += buffer[..<count] }
    let status = pclose(stream)
    guard status == 0 else { throw Trouble("\(command) ended with status \(status)") }
    return bytes
}

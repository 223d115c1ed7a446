import Foundation
import Glibc
import TestServers

/// Python's `zoneinfo` and `dateutil`, as programs that nobody here wrote.
enum PythonOracle {
    static let isThere = system("python3 -c 'import dateutil, zoneinfo' > /dev/null 2>&1") == 0

    /// The lines that a script prints for these lines.
    static func answers(to questions: [String], _ script: String) async throws -> [String] {
        let folder = TemporaryFolder()
        try Data(questions.map { $0 + "\n" }.joined().utf8).write(to: URL(filePath: folder.path + "/questions"))
        try Data(script.utf8).write(to: URL(filePath: folder.path + "/oracle.py"))
        return try await onOwnThread {
            let status = system("cd \(folder.path) && timeout 100 python3 oracle.py < questions > out 2> err")
            guard status == 0 else { throw TestPKI.Failure(what: try folder.contents(of: "err")) }
            let output = try folder.contents(of: "out")
            return output.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
        }
    }
}

import Foundation
import TestServers
import WireText

/// The pages of the checkout and the programs that were built from it.
enum Documents {
    static let root = Repository.root

    static let pages: [(path: String, text: String)] = {
        let folder = FileManager.default.enumerator(atPath: root + "/docs")
        let below = (folder?.compactMap { $0 as? String } ?? []).filter { $0.hasSuffix(".md") }.sorted()
        let paths = ["README.md", "SECURITY.md", "CONTRIBUTING.md"] + below.map { "docs/" + $0 }
        return paths.compactMap { path in
            (try? String(contentsOfFile: root + "/" + path, encoding: .utf8)).map { (path, $0) }
        }
    }()

    static let programNames = [
        "hds", "hdsctl", "hds-kms", "hds-auth", "hds-core", "hds-indexer", "hds-ediscovery", "hds-calendar",
    ]

    /// The commands of each program, as it tells them.
    static let trees = Result {
        try Dictionary(
            uniqueKeysWithValues: programNames.map { name in
                let process = Process()
                process.executableURL = URL(fileURLWithPath: Repository.program(name))
                process.arguments = ["--experimental-dump-help"]
                let pipe = Pipe()
                process.standardOutput = pipe
                try process.run()
                let octets = pipe.fileHandleForReading.readDataToEndOfFile()
                process.waitUntilExit()
                let limits = JSONDocument.Limits(maximumDepth: 64, maximumNodes: 1_000_000)
                let root = try JSONDocument(Array(octets), limits: limits).root
                guard let command = root["command"] else { throw Missing(program: name) }
                return (name, CommandTree(command))
            })
    }

    struct Missing: Error { let program: String }

    static func lines(of programs: Set<String>) -> [DocumentedLine] {
        pages.flatMap { DocumentedLine.all(in: $0.text, file: $0.path, programs: programs) }
    }

    static func text(_ path: String) -> String? { try? String(contentsOfFile: root + "/" + path, encoding: .utf8) }
}

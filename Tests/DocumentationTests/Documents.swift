import Foundation
import TestServers
import WireText

/// The pages of the checkout and the programs that were built from it.
enum Documents {
    static let root: String = {
        var url = URL(fileURLWithPath: #filePath)
        for _ in 0..<3 { url.deleteLastPathComponent() }
        return url.path
    }()

    private static let programs: String = {
        for path in CommandLine.arguments + ["/proc/self/exe"] {
            let folder = URL(fileURLWithPath: path).resolvingSymlinksInPath().deletingLastPathComponent().path
            if FileManager.default.isExecutableFile(atPath: folder + "/hds-kms") { return folder }
        }
        return root + "/.build/debug"
    }()

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
                process.executableURL = URL(fileURLWithPath: programs + "/" + name)
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

    static func text(_ path: String) -> String? { try? String(contentsOfFile: root + "/" + path, encoding: .utf8) }
}

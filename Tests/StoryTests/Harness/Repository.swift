import Foundation

/// Where the checkout and the built programs are.
///
/// The programs stand beside the test bundle, or in the folder that the environment names in `HDS_BIN`.
enum Repository {
    static let root: String = {
        // …/Tests/StoryTests/Harness/Repository.swift
        var url = URL(fileURLWithPath: #filePath)
        for _ in 0..<4 { url.deleteLastPathComponent() }
        return url.path
    }()

    static let programs: String = {
        if let named = ProcessInfo.processInfo.environment["HDS_BIN"], !named.isEmpty { return named }
        // The bundle stands in the folder of the programs; a separate runner of tests gets its path as an argument.
        for path in CommandLine.arguments + ["/proc/self/exe"] {
            let folder = URL(fileURLWithPath: path).resolvingSymlinksInPath().deletingLastPathComponent().path
            if FileManager.default.isExecutableFile(atPath: folder + "/hds-kms") { return folder }
        }
        return root + "/.build/debug"
    }()

    static func program(_ name: String) -> String { programs + "/" + name }
}

import Foundation
import Glibc

/// Programs that were built beside the test bundle.
enum Program {
    static func path(_ name: String) -> String {
        for path in CommandLine.arguments + ["/proc/self/exe"] {
            let folder = URL(filePath: path).resolvingSymlinksInPath().deletingLastPathComponent().path
            if access(folder + "/" + name, X_OK) == 0 { return folder + "/" + name }
        }
        return name
    }
}

/// A file with one octet, gone at the end.
final class TemporaryFile {
    let path: String

    init(_ name: String) throws {
        path = NSTemporaryDirectory() + "/hds-\(name)-\(UUID().uuidString)"
        try Data("x".utf8).write(to: URL(filePath: path))
    }

    deinit { unlink(path) }
}

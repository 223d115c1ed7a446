import Diagnostics
import Glibc

/// The files below a folder, in the order of their paths' octets, one folder's names in memory at a time for each level.
struct FolderTree {
    enum Kind: Sendable { case file, folder, other }

    private var levels: [Level] = []
    private let root: String

    private struct Level {
        /// With a slash at its end, or empty for the root.
        let path: String
        /// Descending: the next one is the last. Folders with a slash behind.
        var names: [(name: String, kind: Kind)]
    }

    static let maximumDepth = 16

    init(_ root: String) throws(DiagnosedError) {
        self.root = root
        levels = [Level(path: "", names: try Self.names(in: root))]
    }

    /// The next path below the root. Of `other` kind is what no package has: links, devices, names that are no UTF-8, what is
    /// nested too deeply.
    mutating func next() throws(DiagnosedError) -> (path: String, kind: Kind)? {
        while let level = levels.last {
            guard let (name, kind) = level.names.last else {
                levels.removeLast()
                continue
            }
            levels[levels.count - 1].names.removeLast()
            let path = level.path + name
            guard kind == .folder else { return (path, kind) }
            guard levels.count < Self.maximumDepth else { return (path, .other) }
            let below = try Self.names(in: root + "/" + path)
            // An empty folder is no file, and a package has none.
            if below.isEmpty { return (path, .other) }
            levels.append(Level(path: path, names: below))
        }
        return nil
    }

    private static func names(in folder: String) throws(DiagnosedError) -> [(name: String, kind: Kind)] {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0, let stream = fdopendir(descriptor) else {
            if descriptor >= 0 { close(descriptor) }
            throw .exportFile("a folder can not be read", folder, errno: errno)
        }
        defer { closedir(stream) }
        var names: [(name: String, kind: Kind)] = []
        while let entry = readdir(stream) {
            let octets = withUnsafeBytes(of: entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            let name = String(decoding: octets, as: UTF8.self)
            if name == "." || name == ".." { continue }
            var status = stat()
            guard name.utf8.elementsEqual(octets), fstatat(descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
                names.append((name, .other))
                continue
            }
            switch status.st_mode & S_IFMT {
            case S_IFREG: names.append((name, .file))
            case S_IFDIR: names.append((name + "/", .folder))
            default: names.append((name, .other))
            }
        }
        return names.sorted { $1.name.utf8.lexicographicallyPrecedes($0.name.utf8) }
    }

    /// Takes a folder away with all that is in it; links are not followed. Nothing there: nothing happens.
    static func remove(_ path: String) {
        guard unlink(path) != 0, errno != ENOENT else { return }
        if let stream = opendir(path) {
            var names: [String] = []
            while let entry = readdir(stream) {
                let name = withUnsafeBytes(of: entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                if name != "." && name != ".." { names.append(name) }
            }
            closedir(stream)
            for name in names { remove(path + "/" + name) }
        }
        rmdir(path)
    }
}

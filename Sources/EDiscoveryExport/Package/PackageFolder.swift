import Cryptography
import Diagnostics
import Glibc
import Synchronization
import WireText

/// A BagIt package (RFC 8493, version 1.0) while it is written: a folder beside its final place, renamed when all of it is
/// on the disk.
///
/// The manifest is in the order of the paths' octets without ever being sorted in memory: within each entry of `data/`
/// files are made in that order, so their lines go to a spool of their own, and the spools are put together at the end.
///
/// Several lanes make files in it at once, each of entries of its own.
final class PackageFolder: Sendable {
    private let place: String
    private let working: String
    private let spools: String
    private let state = Mutex(State())

    private struct State {
        /// By the first part of the path, with a slash when it is a folder: that is how its paths sort.
        var lines: [String: Spool] = [:]
        var folders: Set<String> = []
        var octets: Int64 = 0
        var files: Int64 = 0

        var sorted: [(key: String, spool: Spool)] {
            lines.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }.map { ($0.key, $0.value) }
        }
    }

    private final class Spool {
        let file: PackageFile
        let place: String
        var last = ""
        init(_ place: String) throws {
            file = try PackageFile("", at: place)
            self.place = place
        }
    }

    /// - Parameter place: must not be there yet; what a broken run left beside it is taken away.
    init(_ place: String) throws {
        self.place = place
        working = place + ".partial"
        spools = place + ".partial-lines"
        var status = stat()
        guard lstat(place, &status) != 0 else {
            throw DiagnosedError(
                .exportFile, fault: .client, "there is something at the export's place already", expected: "nothing",
                found: place, hint: "name another folder, or take it away")
        }
        FolderTree.remove(working)
        FolderTree.remove(spools)
        for folder in [working, spools, working + "/data"] { try Self.make(folder) }
    }

    /// Leaves nothing behind.
    func abandon() {
        FolderTree.remove(working)
        FolderTree.remove(spools)
    }

    /// - Parameter path: below `data/`, made of this module's own names.
    func file(_ path: String) throws -> PackageFile {
        if let slash = path.lastIndex(of: "/") { try folder(String(path[..<slash])) }
        return try PackageFile(path, at: working + "/data/" + path) { [unowned self] file, digest in
            try note(file.path, digest, file.count)
        }
    }

    /// A file that is no part of the package yet: its content is put into one later.
    func scratch(_ name: String) throws -> (file: PackageFile, place: String) {
        let place = spools + "/scratch-" + name
        return (try PackageFile(name, at: place), place)
    }

    /// Where a file stands while the package is written.
    func path(of file: String) -> String { working + "/data/" + file }

    /// Reads a file that was closed.
    func reader(_ path: String) throws -> PackageReader { try PackageReader(working + "/data/" + path) }

    private func folder(_ path: String) throws {
        guard state.withLock({ $0.folders.insert(path).inserted }) else { return }
        if let slash = path.lastIndex(of: "/") { try folder(String(path[..<slash])) }
        try Self.make(working + "/data/" + path)
    }

    private static func make(_ path: String) throws {
        guard mkdir(path, 0o700) == 0 else {
            throw DiagnosedError.exportFile("a folder of the export can not be made", path, errno: errno)
        }
    }

    private func note(_ path: String, _ digest: [UInt8], _ count: Int64) throws {
        let first = path.prefix { $0 != "/" }
        let key = first.count == path.count ? path : first + "/"
        try state.withLock { state in
            let spool: Spool
            if let known = state.lines[key] {
                spool = known
            } else {
                spool = try Spool(spools + "/" + first)
                state.lines[key] = spool
            }
            precondition(
                spool.last.utf8.lexicographicallyPrecedes(path.utf8), "files are made in the order of their paths")
            spool.last = path
            try spool.file.write(Manifest.line(digest, "data/" + path))
            state.files += 1
            state.octets += count
        }
    }

    /// SHA-256 over the lines of the manifest so far: of everything but the proof, which is made of it.
    func payloadDigest() throws -> [UInt8] {
        try state.withLock { state in
            var hasher = SHA256Hasher()
            for (_, spool) in state.sorted {
                try spool.file.close()
                let reader = try PackageReader(spool.place)
                while let chunk = try reader.read() { hasher.update(chunk) }
            }
            return hasher.finalize()
        }
    }

    /// Writes the tag files and puts the package to its place. `payloadDigest` was called before.
    func finish(_ settings: ExportSettings, isDurable: Bool) throws {
        let manifest = try PackageFile("manifest-sha256.txt", at: working + "/manifest-sha256.txt")
        let (octets, files) = try state.withLock { state in
            for (key, spool) in state.sorted {
                if key == "proof/" { try spool.file.close() }
                let reader = try PackageReader(spool.place)
                while let chunk = try reader.read() { try manifest.write(chunk) }
            }
            return (state.octets, state.files)
        }
        var tags: [(String, [UInt8])] = []
        let info = BagText.info(
            report: settings.report, matter: settings.matter, created: settings.created, octets: octets, files: files)
        for (name, text) in [("bag-info.txt", info), ("bagit.txt", BagText.declaration)] {
            let file = try PackageFile(name, at: working + "/" + name)
            try file.write(text)
            tags.append((name, try file.close()))
        }
        tags.append(("manifest-sha256.txt", try manifest.close()))
        let last = try PackageFile("tagmanifest-sha256.txt", at: working + "/tagmanifest-sha256.txt")
        for (name, digest) in tags { try last.write(Manifest.line(digest, name)) }
        try last.close()
        try settle(isDurable)
    }

    private func settle(_ isDurable: Bool) throws {
        FolderTree.remove(spools)
        // One call for a million files; it waits until all is written.
        if isDurable { sync() }
        guard rename(working, place) == 0 else {
            throw DiagnosedError.exportFile("the export can not be put to its place", place, errno: errno)
        }
        guard isDurable else { return }
        let parent = open(place + "/..", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard parent >= 0 else { return }
        fsync(parent)
        Glibc.close(parent)
    }
}

/// The texts of a bag's tag files.
enum BagText {
    static let declaration = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"

    /// All of it follows from what is signed and from the payload, so that a verifier can demand it to the octet.
    static func info(report: String, matter: String, created: Timestamp, octets: Int64, files: Int64) -> String {
        """
        Bag-Group-Identifier: \(matter)
        Bagging-Date: \(created.iso8601.prefix(10))
        External-Description: eDiscovery export; who wrote what and when is the word of the cloud that kept it
        External-Identifier: \(report)
        Payload-Oxum: \(octets).\(files)

        """
    }
}

/// The lines of a manifest: digest, two spaces, path (RFC 8493, section 2.1.3).
enum Manifest {
    /// No path of this module needs the escapes of that section.
    static func line(_ digest: [UInt8], _ path: String) -> String { "\(Hexadecimal.encode(digest))  \(path)\n" }

    /// - Returns: digest in lower case and path as written, or nil for what is no such line.
    static func parse(_ line: [UInt8]) -> (digest: String, path: String)? {
        let text = String(decoding: line, as: UTF8.self)
        guard text.utf8.elementsEqual(line) else { return nil }
        let digest = text.prefix { $0 != " " && $0 != "\t" }
        guard let octets = Hexadecimal.decode(digest), octets.count == SHA256.byteCount else { return nil }
        let path = text.dropFirst(digest.count).drop { $0 == " " || $0 == "\t" }
        guard !path.isEmpty else { return nil }
        return (digest.lowercased(), String(path))
    }
}

import Diagnostics
import Glibc

/// Files that must be whole and private: written beside, synced and renamed; mode 0600; read only when nobody else may.
enum SafeFile {
    /// Replaces a file so that a crash leaves the old or the new content, never a mixture.
    ///
    /// - Parameter checkpoint: called between the steps, so that tests can crash there.
    static func replace(
        _ path: String, with bytes: [UInt8], checkpoint: (Step) throws -> Void = { _ in }
    ) throws {
        let temporary = path + ".new"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw failure("can not create", temporary) }
        do {
            defer { close(descriptor) }
            guard fchmod(descriptor, 0o600) == 0 else { throw failure("can not protect", temporary) }
            try write(bytes, to: descriptor, temporary)
            try checkpoint(.written)
            guard fsync(descriptor) == 0 else { throw failure("can not sync", temporary) }
        }
        try checkpoint(.synced)
        guard rename(temporary, path) == 0 else { throw failure("can not replace", path) }
        try checkpoint(.renamed)
        try syncFolder(of: path)
    }

    enum Step: CaseIterable { case written, synced, renamed }

    /// The content, or nil when there is no such file. Refuses what others may read or write, or own.
    static func read(_ path: String, maximumBytes: Int) throws -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw failure("can not read", path)
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failure("can not read", path) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw DiagnosedError(.stateFile, fault: .store, "\(path) is no regular file")
        }
        guard status.st_mode & 0o077 == 0, status.st_uid == geteuid() else {
            throw DiagnosedError(
                .stateFile, fault: .configuration, "\(path) is open to others", expected: "mode 0600 and your own",
                found: "mode 0\(String(status.st_mode & 0o777, radix: 8)) of user \(status.st_uid)",
                hint: "if nobody has read it: chmod 600 \(path)")
        }
        guard status.st_size <= maximumBytes else {
            throw DiagnosedError(
                .stateFile, fault: .store, "\(path) is too large", expected: "at most \(maximumBytes) octets")
        }
        return try readAll(descriptor, count: Int(status.st_size), path)
    }

    /// Makes a folder that only its owner may enter; parents are made as the system does.
    static func makeFolder(_ path: String) throws {
        var built = path.hasPrefix("/") ? "" : "."
        let parts = path.split(separator: "/").map(String.init)
        for (index, part) in parts.enumerated() {
            built += "/" + part
            if mkdir(built, index == parts.count - 1 ? 0o700 : 0o777) != 0, errno != EEXIST {
                throw failure("can not create", built)
            }
        }
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            throw DiagnosedError(.stateFile, fault: .configuration, "\(path) is no folder")
        }
        guard status.st_uid == geteuid() else {
            throw DiagnosedError(.stateFile, fault: .configuration, "\(path) belongs to another user")
        }
        if status.st_mode & 0o077 != 0, chmod(path, 0o700) != 0 { throw failure("can not protect", path) }
    }

    static func names(in folder: String) -> [String] {
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Writes over the octets that a file has, where the file system lets it; the disk may keep them elsewhere.
    static func overwrite(_ path: String, with bytes: [UInt8]) throws {
        let descriptor = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("can not overwrite", path) }
        defer { close(descriptor) }
        try write(bytes, to: descriptor, path)
        guard fsync(descriptor) == 0 else { throw failure("can not sync", path) }
    }

    static func remove(_ path: String) throws {
        guard unlink(path) == 0 || errno == ENOENT else { throw failure("can not remove", path) }
    }

    static func failure(_ what: String, _ path: String) -> DiagnosedError {
        let reason = String(cString: strerror(errno))
        return DiagnosedError(.stateFile, fault: .store, "\(what) \(path)", found: reason)
    }

    private static func write(_ bytes: [UInt8], to descriptor: Int32, _ path: String) throws {
        try bytes.withUnsafeBytes { buffer in
            var written = 0
            while written < buffer.count {
                let count = Glibc.write(descriptor, buffer.baseAddress.map { $0 + written }, buffer.count - written)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw failure("can not write", path) }
                written += count
            }
        }
    }

    private static func readAll(_ descriptor: Int32, count: Int, _ path: String) throws -> [UInt8] {
        var failed = false
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            filled = 0
            while filled < count {
                let got = Glibc.read(descriptor, buffer.baseAddress.map { $0 + filled }, count - filled)
                if got < 0, errno == EINTR { continue }
                failed = got < 0
                if got <= 0 { break }
                filled += got
            }
        }
        if failed { throw failure("can not read", path) }
        return bytes
    }

    private static func syncFolder(of path: String) throws {
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let descriptor = open(folder.isEmpty ? "/" : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("can not open", folder) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure("can not sync", folder) }
    }
}

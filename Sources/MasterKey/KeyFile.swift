package import Diagnostics
import Glibc
import SecretMemory

// Where a key-encryption key lies: a strict-mode file, or a credential that systemd hands over.
extension KeyEncryptionKey {
    /// Larger files are no key files and are not read.
    private static let maximumCount = 4096

    /// Reads a key file.
    ///
    /// Outside `credentialsDirectory` the file must be a regular file, no symbolic link, owned by this user or root,
    /// and open to nobody else (mode 0600 or 0400). Inside it, systemd answers for the modes.
    package static func load(
        fromFile path: String,
        credentialsDirectory: String? = getenv("CREDENTIALS_DIRECTORY").map { String(cString: $0) }
    ) throws(DiagnosedError) -> KeyEncryptionKey {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { throw unopened(path, errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw DiagnosedError(
                .masterKeyUnreadable, fault: .configuration, "\(path) is no regular file",
                hint: "name the key file itself")
        }
        if !isCredential(path, in: credentialsDirectory) { try checkPermissions(path, status) }
        guard status.st_size <= maximumCount else {
            throw DiagnosedError(
                .masterKeyMalformed, fault: .configuration, "\(path) is no key file",
                expected: "one line", found: "\(status.st_size) octets", hint: "check the path")
        }
        let content = SecretBytes(capacity: maximumCount) { buffer in
            max(0, read(descriptor, buffer.baseAddress, buffer.count))
        }
        return try content.withUnsafeBytes { (text) throws(DiagnosedError) in
            try KeyEncryptionKey(text: text, path: path)
        }
    }

    /// Writes a new key file of mode 0600, on the disk when it returns; never overwrites.
    package func save(toNewFile path: String) throws(DiagnosedError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            let code = errno
            guard code == EEXIST else { throw Self.unwritten(path, code) }
            throw DiagnosedError(
                .masterKeyExists, fault: .configuration, "\(path) exists and is never overwritten",
                hint: "name a new file; whatever was sealed under a key that is gone can not be opened again")
        }
        defer { close(descriptor) }
        let line = text()
        guard line.withUnsafeBytes({ write(descriptor, $0.baseAddress, $0.count) == $0.count }), fsync(descriptor) == 0,
            Self.synchronizeDirectory(of: path)
        else {
            let code = errno
            unlink(path)
            throw Self.unwritten(path, code)
        }
    }

    private static func checkPermissions(_ path: String, _ status: stat) throws(DiagnosedError) {
        guard status.st_uid == geteuid() || status.st_uid == 0 else {
            throw DiagnosedError(
                .masterKeyPermissions, fault: .configuration, "the key file \(path) belongs to somebody else",
                expected: "owner \(geteuid()) or root", found: "owner \(status.st_uid)", hint: "chown it")
        }
        guard status.st_mode & 0o7177 == 0 else {
            throw DiagnosedError(
                .masterKeyPermissions, fault: .configuration, "the key file \(path) is open to others",
                expected: "mode 0600 or 0400", found: "mode 0" + String(status.st_mode & 0o7777, radix: 8),
                hint: "chmod 600 \(path), and ask who may have read it")
        }
    }

    /// Whether the file lies directly in systemd's directory, after every link in the way of both was followed.
    private static func isCredential(_ path: String, in directory: String?) -> Bool {
        guard let directory, !directory.isEmpty else { return false }
        guard let slash = path.lastIndex(of: "/"), let expected = resolved(directory) else { return false }
        return resolved(String(path[..<slash])) == expected
    }

    private static func resolved(_ path: String) -> String? {
        guard let text = realpath(path.isEmpty ? "/" : path, nil) else { return nil }
        defer { free(text) }
        return String(cString: text)
    }

    private static func synchronizeDirectory(of path: String) -> Bool {
        let directory = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        return fsync(descriptor) == 0
    }

    private static func unopened(_ path: String, _ code: Int32) -> DiagnosedError {
        let (reason, hint) =
            switch code {
            case ENOENT, ENOTDIR:
                ("no file", "check the path; hdsctl master-key create makes a key file for a new installation")
            case ELOOP: ("a symbolic link", "name the file that it points to")
            case EACCES: ("a file that this user may not read", "the service's user or root must own it")
            default: (String(cString: strerror(code)), "see whether the file can be read")
            }
        return DiagnosedError(
            code == ENOENT || code == ENOTDIR ? .masterKeyMissing : .masterKeyUnreadable, fault: .configuration,
            "the key file \(path) can not be opened", expected: "a key file", found: reason, hint: hint)
    }

    private static func unwritten(_ path: String, _ code: Int32) -> DiagnosedError {
        DiagnosedError(
            .masterKeyUnwritable, fault: .configuration, "the key file \(path) can not be written",
            found: String(cString: strerror(code)), hint: "see whether its directory is there and can be written")
    }
}

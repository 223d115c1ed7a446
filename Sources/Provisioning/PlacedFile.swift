package import Diagnostics
package import Glibc
import SecretMemory

/// Files that an installation gets: written beside their place, on the disk, then moved there, so that a run that is cut off
/// at any moment leaves the old state or the new one. What is there is never written over, unless the caller says that it may.
package enum PlacedFile {
    package static func exists(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }

    /// A new file; one that came there meanwhile stays, and is an error.
    package static func place(
        _ path: String, mode: mode_t, owner: uid_t? = nil, replacing: Bool = false, _ bytes: UnsafeRawBufferPointer
    ) throws(DiagnosedError) {
        let beside = path + ".setup"
        // Of a run that was cut off: nobody has used it.
        unlink(beside)
        let descriptor = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
        guard descriptor >= 0 else { throw unwritten(path) }
        var isWritten = fchmod(descriptor, mode) == 0
        var rest = bytes[...]
        while isWritten, !rest.isEmpty {
            let count = write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if count < 0, errno == EINTR { continue }
            isWritten = count > 0
            rest = rest.dropFirst(max(0, count))
        }
        if isWritten, let owner { isWritten = fchown(descriptor, owner, gid_t.max) == 0 }
        isWritten = isWritten && fsync(descriptor) == 0
        let code = errno
        close(descriptor)
        guard isWritten else {
            unlink(beside)
            throw unwritten(path, code)
        }
        // A link is refused where something is: a rename would take its place.
        guard (replacing ? rename(beside, path) : link(beside, path)) == 0 else {
            let code = errno
            unlink(beside)
            throw unwritten(path, code)
        }
        try synchronize(folderOf: path)
        if !replacing { unlink(beside) }
    }

    package static func place(
        _ path: String, mode: mode_t, owner: uid_t? = nil, replacing: Bool = false, text: String
    ) throws {
        try Array(text.utf8).withUnsafeBytes {
            try place(path, mode: mode, owner: owner, replacing: replacing, $0)
        }
    }

    /// A folder with those above it; one that is there keeps what it is.
    package static func folder(_ path: String, mode: mode_t, owner: uid_t? = nil) throws(DiagnosedError) {
        guard !exists(path) else { return }
        if let slash = path.lastIndex(of: "/"), slash != path.startIndex {
            try folder(String(path[..<slash]), mode: 0o755)
        }
        // Under its own name only when it is as it has to be.
        let beside = path + ".setup"
        rmdir(beside)
        guard mkdir(beside, mode) == 0, chmod(beside, mode) == 0,
            owner.map({ chown(beside, $0, gid_t.max) == 0 }) ?? true, rename(beside, path) == 0
        else {
            let code = errno
            rmdir(beside)
            throw unwritten(path, code)
        }
    }

    private static func synchronize(folderOf path: String) throws(DiagnosedError) {
        let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { if descriptor >= 0 { close(descriptor) } }
        guard descriptor >= 0, fsync(descriptor) == 0 else { throw unwritten(path) }
    }

    private static func unwritten(_ path: String, _ code: Int32 = errno) -> DiagnosedError {
        DiagnosedError(
            .setupFile, fault: .configuration, "\(path) can not be made", found: String(cString: strerror(code)),
            hint: code == EACCES || code == EPERM
                ? "run hdsctl setup as root" : "see whether its folder can be written to")
    }
}

extension DiagnosedError.Code {
    package static let setupFile: Self = "setup-file"
}

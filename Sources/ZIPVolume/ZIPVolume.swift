import CArchive
package import Diagnostics
import Glibc

extension DiagnosedError.Code {
    /// A ZIP file can not be written.
    package static let zipVolume: Self = "zip-volume"
}

/// One ZIP file while libarchive writes it: of equal entries equal octets, on every machine with the same libarchive and zlib.
///
/// Entries have no time (ZIP's first day stands for it), no owner and one mode: a time would be written by the local clock of the
/// process. Sizes above 4 GiB get ZIP64. One task at a time.
@safe
package final class ZIPVolume {
    private let archive: OpaquePointer
    private let descriptor: Int32
    private let path: String
    private var directory: Int64 = 0

    /// - Parameter path: a new file.
    package init(_ path: String, deflates: Bool) throws(DiagnosedError) {
        self.path = path
        descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            throw DiagnosedError(
                .zipVolume, fault: .store, "a volume can not be made: \(path)",
                found: unsafe String(cString: strerror(errno)))
        }
        guard let archive = unsafe archive_write_new() else { fatalError("out of memory: archive") }
        unsafe self.archive = archive
        let isSet =
            unsafe archive_write_set_format_zip(archive) == ARCHIVE_OK
            && archive_write_set_options(archive, "zip:compression=\(deflates ? "deflate" : "store")") == ARCHIVE_OK
            && archive_write_set_bytes_per_block(archive, 1 << 18) == ARCHIVE_OK
            && archive_write_set_bytes_in_last_block(archive, 1) == ARCHIVE_OK
            && archive_write_open_fd(archive, descriptor) == ARCHIVE_OK
        guard isSet else { throw failure() }
    }

    deinit {
        unsafe archive_write_free(archive)
        close(descriptor)
    }

    /// What the entry needs at most, its place in the directory at the end included. Names are ASCII.
    package static func bound(name: String, size: Int64) -> Int64 {
        // Headers with all extra fields, and deflate's own headers for what can not be made smaller.
        2 * Int64(name.utf8.count) + 30 + 46 + 24 + 2 * 64 + size + size / 1000 + 128
    }

    /// What the end of the directory needs, ZIP64 included.
    package static let endBound: Int64 = 56 + 20 + 22

    /// What has been written, and what the directory of it will need: at least what the file will have.
    package var bound: Int64 {
        Int64(unsafe archive_filter_bytes(archive, 0)) + directory + Self.endBound
    }

    package func begin(_ name: String, size: Int64) throws(DiagnosedError) {
        guard let entry = unsafe archive_entry_new() else { fatalError("out of memory: archive entry") }
        defer { unsafe archive_entry_free(entry) }
        unsafe archive_entry_set_pathname(entry, name)
        unsafe archive_entry_set_size(entry, size)
        unsafe archive_entry_set_filetype(entry, Glibc.S_IFREG)
        unsafe archive_entry_set_perm(entry, 0o644)
        guard unsafe archive_write_header(archive, entry) == ARCHIVE_OK else { throw failure() }
        directory += Int64(name.utf8.count) + 46 + 64
    }

    /// Octets of the entry that was begun.
    package func write(_ octets: [UInt8]) throws(DiagnosedError) {
        guard !octets.isEmpty else { return }
        let count = unsafe octets.withUnsafeBytes { unsafe archive_write_data(archive, $0.baseAddress, $0.count) }
        guard count == octets.count else { throw failure() }
    }

    package func finish() throws(DiagnosedError) {
        guard unsafe archive_write_close(archive) == ARCHIVE_OK else { throw failure() }
    }

    private func failure() -> DiagnosedError {
        let reason = unsafe archive_error_string(archive).map { unsafe String(cString: $0) }
        return DiagnosedError(
            .zipVolume, fault: .store, "a volume can not be written: \(path)", found: reason,
            hint: "see that there is room on the disk")
    }
}

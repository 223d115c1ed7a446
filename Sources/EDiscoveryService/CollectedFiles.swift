import Cryptography
import Diagnostics
import EDiscoveryCollection
import EDiscoveryModel
import Glibc
import KMSClient
import SecretMemory

/// Opens files of the vault: checks them whole for a report, and reads them for an export.
struct CollectedFiles: Sendable {
    let mirror: Mirror
    let vault: FileVault
    let fetching: FileFetching

    /// Checks a file against its record, and keeps that under the worker's key. Throws what passes.
    func check(
        _ record: SecureContentRecord, _ place: FilePlace, under sealing: SymmetricKey
    ) async throws -> Result<OpenedFile, Unopened> {
        func closed(_ problem: Problem.Class, _ text: String) -> Result<OpenedFile, Unopened> {
            .failure(Unopened(Problem(problem, text)))
        }
        guard let known = try mirror.file(place) else { return closed(.fileMissing, "its message names no octets") }
        // Another worker may have fetched it to its own disk.
        let isElsewhere = known.state == .kept && mirror.isShared && !vault.has(known.id)
        if known.state == .wanted || isElsewhere { try await fetching.fetch(known.id, of: place) }
        switch try mirror.file(place)?.state {
        case .tooLarge: return closed(.tooLarge, "the file is over the limit of the worker (mirror.largest-file)")
        case .kept: break
        default: return closed(.fileMissing, "the core did not have the file's octets")
        }
        var opener: FileOpener
        var hash = SHA256Hasher(), size: UInt64 = 0
        do { opener = try FileOpener(record) } catch { return closed(.decryptFailed, "the file's key is malformed") }
        do {
            guard
                try vault.read(
                    known.id,
                    {
                        let plain = try opener.update($0)
                        size += UInt64(plain.count)
                        hash.update(plain)
                    })
            else { return closed(.fileMissing, "the file's octets are not there any more") }
            try opener.finish()
        } catch {
            return closed(.fileHashMismatch, "the file is not what its sender encrypted")
        }
        try mirror.keep(record: record.encrypted(under: sealing).jwe, of: place)
        return .success(OpenedFile(size: size, digest: hash.finalize()))
    }

    /// The plaintext piece by piece: it was checked for the report, and is checked again at its end. Nil when it is not there any more:
    /// destroyed since by retention, a purge or an erasure.
    func chunks(of reference: String, under sealing: SymmetricKey) throws -> FileChunks? {
        guard let place = FilePlace(reference: reference), let known = try mirror.record(of: place) else { return nil }
        let record = try SecureContentRecord(opening: EncryptedText(received: known.record), with: sealing)
        return try FileChunks(vault.path(of: known.id), FileOpener(record))
    }
}

/// A file of the vault, opened: pulled by one reader.
final class FileChunks {
    private let descriptor: Int32
    private var opener: FileOpener?
    private static let size = 1 << 18

    /// Nil when there is no such file.
    init?(_ path: String, _ opener: consuming FileOpener) {
        descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return nil }
        self.opener = consume opener
    }

    deinit { close(descriptor) }

    /// Nil at the end. Throws there when the file is not what its sender encrypted.
    func next() throws -> [UInt8]? {
        guard var opener = self.opener.take() else { return nil }
        while true {
            var count = 0
            let octets = [UInt8](unsafeUninitializedCapacity: Self.size) { buffer, filled in
                count = read(descriptor, buffer.baseAddress, buffer.count)
                filled = max(0, count)
            }
            if count < 0, errno == EINTR { continue }
            guard !octets.isEmpty else {
                try opener.finish()
                return nil
            }
            let plain = try opener.update(octets)
            self.opener = consume opener
            return plain
        }
    }
}

import Cryptography
import Diagnostics
import EDiscoveryCollection
import EDiscoveryModel
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
        if known.state == .wanted { try await fetching.fetch(known.id, of: place) }
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

    /// The plaintext piece by piece. It was checked for the report; it is checked again at its end.
    func read(_ reference: String, under sealing: SymmetricKey, _ take: ([UInt8]) throws -> Void) throws {
        guard let place = FilePlace(reference: reference), let known = try mirror.record(of: place) else {
            throw Self.gone(reference)
        }
        let record = try SecureContentRecord(opening: EncryptedText(received: known.record), with: sealing)
        var opener = try FileOpener(record)
        guard try vault.read(known.id, { try take(opener.update($0)) }) else { throw Self.gone(reference) }
        try opener.finish()
    }

    private static func gone(_ reference: String) -> DiagnosedError {
        DiagnosedError(
            .mirror, fault: .store, "a file of the report is not there any more", found: reference,
            hint: "it was destroyed by retention, a purge or an erasure since: make the report anew")
    }
}

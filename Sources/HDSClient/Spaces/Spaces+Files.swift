import KMSProtocol
import Cryptography
import Diagnostics
import DomainPolicy
import Glibc
import KMSClient
import SecretMemory
import WireText

/// What sending or fetching a file tells while it works and at its end.
package struct FileTransfer: Sendable {
    package enum Step: Sendable { case encrypting, sending, fetching, decrypting }

    package let name: String
    /// Octets of the plaintext.
    package let size: Int
    /// Of the plaintext, hexadecimal.
    package let sha256: String
    package let path: String
}

// Files: encrypted into a temporary file beside the state, then sent; fetched likewise, then decrypted and verified.
extension Spaces {
    /// Largest file that the core takes, in octets.
    static let maximumFileBytes = 256 << 20

    package func sendFile(
        _ path: String, to space: Space, progress: @Sendable (FileTransfer.Step, Int, Int) -> Void
    ) async throws -> FileTransfer {
        try store.current().policy?.checkUpload()
        let name = Self.fileName(path)
        guard !name.isEmpty else {
            throw DiagnosedError(.fileUnusable, fault: .client, "\(path) names no file")
        }
        let source = try PlainFile(reading: path)
        guard source.size <= Self.maximumFileBytes else {
            throw DiagnosedError(
                .fileUnusable, fault: .client, "\(path) is too large",
                expected: "at most \(Self.maximumFileBytes) octets",
                found: "\(source.size)")
        }
        // Before anything is encrypted: without a key nothing leaves.
        _ = try await writingKey(of: space)
        let temporary = try temporaryPath()
        defer { unlink(temporary) }
        var sealer = try FileSealer(at: now())
        var hasher = SHA256Hasher()
        let target = try PlainFile(creating: temporary)
        var done = 0
        while let piece = try source.next() {
            hasher.update(piece)
            try target.write(try sealer.update(piece))
            done += piece.count
            progress(.encrypting, done, source.size)
        }
        progress(.sending, 0, done)
        let location = try await upload(temporary)
        let record = try sealer.finish(location: location)
        progress(.sending, done, done)
        let key = try await writingKey(of: space)
        let share = (
            name: try EncryptedText(encrypting: name, under: key.key), size: done, url: location,
            record: try record.encrypted(under: key.key)
        )
        _ = try await send(.share([share], keyURI: key.uri), to: space)
        return FileTransfer(name: name, size: done, sha256: Hexadecimal.encode(hasher.finalize()), path: path)
    }

    /// Brings the sealed octets to the core; where they are.
    ///
    /// A place takes one upload. When nobody knows whether it has had it, the next try is made at a new place: nobody
    /// gets to know the other one.
    private func upload(_ path: String) async throws -> String {
        try await persistently { [cloud] in
            let place = try await cloud.createFile()
            do {
                try await cloud.upload(path, to: place.uploadURL)
            } catch let error as DiagnosedError where error.code == .cloudConflict {
                // Nobody else knows the place: an answer was lost, and the octets were sent again.
                throw DiagnosedError(
                    .cloudUnavailable, fault: .peer, error.summary, found: error.found, hint: "try again in a moment")
            }
            return place.downloadURL
        }
    }

    /// The one file with that name, number of its entry (`#12` or `12`), or beginning of its entry's id.
    package func findFile(_ wanted: String, in space: Space) async throws -> SpaceFile {
        var found: [(entry: SpaceEntry, file: SpaceFile)] = []
        var since: Int64 = 0
        while true {
            let page = try await page(of: space, since: since, limit: 500)
            for entry in page.entries {
                guard case .files(let files) = entry.content else { continue }
                found += files.map { (entry, $0) }
            }
            guard let next = page.next else { break }
            since = next
        }
        let number = Int64(wanted.hasPrefix("#") ? String(wanted.dropFirst()) : wanted)
        var matches = found.filter { $0.file.name == wanted }
        if matches.isEmpty { matches = found.filter { $0.entry.sequence == number } }
        if matches.isEmpty, wanted.utf8.count >= 4 {
            matches = found.filter { $0.entry.id.hasPrefix(wanted.lowercased()) }
        }
        guard let match = matches.first else {
            throw DiagnosedError(
                .fileUnknown, fault: .client, "the space has no file of that name or number", found: wanted.loggable,
                hint: "'hds read' lists the files")
        }
        guard matches.count == 1 else {
            throw DiagnosedError(
                .fileAmbiguous, fault: .client, "several files have that name", found: wanted.loggable,
                hint: "use its number: " + matches.map { "#\($0.entry.sequence)" }.joined(separator: ", "))
        }
        return match.file
    }

    /// Fetches, decrypts and verifies a file. The target appears whole and verified, or not at all.
    package func fetch(
        _ file: SpaceFile, to target: String, overwriting: Bool,
        progress: @Sendable (FileTransfer.Step, Int, Int) -> Void
    ) async throws -> FileTransfer {
        try store.current().policy?.checkDownload()
        if !overwriting, access(target, F_OK) == 0 { throw Self.exists(target) }
        let temporary = try temporaryPath()
        defer { unlink(temporary) }
        progress(.fetching, 0, Int(file.size ?? 0))
        try await cloud.download(file.record.location, to: temporary, maximumBytes: Self.maximumFileBytes)
        let source = try PlainFile(reading: temporary)
        let partial = target + ".hds-part-" + UUIDText.random().prefix(8)
        let result = try PlainFile(creating: partial)
        defer { unlink(partial) }
        var opener = try FileOpener(file.record)
        var hasher = SHA256Hasher()
        var done = 0
        while let piece = try source.next() {
            let plain = try opener.update(piece)
            hasher.update(plain)
            try result.write(plain)
            done += plain.count
            progress(.decrypting, done, source.size)
        }
        try opener.finish()
        try result.sync()
        if overwriting {
            guard rename(partial, target) == 0 else { throw SafeFile.failure("can not write", target) }
        } else if link(partial, target) != 0 {
            // A link does not replace a file that came meanwhile.
            if errno == EEXIST { throw Self.exists(target) }
            guard rename(partial, target) == 0 else { throw SafeFile.failure("can not write", target) }
        }
        return FileTransfer(name: file.name, size: done, sha256: Hexadecimal.encode(hasher.finalize()), path: target)
    }

    private static func exists(_ path: String) -> DiagnosedError {
        DiagnosedError(
            .fileExists, fault: .client, "\(path) is there already", hint: "choose another --output, or say --force")
    }

    /// The last part of a path or of a name that came from somebody: no folder, no hidden file, no control characters.
    package static func fileName(_ text: String) -> String {
        let last = text.split(whereSeparator: { $0 == "/" || $0 == "\\" }).last ?? ""
        var name = String(
            String.UnicodeScalarView(
                last.unicodeScalars.filter { scalar in
                    scalar.value >= 0x20 && !(0x7F...0x9F).contains(scalar.value)
                        && !(0x202A...0x202E).contains(scalar.value) && !(0x2066...0x2069).contains(scalar.value)
                }))
        while name.hasPrefix(".") { name.removeFirst() }
        while name.utf8.count > 200 { name.removeLast() }
        return name
    }

    private func temporaryPath() throws -> String {
        let folder = store.folder + "/tmp"
        try SafeFile.makeFolder(folder)
        return folder + "/" + UUIDText.random()
    }
}

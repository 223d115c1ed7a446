import Diagnostics
import Dispatch
import Glibc
import NIOCore
import Synchronization
import WireText

/// The octets of uploaded files in a directory of their own, named by random ids that the core chose.
///
/// A path is only ever built from a `FileID`, which is the text of a UUID, so no request can name another file. An
/// upload is written to a temporary name, synced, and renamed: a file is there whole or not at all. Blocking calls run
/// on a queue of this store, never on the threads of Swift's tasks. What is stored is ciphertext made by clients.
final class FileStore: Sendable {
    static let maximumFileBytes: Int64 = 256 << 20

    private let directory: String
    private let queue = DispatchQueue(label: "hds.core.files", attributes: .concurrent)
    private let uploading = Mutex<Set<FileID>>([])

    /// Creates the directory when it is missing and removes what interrupted uploads left.
    init(directory: String) throws {
        self.directory = directory
        for path in [directory, directory + "/incoming"] {
            guard mkdir(path, 0o700) == 0 || errno == EEXIST else {
                throw Self.failure("a folder for files can not be made", path)
            }
        }
        guard let incoming = opendir(directory + "/incoming") else {
            throw Self.failure("the folder for uploads can not be read", directory + "/incoming")
        }
        defer { closedir(incoming) }
        while let entry = readdir(incoming) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if UUIDText.isValid(name) { unlink(directory + "/incoming/" + name) }
        }
    }

    /// Claims the file for one upload at a time; nil while another one runs.
    func beginUpload(_ id: FileID) async throws -> FileUpload? {
        guard uploading.withLock({ $0.insert(id).inserted }) else { return nil }
        let temporary = directory + "/incoming/" + UUIDText.random()
        do {
            let descriptor = try await run { [self] in
                let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
                guard descriptor >= 0 else { throw Self.failure("an upload can not be written", temporary) }
                guard mkdir(folder(of: id), 0o700) == 0 || errno == EEXIST else {
                    let failure = Self.failure("a folder for files can not be made", folder(of: id))
                    close(descriptor)
                    throw failure
                }
                return descriptor
            }
            return FileUpload(id: id, store: self, temporary: temporary, descriptor: descriptor)
        } catch {
            endUpload(id)
            throw error
        }
    }

    /// The octets from the start, in chunks.
    func read(_ id: FileID, chunkBytes: Int = 256 << 10) async throws -> FileReader {
        let path = path(of: id)
        let descriptor = try await run {
            let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
            guard descriptor >= 0 else { throw Self.failure("a stored file can not be read", path) }
            return descriptor
        }
        return FileReader(store: self, path: path, descriptor: descriptor, chunkBytes: chunkBytes)
    }

    /// At most so many octets from a place on; fewer at the end only.
    func part(of id: FileID, from offset: Int64, count: Int) async throws -> [UInt8] {
        let path = path(of: id)
        return try await run {
            let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
            guard descriptor >= 0 else { throw Self.failure("a stored file can not be read", path) }
            defer { close(descriptor) }
            var failed = false
            let octets = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
                while filled < count {
                    let more = pread(
                        descriptor, buffer.baseAddress! + filled, count - filled, off_t(offset) + off_t(filled))
                    if more < 0, errno == EINTR { continue }
                    failed = more < 0
                    guard more > 0 else { break }
                    filled += more
                }
            }
            if failed { throw Self.failure("a stored file can not be read", path) }
            return octets
        }
    }

    /// The octets go; who reads them at this moment reads to the end.
    func remove(_ id: FileID) async throws {
        let path = path(of: id)
        try await run {
            guard unlink(path) == 0 || errno == ENOENT else { throw Self.failure("a file can not be removed", path) }
        }
    }

    func path(of id: FileID) -> String { folder(of: id) + "/" + id.text }
    private func folder(of id: FileID) -> String { directory + "/" + id.text.prefix(2) }

    /// Makes the upload's octets the file's, durably.
    fileprivate func publish(_ upload: FileUpload) async throws {
        let (descriptor, temporary, target) = (upload.descriptor, upload.temporary, path(of: upload.id))
        let folder = folder(of: upload.id)
        try await run {
            guard fsync(descriptor) == 0, rename(temporary, target) == 0 else {
                throw Self.failure("an upload can not be stored", target)
            }
            for path in [folder, self.directory] {
                let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                guard descriptor >= 0 else { throw Self.failure("a folder can not be synced", path) }
                defer { close(descriptor) }
                guard fsync(descriptor) == 0 else { throw Self.failure("a folder can not be synced", path) }
            }
        }
    }

    fileprivate func endUpload(_ id: FileID) { uploading.withLock { _ = $0.remove(id) } }

    fileprivate func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { continuation.resume(with: Result { try body() }) }
        }
    }

    fileprivate static func failure(_ what: String, _ path: String) -> DiagnosedError {
        DiagnosedError(
            .storeUnusable, fault: .store, what, found: "\(path): \(String(cString: strerror(errno)))",
            hint: "check owner, mode and free space of the folder for files")
    }
}

/// The id of a stored file: the text of a UUID in lower case, and so a name without any separator.
struct FileID: Hashable, Sendable {
    let text: String

    static func random() -> FileID { FileID(unchecked: UUIDText.random()) }
    private init(unchecked text: String) { self.text = text }

    init?(_ text: some StringProtocol) {
        guard UUIDText.isValid(text), text.utf8.allSatisfy({ !(0x41...0x5A).contains($0) }) else { return nil }
        self.text = String(text)
    }
}

/// One upload on its way; `finish` or `abandon` ends it, once.
final class FileUpload: Sendable {
    let id: FileID
    fileprivate let temporary: String
    fileprivate let descriptor: Int32
    private let store: FileStore

    fileprivate init(id: FileID, store: FileStore, temporary: String, descriptor: Int32) {
        self.id = id
        self.store = store
        self.temporary = temporary
        self.descriptor = descriptor
    }

    func write(_ chunk: ByteBuffer) async throws {
        let (descriptor, temporary) = (descriptor, temporary)
        try await store.run {
            var rest = chunk
            while rest.readableBytes > 0 {
                let count = rest.withUnsafeReadableBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
                guard count > 0 else {
                    if errno == EINTR { continue }
                    throw FileStore.failure("an upload can not be written", temporary)
                }
                rest.moveReaderIndex(forwardBy: count)
            }
        }
    }

    /// The octets are durable; `record` makes the file known, and the claim on it ends after that.
    func finish(_ record: () async throws -> Void) async throws {
        defer {
            close(descriptor)
            store.endUpload(id)
        }
        do {
            try await store.publish(self)
        } catch {
            unlink(temporary)
            throw error
        }
        try await record()
    }

    func abandon() {
        close(descriptor)
        unlink(temporary)
        store.endUpload(id)
    }
}

/// A stored file that is being read, front to back.
final class FileReader: Sendable {
    private let store: FileStore
    private let path: String
    private let descriptor: Int32
    private let chunkBytes: Int

    fileprivate init(store: FileStore, path: String, descriptor: Int32, chunkBytes: Int) {
        self.store = store
        self.path = path
        self.descriptor = descriptor
        self.chunkBytes = chunkBytes
    }

    deinit { close(descriptor) }

    /// The next octets; nil at the end.
    func next() async throws -> ByteBuffer? {
        // The closure holds the reader, so that the descriptor is not closed under it.
        let chunk = try await store.run { [self] in
            var buffer = ByteBufferAllocator().buffer(capacity: chunkBytes)
            let count = buffer.withUnsafeMutableWritableBytes { Glibc.read(descriptor, $0.baseAddress, chunkBytes) }
            guard count >= 0 else { throw FileStore.failure("a stored file can not be read", path) }
            buffer.moveWriterIndex(to: count)
            return buffer
        }
        return chunk.readableBytes > 0 ? chunk : nil
    }
}

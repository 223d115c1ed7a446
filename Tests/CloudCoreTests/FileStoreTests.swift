import TestServers
import Diagnostics
import Glibc
import NIOCore
import Testing

@testable import CloudCore

@Suite("File store")
struct FileStoreTests {
    let folder = TemporaryFolder()

    private func octets(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) } }

    private func store(_ content: [UInt8], as id: FileID, in files: FileStore, chunk: Int = 1_000) async throws {
        let upload = try #require(try await files.beginUpload(id))
        var rest = content[...]
        while !rest.isEmpty {
            try await upload.write(ByteBuffer(bytes: rest.prefix(chunk)))
            rest = rest.dropFirst(chunk)
        }
        try await upload.finish {}
    }

    private func read(_ id: FileID, from files: FileStore, chunk: Int = 777) async throws -> [UInt8] {
        let reader = try await files.read(id, chunkBytes: chunk)
        var content: [UInt8] = []
        while let part = try await reader.next() { content += part.readableBytesView }
        return content
    }

    @Test("octets come back as they were, whatever the size and the chunks")
    func roundTrip() async throws {
        let files = try FileStore(directory: folder.path + "/files")
        for count in [0, 1, 776, 777, 778, 1_000, 65_536, 100_001] {
            let id = FileID.random()
            try await store(octets(count), as: id, in: files)
            #expect(try await read(id, from: files) == octets(count), "\(count) octets")
        }
        #expect(folder.names(in: "files/incoming").isEmpty)
    }

    @Test("what was stored is there for the next run, what was interrupted is not")
    func restart() async throws {
        let id = FileID.random()
        do {
            let files = try FileStore(directory: folder.path + "/files")
            try await store(octets(5_000), as: id, in: files)
            let half = try #require(try await files.beginUpload(.random()))
            try await half.write(ByteBuffer(bytes: octets(10)))
            #expect(folder.names(in: "files/incoming").count == 1)
        }
        let again = try FileStore(directory: folder.path + "/files")
        #expect(folder.names(in: "files/incoming").isEmpty)
        #expect(try await read(id, from: again) == octets(5_000))
    }

    @Test("one file has one upload at a time, and an abandoned one leaves nothing")
    func oneUpload() async throws {
        let files = try FileStore(directory: folder.path + "/files")
        let id = FileID.random()
        let first = try #require(try await files.beginUpload(id))
        #expect(try await files.beginUpload(id) == nil)
        try await first.write(ByteBuffer(string: "half"))
        first.abandon()
        #expect(folder.names(in: "files/incoming").isEmpty)
        await #expect(throws: DiagnosedError.self) { _ = try await files.read(id) }
        try await store([1, 2, 3], as: id, in: files)
        #expect(try await read(id, from: files) == [1, 2, 3])
    }

    @Test("a failure to record an upload leaves the file free for another try")
    func failedRecord() async throws {
        let files = try FileStore(directory: folder.path + "/files")
        let id = FileID.random()
        let upload = try #require(try await files.beginUpload(id))
        await #expect(throws: Refusal.self) { try await upload.finish { throw Refusal(.conflict, "no") } }
        try await store([4], as: id, in: files)
        #expect(try await read(id, from: files) == [4])
    }

    @Test("only the text of a UUID is a file id, so no name leads out of the folder")
    func ids() {
        #expect(FileID("31f0a1b2-0000-4000-8000-0123456789ab") != nil)
        for bad in [
            "", ".", "..", "../../etc/passwd", "31f0a1b2-0000-4000-8000-0123456789ab/..",
            "31F0A1B2-0000-4000-8000-0123456789AB",
            "31f0a1b2-0000-4000-8000-0123456789a\0", "..f0a1b2-0000-4000-8000-0123456789ab",
            "/1f0a1b2-0000-4000-8000-0123456789ab",
        ] {
            #expect(FileID(bad) == nil, "\(bad)")
        }
        #expect(FileID(FileID.random().text) != nil)
        #expect(FileID.random() != FileID.random())
    }

    @Test("a folder that can not be made is an error that says which")
    func unusable() throws {
        #expect(throws: DiagnosedError(.storeUnusable, fault: .store, "")) {
            try FileStore(directory: "/proc/hds-core-test")
        }
    }
}

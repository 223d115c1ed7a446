import Cryptography
import EDiscoveryCollection
import FoundationEssentials
import KMSClient
import LinkedService
import ServiceRuntime
import TestServers
import Testing
import WireText

@testable import EDiscoveryService
import Synchronization

@Suite("The archive that takes every message as it comes") struct ArchiverTests {
    private static let space = "11111111-1111-4111-8111-111111111111"
    private static let file = "22222222-1111-4111-8111-111111111111"

    @Test("Each message and each edit becomes one mail with its files, once more the same, also over a new worker")
    func archive()
        async throws
    {
        let folder = TemporaryFolder()
        let kms = FakeKMS(), core = FakeCore()
        kms.givesServices.withLock { $0 = true }
        let mirror = try Mirror(path: folder.path + "/mirror.sqlite")
        let vault = try FileVault(folder: folder.path + "/files", largest: 1000)
        let files = CollectedFiles(
            mirror: mirror, vault: vault, fetching: FileFetching(mirror: mirror, vault: vault, core: core))
        func archiver() throws -> Archiver {
            let section: Section = try ConfigurationFile.decode(
                Array("archive: {folder: archive}".utf8), file: "f", folder: folder.path)
            return try Archiver(
                section.archive, consent: Consent(kms) { _ in }, kms: kms, mirror: mirror, directory: Directory(),
                files: files)
        }
        func named(_ octets: [UInt8]) -> [UInt8] {
            Array(
                String(decoding: octets, as: UTF8.self).replacing(#""id":"room""#, with: #""id":"\#(Self.space)""#).utf8
            )
        }
        func jwe(_ text: String) throws -> String { try EncryptedText(encrypting: text, under: kms.key).jwe }
        var sealer = try FileSealer(at: Timestamp(seconds: 1_790_000_000))
        let ciphertext = try sealer.update(Array("the file's octets".utf8))
        let record = try sealer.finish(location: "https://core/files/\(Self.file)")
        core.files.withLock { $0[Self.file] = ciphertext }
        let key = "kms://k/keys/report"
        let attached =
            #"{"displayName":"\#(try jwe("a.txt"))","url":"https://core/files/\#(Self.file)","#
            + #""scr":"\#(try record.encrypted(under: kms.key).jwe)","fileSize":17}"#
        func add(_ items: [[UInt8]]) throws {
            try mirror.add(items.map(named).map { (FeedEntry($0)!, $0) }, under: kms.key)
        }
        try add([
            beginning, event(1, "post", "ada", #"{"displayName":"\#(try jwe("first =words="))"}"#, key: key),
            event(2, "share", "ben", #"{"displayName":"\#(try jwe("see"))","files":[\#(attached)]}"#, key: key),
        ])
        while try await archiver().work() {}
        func mail(_ sequence: Int) throws -> String { try folder.contents(of: "archive/\(Self.space)-\(sequence).eml") }
        #expect(folder.names(in: "archive") == ["\(Self.space)-1.eml", "\(Self.space)-2.eml"])
        let first = try mail(1)
        #expect(first.contains("first =3Dwords=3D") || first.contains("first =words="))
        #expect(try mail(2).contains(Base64.encode(Array("the file's octets".utf8))))
        // An edit is a mail of its own with what was said before; nothing is told twice.
        try FileManager.default.removeItem(atPath: folder.path + "/archive/\(Self.space)-1.eml")
        try add([event(3, "edit", "ada", #"{"id":"a1","displayName":"\#(try jwe("better words"))"}"#, key: key)])
        while try await archiver().work() {}
        #expect(folder.names(in: "archive") == ["\(Self.space)-2.eml", "\(Self.space)-3.eml"])
        #expect(try mail(3).contains("better words") && mail(3).contains("history.txt"))
        // What was cut off before it was noted is the same file again.
        try mirror.set("archived", "0")
        while try await archiver().work() {}
        #expect(folder.names(in: "archive").count == 3)
        // While the KMS is away nothing is passed over.
        kms.away.withLock { $0 = true }
        try add([event(4, "post", "ada", #"{"displayName":"\#(try jwe("later"))"}"#, key: "kms://k/keys/other")])
        await #expect(throws: (any Error).self) { try await archiver().work() }
        kms.away.withLock { $0 = false }
        while try await archiver().work() {}
        #expect(try mail(4).contains("later"))
    }

    private struct Section: Decodable {
        let archive: ArchiveSection
        enum CodingKeys: String, CodingKey, CaseIterable { case archive }
    }
}

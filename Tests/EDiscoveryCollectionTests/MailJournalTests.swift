import Diagnostics
import FoundationEssentials
import ServiceRuntime
import TestServers
import Testing

@testable import EDiscoveryService

@Suite("Mails to a journal's server", .enabled(if: TestMailServer.isInstalled)) struct MailJournalTests {
    private struct Section: Decodable {
        let archive: ArchiveSection
        enum CodingKeys: String, CodingKey, CaseIterable { case archive }
    }

    private static func journal(
        _ folder: TemporaryFolder, _ port: Int, dialect: String = "smtp", ca: String? = nil
    ) throws -> MailJournal {
        let authorities = ca.map { ", ca: \($0)" } ?? ""
        let text =
            "archive: {mail: {server: \"127.0.0.1:\(port)\", dialect: \(dialect), from: hds@x.test, to: journal@y.test\(authorities)}}"
        let section: Section = try ConfigurationFile.decode(Array(text.utf8), file: "f", folder: folder.path)
        return try MailJournal(#require(section.archive.mail))
    }

    /// A mail with every full stop that there is.
    private static let mail = "Subject: dots\r\n\r\n.\r\n..two\r\nend.\r\n.last"

    private func put(_ folder: TemporaryFolder) throws -> String {
        let path = folder.path + "/out.eml"
        try Data(Self.mail.utf8).write(to: URL(filePath: path))
        return path
    }

    private static func pki(_ folder: TemporaryFolder) async throws -> (
        chain: String, key: String, root: String, other: String
    ) {
        let place = folder.path + "/pki"
        try TestPKI.make(in: place)
        return (
            place + "/core/core.pem", place + "/core/core.key", place + "/core/root.pem", place + "/customer/root.pem"
        )
    }

    @Test("A mail arrives octet for octet, over SMTP and LMTP", arguments: ["smtp", "lmtp"]) func plain(
        _ dialect: String
    )
        async throws
    {
        let folder = TemporaryFolder()
        let server = try TestMailServer(dialect, folder: folder.path)
        let path = try put(folder)
        try await Self.journal(folder, server.port, dialect: dialect).session { session in
            try await session.deliver(path)
            try await session.deliver(path)
        }
        for number in 1...2 {
            let kept = try folder.contents(of: "mail-\(number).eml")
            #expect(kept == "X-Envelope: hds@x.test journal@y.test False\r\n" + Self.mail + "\r\n")
        }
    }

    @Test("After STARTTLS and proof of the server; else nothing is said") func starttls() async throws {
        let folder = TemporaryFolder()
        let pki = try await Self.pki(folder)
        let path = try put(folder)
        let server = try TestMailServer("smtp", folder: folder.path, identity: (pki.chain, pki.key))
        try await Self.journal(folder, server.port, ca: pki.root).session { try await $0.deliver(path) }
        #expect(try folder.contents(of: "mail-1.eml").hasPrefix("X-Envelope: hds@x.test journal@y.test True\r\n"))
        let stranger = await #expect(throws: DiagnosedError.self) {
            try await Self.journal(folder, server.port, ca: pki.other).session { try await $0.deliver(path) }
        }
        #expect(stranger?.code != .mailJournal)
        let bare = TemporaryFolder()
        let open = try TestMailServer("smtp", folder: bare.path)
        let refused = await #expect(throws: DiagnosedError.self) {
            try await Self.journal(folder, open.port, ca: pki.root).session { try await $0.deliver(path) }
        }
        #expect(refused?.description.contains("STARTTLS") == true)
        #expect(bare.names(in: ".").allSatisfy { !$0.hasPrefix("mail-") })
    }

    @Test("What the server does not take is told, and a server that is gone as well") func refused() async throws {
        let folder = TemporaryFolder()
        let path = try put(folder)
        var server: TestMailServer? = try TestMailServer("smtp", folder: folder.path)
        let port = server?.port ?? 0
        try Data().write(to: URL(filePath: folder.path + "/refuse"))
        let error = await #expect(throws: DiagnosedError.self) {
            try await Self.journal(folder, port).session { try await $0.deliver(path) }
        }
        #expect(error?.description.contains("451 not now") == true)
        server = nil
        let gone = await #expect(throws: DiagnosedError.self) {
            try await Self.journal(folder, port).session { try await $0.deliver(path) }
        }
        #expect(gone?.code == .mailJournal && server == nil)
    }

    @Test("A full stop at the beginning of a line is doubled, wherever the pieces divide it") func stuffing() {
        for size in 1...5 {
            var stuffing = DotStuffing(), result: [UInt8] = [], rest = Array("a\r\n.b\r\n..\r\n.".utf8)[...]
            while !rest.isEmpty {
                result += stuffing.add(Array(rest.prefix(size)))
                rest = rest.dropFirst(size)
            }
            result += stuffing.end()
            #expect(String(decoding: result, as: UTF8.self) == "a\r\n..b\r\n...\r\n..\r\n.\r\n")
        }
    }

    @Test("Plain text goes to this machine only") func refusedConfiguration() {
        for text in [
            "archive: {mail: {server: \"mail.example.com:25\", from: a@x.test, to: b@x.test}}",
            "archive: {mail: {server: \"127.0.0.1:25\", from: a@x.test, to: \"b@x.test> c\"}}", "archive: {}",
        ] {
            #expect(throws: (any Error).self) {
                let _: Section = try ConfigurationFile.decode(Array(text.utf8), file: "f", folder: "/")
            }
        }
    }
}

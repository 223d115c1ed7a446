import Cryptography
import EDiscoveryExport
import EDiscoveryModel
import Foundation
import Glibc
import JOSESignature
import TestServers
import WireText

/// A small report with everything in it that an export can meet, and the key that signs its exports.
struct ExportFixture: Sendable {
    let key: PrivateKey
    let jwk: JWK
    let place = TemporaryFolder()

    init() throws {
        key = try PrivateKey.generateP256()
        jwk = JWK(publicKey: key.publicKey, kid: "export-key", use: "sig", alg: "ES256")
    }

    static let created = Timestamp(milliseconds: 1_790_000_000_000)
    static let start: Int64 = 1_772_359_200_000

    static let ada = Person(id: "u-ada", email: "ada@example.org", name: "Ada Lovelace")
    static let bob = Person(id: "u-bob", email: "bob@example.org", name: "Bob \"the\" Builder")
    static let eve = Person(id: "u-eve", email: "eve\r\nBcc: all@example.org", name: "=cmd()\r\nX-Evil: 1")
    static let olga = Person(id: "u-ольга", email: "ольга@пример.рф", name: "Ольга Þórsdóttir®")

    static let pdf = Array("%PDF-1.7 not really\r\nlines\n".utf8) + (0...255).map { UInt8($0) }
    static let files: [String: [UInt8]] = [
        "ref-pdf": pdf, "ref-page": Array("<script>alert(1)</script>".utf8), "ref-empty": [],
        "ref-wrong": Array("something else".utf8), "ref-same": Array("same name".utf8),
        // Longer than a piece of what is read at once.
        "ref-long": (0..<300_001).map { UInt8(truncatingIfNeeded: $0 &* 7919 >> 3) },
    ]

    static let spaces = [
        CollectedSpace(
            id: "space-1", title: "Budget <script>alert('title')</script> & plans",
            participants: [ada, bob, eve, olga],
            formerParticipants: [Person(id: "u-gone")]),
        CollectedSpace(id: "space-2", title: nil, isOneToOne: true, participants: [ada, olga]),
        CollectedSpace(id: "space-3", title: "Nobody found anything here", participants: [ada]),
    ]

    static func item(
        _ sequence: UInt64, _ kind: CollectedItem.Kind = .message, space: String = "space-1", by author: Person = ada,
        _ text: String? = nil, hours: Int64? = nil
    ) -> CollectedItem {
        CollectedItem(
            id: "\(space)-item-\(sequence)", kind: kind, space: space, sequence: sequence,
            published: Timestamp(milliseconds: start).adding(seconds: (hours ?? Int64(sequence)) * 3600),
            author: author,
            text: text, participants: [ada, bob, eve], custodians: ["u-ada", "u-bob"])
    }

    static var items: [CollectedItem] {
        var items: [CollectedItem] = []
        items.append(item(1, .spaceCreated))
        var joined = item(2, .joined)
        joined.subject = bob
        items.append(joined)
        items.append(item(3, .message, "Good morning.\nFrom here on it is one report.\n.\nAsk, don't guess = rule 1 "))
        var edited = item(4, by: bob, "<script>alert('text')</script> ]]> & \"quoted\" <b>bold</b>")
        edited.parent = "space-1-item-3"
        edited.history = [
            .init(text: "First <i>draft</i>", until: edited.published.adding(seconds: 60), editor: bob),
            .init(text: nil, until: edited.published.adding(seconds: 120), editor: bob),
        ]
        items.append(edited)
        var withFiles = item(5, .share, by: eve, "=cmd|' /C calc'!A0")
        withFiles.files = [
            CollectedFile(
                name: "../../etc/p\u{0}ass\nwd.pdf", mediaType: "application/pdf", size: UInt64(pdf.count),
                digest: SHA256.hash(pdf), reference: "ref-pdf"),
            CollectedFile(name: "invoice\u{202E}fdp.html", mediaType: "text/html", reference: "ref-page"),
            CollectedFile(name: "same.txt", mediaType: "text/plain\r\nX-Evil: 1", reference: "ref-same"),
            CollectedFile(name: "same.txt", reference: "ref-same"),
            CollectedFile(name: "empty.txt", mediaType: "message/rfc822", reference: "ref-empty"),
            CollectedFile(name: String(repeating: "長い", count: 300) + ".txt", reference: "ref-same"),
            CollectedFile(name: "wrong.bin", digest: [UInt8](repeating: 1, count: 32), reference: "ref-wrong"),
            CollectedFile(name: nil, reference: "ref-unknown"),
            CollectedFile(name: "CON.txt", reference: nil),
        ]
        withFiles.problems = [Problem(.fileName, "the name of file 8 could not be opened")]
        items.append(withFiles)
        var deleted = item(6, by: olga, "lone\rreturn \u{FFFE} \u{7} и кириллица Þorn þ ® \u{14} end", hours: 30)
        deleted.deletion = .init(at: deleted.published.adding(seconds: 90), by: ada)
        items.append(deleted)
        var closed = item(7, by: bob, nil, hours: 31)
        closed.problems = [Problem(.keyDenied, "the KMS does not give the key")]
        closed.parent = "somewhere-else"
        items.append(closed)
        var context = item(8, by: bob, "\tjust context", hours: 32)
        context.isContext = true
        context.custodians = []
        items.append(context)
        var left = item(9, .left, hours: 33)
        left.subject = bob
        items.append(left)
        items.append(item(1, space: "space-2", by: olga, "Привет! Вся эта строка на русском языке, без латиницы."))
        items.append(item(2, space: "space-2", "x" + String(repeating: "long line ", count: 200)))
        return items
    }

    static func settings(
        formats: Set<ExportFormat> = Set(ExportFormat.allCases), zone: ZoneRules = .utc, pageLength: Int = 2000
    ) throws -> ExportSettings {
        try ExportSettings(
            report: "report-7", matter: "M-2026/12", created: created, formats: formats, zone: zone,
            numbering: DocumentNumbering(prefix: "ACME-", digits: 6, start: 1), pageLength: pageLength)
    }

    func path(_ name: String) -> String { place.path + "/" + name }

    /// As the KMS does it.
    func sign(_ digest: [UInt8]) throws -> String { try Self.sign(digest, with: key) }

    static func sign(
        _ digest: [UInt8], with key: PrivateKey, kid: String? = "export-key", typ: String = ExportStatement.type
    ) throws -> String {
        let payload = #"{"type":"hds-ediscovery-export","digest":"\#(Base64URL.encode(digest))"}"#
        return try JWS.sign(Array(payload.utf8), with: key, algorithm: .es256, kid: kid, typ: typ)
    }

    @discardableResult
    func export(
        to name: String, _ settings: ExportSettings? = nil, spaces: [CollectedSpace] = Self.spaces,
        items: [CollectedItem] = Self.items
    ) async throws -> ExportStatement {
        try await ReportExport(settings ?? Self.settings()).write(
            to: path(name), from: ExportSource(spaces: spaces, items: items, files: Self.files), sign: sign)
    }

    func bytes(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path(name)))) }
    func text(_ name: String) throws -> String { String(decoding: try bytes(name), as: UTF8.self) }
    func write(_ octets: [UInt8], to name: String) throws {
        try Data(octets).write(to: URL(fileURLWithPath: path(name)))
    }
    /// All files below a folder, sorted.
    func files(below name: String) throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: path(name)).filter {
            var isFolder: ObjCBool = false
            return FileManager.default.fileExists(atPath: path(name) + "/" + $0, isDirectory: &isFolder)
                && !isFolder.boolValue
        }.sorted()
    }
}

/// A program of the machine, run to its end.
enum Program {
    struct Outcome: Sendable {
        let status: Int32
        let output: String
        let errors: String
    }

    static func isThere(_ name: String) -> Bool { system("command -v \(name) > /dev/null 2>&1") == 0 }

    static func run(_ words: [String], environment: [String: String] = [:]) async throws -> Outcome {
        let folder = TemporaryFolder()
        return try await onOwnThread {
            let quoted = words.map { "'" + $0.replacingOccurrences(of: "'", with: "'\\''") + "'" }.joined(
                separator: " ")
            let variables = environment.map { "\($0.key)='\($0.value)' " }.sorted().joined()
            let status = system(
                "\(variables)\(quoted) > '\(folder.path)/out' 2> '\(folder.path)/err' < /dev/null")
            return Outcome(
                status: (status >> 8) & 0xFF, output: try folder.contents(of: "out"),
                errors: try folder.contents(of: "err"))
        }
    }
}

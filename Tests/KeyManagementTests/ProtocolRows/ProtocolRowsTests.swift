import Foundation
import TestVectors
import Testing

/// Every line of the protocol's sections 6 to 8 has a test that names it.
@Suite("Protocol rows")
struct ProtocolRowsTests {
    /// The lines that the names of tests in these sources quote.
    private static func quoted(in source: String) -> Set<String> {
        var rows: Set<String> = []
        // A name of one line, or of several.
        for match in source.matches(of: /@Test\(\s*("""(?:[^"]|"(?!""))*"""|"(?:[^"\\]|\\.)*")/) {
            for row in match.1.matches(of: /\[([678] [^\]]+)\]/) { rows.insert(String(row.1)) }
        }
        return rows
    }

    @Test("each row is quoted by the name of a test, and no test quotes a row that there is not")
    func everyRow() throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        var rows: Set<String> = []
        let files = try #require(FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil))
        for case let file as URL in files where file.pathExtension == "swift" {
            rows.formUnion(Self.quoted(in: try String(contentsOf: file, encoding: .utf8)))
        }
        let all = Set(ProtocolRows.all)
        #expect(all.count == ProtocolRows.all.count, "a row stands twice in the list")
        #expect(all.subtracting(rows).sorted() == [], "rows without a test")
        #expect(rows.subtracting(all).sorted() == [], "tests of rows that are not in the list")
    }

    @Test("a row in the name of a test is found, one in a comment is not")
    func control() {
        let source = """
            // [8 delete <kro>]
            @Test("[8 create /keys] [7 unbound key] makes keys")
            @Test(
                "[6 effective user] of [something else]", arguments: [1])
            @Test(
                \"""
                [8 ids] \\
                in two lines
                \""")
            """
        let rows: Set = ["8 create /keys", "7 unbound key", "6 effective user", "8 ids"]
        #expect(Self.quoted(in: source) == rows)
    }

    private static let document = "../design/kms-protocol.md"

    @Test(
        "the list of rows is that of the protocol document's tables",
        .enabled(if: SharedData.isAvailable(ProtocolRowsTests.document)))
    func sameAsDocument() throws {
        let text = String(decoding: try SharedData.bytes(Self.document), as: UTF8.self)
        let section = try #require(
            text.components(separatedBy: "\n## ").first { $0.hasPrefix("8.") }, "there is no section 8")
        let tables = section.split(separator: "\n").filter { $0.hasPrefix("|") && !$0.hasPrefix("|---") }
        var rows: [String] = []
        for line in tables {
            let cell = line.split(separator: "|")[0].filter { $0 != "`" && $0 != "*" }
            let name = cell.components(separatedBy: " +")[0].components(separatedBy: " (")[0]
            rows.append(name.trimmingCharacters(in: .whitespaces))
        }
        rows.removeAll { $0 == "method, uri" || $0 == "request" }
        #expect(rows == ProtocolRows.operations + ProtocolRows.masterKeys)
    }
}

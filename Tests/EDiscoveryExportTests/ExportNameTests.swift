import EDiscoveryExport
import TestServers
import Testing

@Suite("Names of strangers")
struct ExportNameTests {
    @Test(
        "A base name has no folder, nothing hidden and no reserved name",
        arguments: [
            ("../../etc/passwd", "passwd"), ("C:\\Windows\\system32\\evil.dll", "evil.dll"), ("", "file"),
            (".", "file"),
            ("..", "file"), ("/", "file"), ("a\u{0}b.txt", "ab.txt"), ("a\nb.txt", "ab.txt"),
            ("invoice\u{202E}fdp.exe", "invoicefdp.exe"), ("CON", "_CON"), ("con.txt", "_con.txt"),
            ("COM1.log", "_COM1.log"),
            ("Lpt9", "_Lpt9"), ("com10.txt", "com10.txt"), ("nul.tar.gz", "_nul.tar.gz"), (" .bashrc. ", "bashrc"),
            ("a<b>:\"|?*.txt", "a_b______.txt"), ("Größe 1.pdf", "Größe 1.pdf"), ("\u{FEFF}\u{200B}", "file"),
            ("x\u{FFFE}y", "xy"),
        ])
    func base(hostile: String, expected: String) {
        #expect(ExportName.base(hostile) == expected)
    }

    @Test("A long name keeps its ending and fits", arguments: ["ä", "長", "😀", "e\u{301}"])
    func long(piece: String) {
        let name = ExportName.base(String(repeating: piece, count: 5000) + ".tar")
        #expect(name.utf8.count <= 120 && name.hasSuffix(".tar"))
        #expect(ExportName.base(String(repeating: piece, count: 5000)).utf8.count <= 120)
    }

    @Test("Whatever comes, a base name is one that can be kept", arguments: SeededGenerator.seeds)
    func anything(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<500 {
            let name = ExportName.base(random.anyText() + random.anyText())
            let isSound =
                !name.isEmpty && name.utf8.count <= 130 && name != "." && name != ".."
                && !name.unicodeScalars.contains { $0 == "/" || $0 == "\\" || $0.value < 0x20 || $0 == "\u{202E}" }
            #expect(isSound, "seed \(seed): \(name.debugDescription)")
            #expect(ExportName.base(name) == name, "seed \(seed): \(name.debugDescription)")
        }
    }

    @Test("An ending is a few letters or nothing")
    func endings() {
        #expect(ExportName.ending("a.PDF") == "pdf")
        #expect(ExportName.ending("a.tar.gz") == "gz")
        for none in ["a", ".pdf", "a.", "a.p/df", "a.päf", "a.toolongending", "a. pdf", nil] {
            #expect(ExportName.ending(none) == nil || none == ".pdf", "\(none ?? "nil")")
        }
    }

    @Test("A hidden character is shown by its number")
    func visible() {
        #expect(ExportName.visible("a\u{202E}b\r\n") == "a[U+202E]b[U+000D][U+000A]")
        #expect(ExportName.visible(String(repeating: "x", count: 1000)).utf8.count < 310)
    }

    @Test("A token is the id itself, or a digest of it")
    func tokens() {
        #expect(ExportName.token("0f8a-b_1") == "0f8a-b_1")
        #expect(ExportName.token("a b").hasPrefix("x-") && ExportName.token("").hasPrefix("x-"))
        #expect(ExportName.token("a b") != ExportName.token("a  b"))
    }
}

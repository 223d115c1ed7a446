import EDiscoveryExport
import EDiscoveryModel
import Foundation
import Glibc
import TestServers
import Testing
import WireText

@Suite("Transcript")
struct TranscriptTests {
    let fixture: ExportFixture

    init() throws { fixture = try ExportFixture() }

    private static let places: [String] = ["/usr/bin/chromium", "/usr/bin/google-chrome"]
    private static let program = places.first { access($0, X_OK) == 0 }
    private static let page = "export/data/html/000001-budget-script-alert-title-script-000001.html"

    @Test("Days, people, answers, edits, deletions, context, files and problems are there, and nothing of it is markup")
    func content() async throws {
        try await fixture.export(to: "export", ExportFixture.settings(zone: ZoneRules(named: "Europe/Berlin")))
        let page = try fixture.text(Self.page)
        for text in [
            "Sunday, 1 March 2026", "Monday, 2 March 2026", "Times in Europe/Berlin", "Ada Lovelace", "12:00:00",
            "Ada Lovelace added Bob &quot;the&quot; Builder", "answers <a href=\"000001-budget",
            "answers somewhere-else",
            "2 earlier texts", "First &lt;i&gt;draft&lt;/i&gt;", "could not be opened", "deleted by <bdi>Ada Lovelace",
            "<span class=\"tag\">context</span>", "<b>keyDenied</b> the KMS does not give the key",
            "invoice[U+202E]fdp.html", "href=\"../native/000001/ACME-000006.pdf\" download=\"passwd.pdf\"",
            "&lt;script&gt;alert(&#39;text&#39;)&lt;/script&gt; ]]&gt;", "Formerly: <bdi>u-gone</bdi>",
        ] { #expect(page.contains(text), "\(text)") }
        for forbidden in [
            "<script", "<b>bold", "http:", "https:", "src=", "url(", "@import", "\u{202E}", "\u{FFFE}", "\u{0}",
        ] {
            #expect(!page.contains(forbidden), "\(forbidden)")
        }
        // A page of a stranger's would run: it is named and not linked.
        #expect(!page.contains("href=\"../native/000001/ACME-000007.html\""))
    }

    @Test("A long space has pages that lead to each other, and the index names each space")
    func pages() async throws {
        try await fixture.export(to: "export", ExportFixture.settings(pageLength: 4))
        let files = try fixture.files(below: "export/data/html")
        #expect(files.count == 3 + 1 + 1)
        let stem = String(Self.page.dropLast(11).split(separator: "/")[3])
        let second = try fixture.text("export/data/html/" + stem + "000002.html")
        #expect(second.contains("\(stem)000001.html\">earlier") && second.contains("\(stem)000003.html\">later"))
        #expect(!(try fixture.text("export/data/html/" + stem + "000003.html")).contains(">later"))
        let index = try fixture.text("export/data/html/index.html")
        #expect(index.contains("9 items, 3 pages") && index.contains("Ada Lovelace &amp; "))
        for file in files {
            let text = try fixture.text("export/data/html/" + file)
            for link in text.matches(of: /href="([^"#]+)/).map({ String($0.output.1) }) where !link.hasPrefix("../") {
                #expect(files.contains(link), "\(file) leads to \(link)")
            }
        }
    }

    @Test("A browser shows the text, runs nothing, loads nothing and has nothing to complain of")
    func browser() async throws {
        guard let chromium = Self.program else {
            return print("skipped: THE TRANSCRIPT WAS NOT OPENED: there is no chromium here (apt-get install chromium)")
        }
        try await fixture.export(to: "export")
        let user = fixture.path("browser")
        func browse(_ arguments: [String]) async throws -> Program.Outcome {
            try await Program.run(
                [
                    "timeout", "-k", "5", "60", chromium, "--headless", "--no-sandbox", "--disable-gpu",
                    "--disable-dev-shm-usage", "--disable-extensions", "--no-first-run", "--user-data-dir=\(user)",
                    "--hide-scrollbars", "--window-size=1100,1800", "--enable-logging=stderr", "--v=0",
                ] + arguments + ["file://" + fixture.path(Self.page)], environment: ["HOME": user])
        }
        let shown = try await browse(["--dump-dom"])
        #expect(shown.status == 0, "\(shown.errors)")
        #expect(shown.output.contains("Good morning."), "\(shown.output.prefix(500))")
        #expect(shown.output.contains("&lt;script&gt;alert('text')&lt;/script&gt;"))
        // What the policy refuses, and errors of a page, stand in the console's log.
        #expect(!shown.errors.contains("CONSOLE"), "\(shown.errors)")
        let picture = fixture.path("page.png")
        _ = try await browse(["--screenshot=\(picture)"])
        let octets = try fixture.bytes("page.png")
        // A page without its style, or an empty one, is a small picture.
        #expect(octets.starts(with: [0x89, 0x50, 0x4E, 0x47]) && octets.count > 60_000, "\(octets.count) octets")
        if let kept = ProcessInfo.processInfo.environment["HDS_SCREENSHOTS"] {
            try Data(octets).write(to: URL(fileURLWithPath: kept + "/transcript.png"))
        }
    }
}

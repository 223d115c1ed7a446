import Diagnostics
import Glibc
import Testing

@testable import ServiceRuntime

@Suite("The catalogue")
struct CatalogueTests {
    private static let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")

    @Test(
        "what stands in the repository is what the declarations say",
        arguments: [("systemd/hds.catalog", Catalogue.journal), ("docs/catalogue.md", Catalogue.page)])
    func files(_ file: String, made: String) throws {
        let text = try FileLocation(Self.root + "/" + file).text(upTo: 1 << 20)
        #expect(text == made, "make it anew: deploy/catalogue")
    }

    @Test("the journal's entries are those of all alarms and events, each once, with what to do")
    func entries() {
        let ids = Catalogue.journal.split(separator: "\n").filter { $0.hasPrefix("-- ") }.map { $0.dropFirst(3) }
        #expect(Set(ids).count == ids.count && ids.count == Alarm.all.count + Event.all.count)
        for alarm in Alarm.all {
            #expect(Catalogue.page.contains("### \(alarm.id)\n"))
            #expect(!alarm.fix.isEmpty && !alarm.clears.isEmpty && !alarm.text.isEmpty)
        }
    }

    @Test("journalctl takes it and explains an alarm by it")
    func journalctl() throws {
        guard access("/usr/bin/journalctl", X_OK) == 0 else { return print("skipped: there is no journalctl here") }
        let root = try TemporaryRoot()
        defer { root.remove() }
        try root.write(Catalogue.journal, to: "usr/lib/systemd/catalog/hds.catalog")
        #expect(root.run("journalctl --root=\(root.path) --update-catalog") == 0)
        let shown = root.path + "/shown"
        #expect(root.run("journalctl --root=\(root.path) --dump-catalog \(Alarm.diskLow.messageID) > \(shown)") == 0)
        let text = try FileLocation(shown).text(upTo: 1 << 20)
        #expect(text.contains("Subject: HDS-DISK-LOW: a disk is nearly full"))
        #expect(text.contains("What to do: Free space"))
    }

    @Test("every alarm has a test that names it")
    func coverage() throws {
        let root = try TemporaryRoot()
        defer { root.remove() }
        let found = root.path + "/found"
        #expect(root.run("grep -rhoE --include=*.swift '\\[HDS-[A-Z-]+\\]' \(Self.root)/Tests > \(found)") == 0)
        let named = Set(try FileLocation(found).text(upTo: 1 << 20).split(separator: "\n").map(String.init))
        for alarm in Alarm.all {
            #expect(named.contains("[\(alarm.id)]"), "\(alarm.id): raised and cleared by no test")
        }
    }
}

/// A folder for one test, and a shell.
private struct TemporaryRoot {
    let path: String

    init() throws {
        let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array((base + "/hds-catalogue-XXXXXX").utf8CString)
        path = try #require(mkdtemp(&template).map { String(cString: $0) })
    }

    func write(_ text: String, to file: String) throws {
        let folder = file.split(separator: "/").dropLast().joined(separator: "/")
        #expect(run("mkdir -p \(path)/\(folder)") == 0)
        let handle = try #require(fopen("\(path)/\(file)", "w"))
        defer { fclose(handle) }
        #expect(fputs(text, handle) >= 0)
    }

    func run(_ command: String) -> Int32 { system(command) }
    func remove() { _ = run("rm -r \(path)") }
}

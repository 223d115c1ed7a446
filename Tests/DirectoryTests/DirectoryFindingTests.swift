import Diagnostics
import DirectoryModel
import Testing
import TokenIssuer
import WireText

@Suite("Alarms of directories")
struct DirectoryFindingTests {
    private let start = Timestamp(seconds: 1_800_000_000)
    private let trouble = DiagnosedError("test", fault: .peer, "it does not answer")

    private func raised(_ standing: DirectorySync.Standing, after seconds: Int64) -> [String: Bool] {
        let findings = standing.findings(of: "ldap:corp", since: start, now: start.adding(seconds: seconds))
        return Dictionary(uniqueKeysWithValues: findings.map { ($0.alarm.id, $0.isRaised) })
    }

    @Test("[HDS-DIRECTORY-UNREACHABLE] It is raised after a minute without a look, and goes with the next reading")
    func unreachable() {
        var standing = DirectorySync.Standing()
        standing.trouble = trouble
        #expect(raised(standing, after: 60) == [:], "not yet, and nothing that stands is cleared")
        #expect(raised(standing, after: 61) == ["HDS-DIRECTORY-UNREACHABLE": true])
        standing.seen = start.adding(seconds: 30)
        #expect(raised(standing, after: 90) == [:])
        #expect(raised(standing, after: 91)["HDS-DIRECTORY-UNREACHABLE"] == true)
        standing.trouble = nil
        #expect(raised(standing, after: 92) == ["HDS-DIRECTORY-UNREACHABLE": false, "HDS-DIRECTORY-LEAVERS": false])
    }

    @Test("[HDS-DIRECTORY-LEAVERS] It stands while people wait, also when the directory does not answer meanwhile")
    func leavers() {
        var standing = DirectorySync.Standing()
        standing.waiting = [
            Person(
                source: "ldap:corp", external: "a", id: "a", userName: "a", email: "a@b.c", name: "A", changed: start)
        ]
        #expect(raised(standing, after: 1)["HDS-DIRECTORY-LEAVERS"] == true)
        standing.trouble = trouble
        #expect(raised(standing, after: 1)["HDS-DIRECTORY-LEAVERS"] == true)
        standing.waiting = []
        #expect(raised(standing, after: 1)["HDS-DIRECTORY-LEAVERS"] == nil)
        standing.trouble = nil
        #expect(raised(standing, after: 1)["HDS-DIRECTORY-LEAVERS"] == false)
        let findings = standing.findings(of: "ldap:corp", since: start, now: start)
        #expect(findings.allSatisfy { !$0.detail.text.contains("a@b.c") }, "no address in the journal")
    }
}

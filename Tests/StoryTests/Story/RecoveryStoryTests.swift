import Foundation
import Glibc
import HDSClient
import KMSClient
import Testing
import WireText

extension StoryTests {
    /// What is left when everything is lost: a backup and the shares of the escrow, with the real programs.
    @Suite("Losing everything") struct RecoveryStoryTests {
        private struct Desk {
            let deployment: Deployment
            var socket: String { path("kms/control.sock") }
            func path(_ name: String) -> String { deployment.domain.path(name) }

            /// A line for the shell, in which `hdsctl` is the tool.
            func shell(_ line: String) async throws -> String {
                try await ChildProcess.run(
                    "/bin/bash",
                    [
                        "-c",
                        "set -eo pipefail; cd \(deployment.domain.folder); hdsctl() { \(Repository.program("hdsctl")) \"$@\"; }; \(line)",
                    ],
                    folder: deployment.domain.folder)
            }
            var signed: String {
                "--socket \(socket) --officer-key \(path("ada.pem")) --passphrase-file \(path("passphrase"))"
            }

            func enrol() async throws {
                try deployment.domain.write("correct horse battery staple\n", to: "passphrase")
                let text = try await shell(
                    "hdsctl officer create \(path("ada.pem")) --id ada --passphrase-file \(path("passphrase")) "
                        + "--duty policy freeze")
                let entry = try #require(text.split(separator: "\n").map(String.init).first { $0.hasPrefix("{") })
                try deployment.domain.write(#"{"officers": [\#(entry)]}"#, to: "kms/officers.json", mode: 0o644)
                _ =
                    try await eventually("ada enrolled") {
                        try await shell("hdsctl status --socket \(socket)").contains("ada") ? true : nil
                    } as Bool
            }
        }

        @Test("backup, everything destroyed, recovered with shares, frozen, opened: the keys are read again")
        func lost() async throws {
            try await Deployment.with(change: { domain in
                mkdir(domain.path("backups"), 0o700)
                try domain.replace(
                    "control:\n",
                    with: "officers:\n  file: officers.json\nbackup:\n  folder: \(domain.path("backups"))\ncontrol:\n",
                    in: "kms/hds-kms.yaml")
            }) { deployment in
                let desk = Desk(deployment: deployment)
                try await desk.enrol()
                let alice = try await Person.logIn("alice", in: deployment)
                let bob = try await Person.logIn("bob", in: deployment)
                let space = try await alice.spaces.create(name: "Kept", with: [bob.email])
                try await alice.spaces.post("hello", in: space)
                let key = try #require(try alice.keyURIs(of: space).first)

                let alarms = try await desk.shell("hdsctl status --socket \(desk.socket)")
                #expect(alarms.contains("NOT-ESCROWED") && alarms.contains("BACKUP-STALE"), "\(alarms)")
                // The words go through a pipe; only this test keeps them.
                _ = try await desk.shell(
                    "hdsctl escrow create --shares 3 --needed 2 --words-fd 3 \(desk.signed) 3>&1 >/dev/null 2>/dev/null"
                        + " | cat > \(desk.path("words"))")
                for number in 1...3 {
                    let challenge = "$(hdsctl escrow challenge \(number) --socket \(desk.socket))"
                    let text = try await desk.shell(
                        "answer=$(sed -n \(number)p \(desk.path("words")) | hdsctl escrow prove \(challenge) --words-fd 0)"
                            + "; hdsctl escrow confirm $answer --socket \(desk.socket)")
                    #expect(text.contains("share \(number) is proved"), "\(text)")
                }
                // A share of another number proves nothing, and words go into no file.
                for line in [
                    "sed -n 1p \(desk.path("words")) | hdsctl escrow prove "
                        + "$(hdsctl escrow challenge 2 --socket \(desk.socket)) --words-fd 0",
                    "hdsctl escrow create --words-fd 3 \(desk.signed) 3> kept",
                    "hdsctl escrow create --words-fd 3 \(desk.signed) 3>&1 >/dev/null | cat >/dev/null",
                ] {
                    await #expect(throws: NotInTime.self, "\(line)") { _ = try await desk.shell(line) }
                }
                #expect(try deployment.domain.read("kept").isEmpty)
                let file = try #require(
                    try await desk.shell("hdsctl backup --socket \(desk.socket)").split(separator: "\n").first
                ).description
                let trial = try await desk.shell("hdsctl restore \(file) --verify --master-key kms/master-key")
                #expect(
                    trial.contains("keys, taken at random, open") && trial.contains("The backup is whole"), "\(trial)")

                // What happens after the backup: Bob has to leave.
                guard case .allowed = try await bob.client.verdict(onKey: key) else {
                    Issue.record("Bob is a member")
                    return
                }
                try await alice.spaces.remove(bob.email, from: space)

                // The machine is gone: database and master key, also what a search of the disk could find.
                try await deployment[.kms]?.cut()
                _ = try await desk.shell("rm kms/*.sqlite* kms/master-key")
                func recover(_ journal: String) async throws -> String {
                    let text = try await desk.shell(
                        "sed -n '3p;1p' \(desk.path("words")) | hdsctl escrow recover \(file) --to \(Self.store)"
                            + " --new-master-key kms/master-key --words-fd 0 \(journal)")
                    #expect(text.contains("is whole and frozen"), "\(text)")
                    try deployment.start(.kms)
                    try await deployment.waitUntilReady(.kms)
                    return text
                }
                // Without the journal nobody knows of it: the store says so, and does not open by a mere yes.
                let blind = try await recover("")
                #expect(blind.contains("unknown: no journal was given"), "\(blind)")
                let gap = try await desk.shell("hdsctl restore status --socket \(desk.socket)")
                #expect(gap.contains("unknown: no journal was given") && gap.contains("--gap"), "\(gap)")
                await #expect(throws: NotInTime.self) { _ = try await desk.shell("hdsctl restore open \(desk.signed)") }
                let list = try await desk.shell("hdsctl freeze list --json --socket \(desk.socket)")
                let id = try #require(list.split(separator: "\"").first { $0.count == 36 }.map(String.init), "\(list)")
                await #expect(throws: NotInTime.self) {
                    _ = try await desk.shell("hdsctl freeze lift \(id) \(desk.signed)")
                }
                let stillFrozen = try await desk.shell("hdsctl restore status --socket \(desk.socket)")
                #expect(stillFrozen.contains("frozen; open it with"), "\(stillFrozen)")
                try await deployment[.kms]?.cut()
                _ = try await desk.shell("rm kms/*.sqlite* kms/master-key")
                let recovered = try await recover("--journal kms/removals")
                #expect(
                    recovered.contains("members removed: 1 of 1") && !recovered.contains("unknown:"), "\(recovered)")
                // Those of the two commands that were refused meanwhile: a signature counts once.
                #expect(recovered.contains("officers' signatures used: 2 of"), "\(recovered)")

                let again = try await Person.logIn("alice", in: deployment)
                guard case .refused(403, let reason) = try await again.client.verdict(onKey: key) else {
                    Issue.record("a restored KMS gives no key before an officer's yes")
                    return
                }
                #expect(reason.contains("frozen"))
                let status = try await desk.shell("hdsctl restore status --socket \(desk.socket)")
                #expect(status.contains("from a backup of") && status.contains("members removed: 1 of 1"), "\(status)")
                _ = try await desk.shell("hdsctl restore open \(desk.signed)")
                guard case .allowed = try await again.client.verdict(onKey: key) else {
                    Issue.record("what was acknowledged before the backup is readable")
                    return
                }
                let left = try await Person.logIn("bob", in: deployment)
                guard case .refused(403, let why) = try await left.client.verdict(onKey: key) else {
                    Issue.record("Bob, who was removed after the backup, reads again")
                    return
                }
                #expect(!why.contains("frozen"), "\(why)")
                let escrow = try await desk.shell("hdsctl escrow status --socket \(desk.socket)")
                #expect(!escrow.contains("a proof is due"), "\(escrow)")
                _ =
                    try await eventually("no alarm of escrow and backup") {
                        let status = try await desk.shell("hdsctl status --socket \(desk.socket)")
                        return !status.contains("NOT-ESCROWED") && !status.contains("BACKUP-STALE") ? true : nil
                    } as Bool
            }
        }

        private static let store = "kms/kms.sqlite"
    }
}

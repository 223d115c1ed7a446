import Foundation
import HDSClient
import KMSClient
import KMSProtocol
import TestServers
import Testing
import WireText

extension StoryTests {
    /// `hdsctl setup` as a process, against a real authorization service and a real core.
    @Suite("From answers to a running KMS") struct SetupStoryTests {
        @Test("a dry run does nothing; a run makes all of it; a second one changes nothing; what was made serves")
        func life() async throws {
            try await Site.with(more: { "backup: \($0.path("backup"))\n" }) { site in
                let dry = try await site.setup("--dry-run")
                #expect(
                    dry.ending == .exit(0) && dry.has("would  master-key") && dry.has("nothing was done"), "\(dry.text)"
                )
                #expect(site.mode("etc/hds/credentials") == "none")

                let made = try await site.setup()
                #expect(made.ending == .exit(0), "\(made.text)")
                for step in [
                    "master-key", "static-key", "certificate", "client-secret", "authorities", "configuration",
                ] {
                    #expect(made.has("made  \(step): "), "\(step): \(made.text)")
                }
                #expect(made.has("prepared; nothing was started") && made.has("doctor: "), "\(made.text)")
                #expect(site.mode("etc/hds/credentials") == "700" && site.mode("var/lib/hds-kms") == "700")
                for secret in ["kms-master-key", "kms-static-key.pem", "kms-client-secret"] {
                    #expect(site.mode("etc/hds/credentials/\(secret)") == "600")
                }
                #expect(site.mode("etc/hds/hds-kms.yaml") == "644")

                let before = try site.files()
                let again = try await site.setup()
                #expect(again.ending == .exit(0) && !again.has("made  "), "\(again.text)")
                #expect(try site.files() == before)

                let kms = try await site.start()
                let alice = try await Person.logIn("alice", in: site.deployment)
                #expect(try await alice.client.kms.perform(.createKeys(count: 1)).status == 201)
                await alice.close()
                let ready = try await site.setup()
                #expect(ready.ending == .exit(0) && ready.has("\nready\n"), "\(ready.text)")
                #expect(try site.files() == before)
                try await Self.statusScreen(site)
                try await kms.cut()
            }
        }

        /// Everything on one screen, and what does not answer.
        private static func statusScreen(_ site: Site) async throws {
            let folder = site.domain.path("configurations")
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            for service in Service.allCases {
                try FileManager.default.createSymbolicLink(
                    atPath: "\(folder)/\(service.rawValue).yaml",
                    withDestinationPath: service == .kms
                        ? site.configuration : site.domain.path(service.configuration))
            }
            let words = ["status", "--socket", site.socket, "--folder", folder]
            let said = try await site.hdsctl(words)
            #expect(said.ending == .exit(0), "\(said.text)")
            for line in [
                "link      ok: open", "rotation  none; version 1", "backup    none yet", "drills    restore never",
                "doctor    has not looked yet", "alarm     HDS-MASTERKEY-NOT-ESCROWED", "hds-auth ", "hds-core ",
                "to do: ",
            ] {
                #expect(said.has(line), "\(line): \(said.text)")
            }
            let json = try JSONDocument(text: try await site.hdsctl(words + ["--json"]).text).root
            #expect(json["ready"]?.boolean == true && json["services"]?.elements?.count == 2)
            #expect(json["standing"]?.elements?.first?["fix"]?.string != nil)
            #expect(json["rotation"]?["rootKey"]?.integer == 1)

            try await site.deployment[.auth]?.cut()
            let alone = try await site.hdsctl(words)
            #expect(alone.ending == .exit(69) && alone.has("hds-auth  does not answer at "), "\(alone.text)")
            #expect(alone.has("to do: systemctl status hds-auth"))
            let away = try await site.hdsctl(["status", "--socket", site.path("none"), "--folder", folder])
            #expect(away.ending == .exit(69) && away.has("hds-kms   does not answer"), "\(away.text)")
            #expect(away.has("hds-core "), "the others are shown all the same")
        }

        @Test("without a certificate a request is written, and the signed one completes the installation")
        func request() async throws {
            try await Site.with(key: false) { site in
                let first = try await site.setup()
                #expect(first.ending == .exit(75) && first.has("MISSING  certificate"), "\(first.text)")
                #expect(first.has("hdsctl setup --chain FILE") && first.has("made  configuration"), "\(first.text)")
                let pki = site.domain.path("pki/customer")
                try await ChildProcess.run(
                    "openssl",
                    [
                        "x509", "-req", "-in", site.path("etc/hds/kms-static-key.csr"), "-CA", pki + "/issuing.pem",
                        "-CAkey",
                        pki + "/issuing.key", "-set_serial", "77", "-days", "9", "-copy_extensions", "copyall", "-out",
                        site.domain.path("signed.pem"),
                    ], folder: site.domain.folder)
                // The leaf alone: clients that do not have the intermediate one would refuse it.
                let alone = try await site.setup("--chain", site.domain.path("signed.pem"))
                #expect(alone.ending == .exit(75) && alone.has("certificate-clients"), "\(alone.text)")
                unlink(site.path("etc/hds/kms-static-key.pem"))
                let parts = try ["signed.pem", "pki/customer/issuing.pem"].map { try site.domain.read($0) }
                try site.domain.write(parts.joined(), to: "chain.pem")
                let done = try await site.setup("--chain", site.domain.path("chain.pem"))
                #expect(done.ending == .exit(0) && done.has("made  certificate"), "\(done.text)")
                #expect(done.has("ok  static-key"), "the key that the request was for")
            }
        }

        @Test("a certificate for another name or another key is refused with what clients demand")
        func wrongCertificate() async throws {
            try await Site.with(key: false) { site in
                try site.answer(
                    key: false, more: "certificate:\n  private-key: pki/customer/kms.key\n  chain: other.pem\n")
                try await ChildProcess.run(
                    "openssl",
                    [
                        "req", "-x509", "-key", site.domain.path("pki/customer/kms.key"), "-days", "9", "-subj",
                        "/CN=other",
                        "-out", site.domain.path("other.pem"),
                    ], folder: site.domain.folder)
                let said = try await site.setup()
                #expect(said.ending == .exit(75) && said.has("CN=\(Domain.kmsHost)"), "\(said.text)")
                #expect(site.mode("etc/hds/kms-static-key.pem") == "none")
            }
        }

        @Test("answers are refused by path and line; a configuration that differs from them stays as it is")
        func refused() async throws {
            try await Site.with { site in
                try site.answer(more: "escrw: {}\n")
                let said = try await site.setup()
                #expect(said.ending == .exit(78) && said.has("escrw") && said.has("line "), "\(said.text)")
                #expect(site.mode("etc") == "none", "nothing is made before the answers are understood")
                try site.answer()
                #expect(try await site.setup().ending == .exit(0))
                let before = try site.files()
                try site.domain.replace("node: site", with: "node: other", in: "answers-site.yaml")
                let other = try await site.setup()
                #expect(
                    other.ending == .exit(0) && other.has("differs from the answers in node: it stays"), "\(other.text)"
                )
                #expect(try site.files() == before)
            }
        }

        @Test(
            "PKCS#12 is taken over, a master key that is brought is, and a copy of a new one is put where it was asked for"
        )
        func brought() async throws {
            try await Site.with(key: false) { site in
                let domain = site.domain
                try domain.write("open sesame\n", to: "p12.passphrase")
                try await ChildProcess.run(
                    "openssl",
                    [
                        "pkcs12", "-export", "-inkey", domain.path("pki/customer/kms.key"), "-in",
                        domain.path("pki/customer/kms.pem"), "-out", domain.path("kms.p12"), "-passout",
                        "pass:open sesame",
                    ], folder: domain.folder)
                let container = "certificate:\n  pkcs12: kms.p12\n  pkcs12-passphrase: p12.passphrase\n"
                try site.answer(key: false, more: container + "master-key:\n  from: kms/master-key\n")
                let said = try await site.setup()
                #expect(said.ending == .exit(0), "\(said.text)")
                #expect(try domain.read("site/etc/hds/credentials/kms-master-key") == domain.read("kms/master-key"))
                #expect(try domain.read("site/etc/hds/kms-static-key.pem") == domain.read("pki/customer/kms.pem"))

                let other = try Site(
                    site.deployment, "second", key: false, more: container + "master-key:\n  copy: copy-of-key\n")
                #expect(try await other.setup().ending == .exit(0))
                #expect(try domain.read("copy-of-key") == domain.read("second/etc/hds/credentials/kms-master-key"))
            }
        }

        @Test("killed at any write it is given again: no key changes, nothing is half made, nothing is left over")
        func killed() async throws {
            guard let library = await Failpoints.library.value else { return }
            try await Site.with { site in
                // Every one of them in the long run; in any other each third.
                let step = LongTests.areWanted ? 1 : 3
                var number = 1
                while true {
                    let round = try Site(
                        site.deployment, "round-\(number)", more: "master-key:\n  copy: copy-\(number)\n")
                    let cut = try await round.setup(
                        environment: Failpoints.environment(
                            library, number: number, .kill, files: site.domain.folder + "/", armed: site.answers))
                    guard cut.ending != .exit(0) else { break }
                    #expect(cut.ending == .signal(SIGKILL), "\(cut.text)")
                    let before = FileManager.default.fileExists(atPath: round.path("etc")) ? try round.files() : [:]
                    let again = try await round.setup()
                    #expect(again.ending == .exit(0), "round \(number): \(again.text)")
                    let after = try round.files()
                    for (file, octets) in before where !file.hasSuffix(".setup") {
                        #expect(after[file] == octets, "round \(number): \(file)")
                    }
                    #expect(!after.keys.contains { $0.hasSuffix(".setup") }, "round \(number)")
                    #expect(
                        try site.domain.read("copy-\(number)")
                            == site.domain.read("round-\(number)/etc/hds/credentials/kms-master-key"))
                    number += step
                }
                #expect(number > 12, "too few writes were counted for a test that is worth something")
            }
        }

        @Test("with an officer at hand the shares are made when the service runs, and once only")
        func escrow() async throws {
            let wanted = "officers: officers.json\nescrow:\n  shares: 3\n  needed: 2\n"
            try await Site.with(more: { _ in wanted }) { site in
                let domain = site.domain
                try domain.write("correct horse battery staple\n", to: "passphrase")
                let text = try await ChildProcess.run(
                    Repository.program("hdsctl"),
                    [
                        "officer", "create", domain.path("ada.pem"), "--id", "ada", "--passphrase-file",
                        domain.path("passphrase"), "--duty", "policy",
                    ], folder: domain.folder)
                let entry = try #require(text.split(separator: "\n").first { $0.hasPrefix("{") })
                try domain.write(#"{"officers": [\#(entry)]}"#, to: "officers.json", mode: 0o644)
                #expect(try await site.setup().ending == .exit(0))
                let kms = try await site.start()
                let without = try await site.setup()
                #expect(without.ending == .exit(75) && without.has("MISSING  escrow"), "\(without.text)")
                try await ChildProcess.run(
                    "/bin/bash",
                    [
                        "-c",
                        "set -eo pipefail; \"$0\" setup --answers \"$1\" --root \"$2\" --words-fd 3 --officer-key \"$3\" "
                            + "--passphrase-file \"$4\" 3>&1 >\"$5\" 2>&1 | cat >\"$6\"",
                        Repository.program("hdsctl"), site.answers, site.root, domain.path("ada.pem"),
                        domain.path("passphrase"), domain.path("told"), domain.path("words"),
                    ], folder: domain.folder)
                #expect(try domain.read("words").split(separator: "\n").count == 3)
                #expect(try domain.read("told").contains("made  escrow: 2 of 3"))
                let word = try #require(try domain.read("words").split(separator: " ").last)
                #expect(try !domain.read("told").contains(" \(word)"))
                let again = try await site.setup()
                #expect(again.ending == .exit(0) && again.has("ok  escrow"), "\(again.text)")
                try await kms.cut()
            }
        }
    }
}

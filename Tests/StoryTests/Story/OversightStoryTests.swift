import Foundation
import HDSClient
import HTTPClient
import KMSClient
import KMSProtocol
import Testing
import WireText

extension StoryTests {
    /// What the operator and the officers do, with `hdsctl` as a process against a running KMS.
    @Suite("Oversight of a running KMS") struct OversightStoryTests {
        /// The tool, with the keys of two officers.
        struct Desk {
            let deployment: Deployment
            var folder: String { deployment.domain.folder }
            var socket: String { deployment.domain.path("kms/control.sock") }
            func path(_ name: String) -> String { deployment.domain.path(name) }

            static func enrol(_ deployment: Deployment) async throws -> Desk {
                let desk = Desk(deployment: deployment)
                try deployment.domain.write("correct horse battery staple\n", to: "passphrase")
                var entries: [String] = []
                for (id, duties) in [("ada", ["policy", "freeze", "erasure", "compliance"]), ("ben", ["four-eyes"])] {
                    let text = try await desk.hdsctl(
                        ["officer", "create", desk.path(id + ".pem"), "--id", id]
                            + ["--passphrase-file", desk.path("passphrase"), "--duty"] + duties)
                    entries.append(
                        try #require(text.split(separator: "\n").map(String.init).first { $0.hasPrefix("{") }))
                }
                try deployment.domain.write(
                    #"{"officers": [\#(entries.joined(separator: ","))]}"#, to: "kms/officers.json", mode: 0o644)
                _ =
                    try await eventually("officers enrolled") {
                        try await desk.ask("status").contains("ada") ? true : nil
                    } as Bool
                return desk
            }

            func hdsctl(_ arguments: [String]) async throws -> String {
                try await ChildProcess.run(Repository.program("hdsctl"), arguments, folder: folder)
            }
            func ask(_ arguments: String...) async throws -> String {
                try await hdsctl(arguments + ["--socket", socket])
            }
            func sign(_ arguments: String...) async throws -> String {
                try await hdsctl(arguments + signed)
            }
            private var signed: [String] {
                ["--socket", socket, "--officer-key", path("ada.pem"), "--passphrase-file", path("passphrase")]
            }

            /// What the tool says when it fails, with its exit code.
            func refused(_ arguments: [String], with options: [String]? = nil) async throws -> (
                code: Int32, text: String
            ) {
                let output = path("refused-\(UUID().uuidString).log")
                let child = try ChildProcess(
                    Repository.program("hdsctl"), arguments + (options ?? signed), output: output)
                guard case .exit(let code) = try await child.end() else { return (-1, child.tail()) }
                return (code, child.log())
            }
        }

        static func enrolling(_ domain: Domain) throws {
            try domain.replace(
                "control:\n", with: "officers:\n  file: officers.json\npolicy:\n  file: policy.signed\ncontrol:\n",
                in: "kms/hds-kms.yaml")
        }

        @Test("A refusal is explained, access shown, keys frozen and released again; all of it stands in the trail")
        func explainAndFreeze() async throws {
            try await Deployment.with(change: { try Self.enrolling($0) }) { deployment in
                let desk = try await Desk.enrol(deployment)
                let alice = try await Person.logIn("alice", in: deployment)
                let bob = try await Person.logIn("bob", in: deployment)
                let space = try await alice.spaces.create(name: "Oversight", with: [])
                try await alice.spaces.post("hello", in: space)
                let resource = try #require(try await alice.spaces.find("Oversight").resource)
                let key = try #require(try alice.keyURIs(of: space).first)
                guard case .refused(403, _) = try await bob.client.verdict(onKey: key) else {
                    Issue.record("bob is not on the list")
                    return
                }
                let pseudonym = try await desk.ask("audit", "lookup", "--user", bob.id)
                    .trimmingCharacters(in: .whitespacesAndNewlines)
                let refusal = try await eventually("the refusal in the trail") {
                    try await desk.hdsctl(["audit", "show", desk.path("kms/audit"), "--user", pseudonym, "--json"])
                        .split(separator: "\n").first { $0.contains("not-a-member") }
                        .flatMap { try JSONDocument(text: String($0)).root["id"]?.string }
                }
                let why = try await desk.ask("explain", refusal)
                #expect(why.contains("refused \(bob.id)") && why.contains(key), "\(why)")
                #expect(why.contains("Rule not-a-member: the user is not on the space's list"), "\(why)")
                #expect(why.contains("What to do: a member") && why.contains("Now: today \(bob.id)"), "\(why)")

                let access = try await desk.ask("access", resource)
                #expect(access.contains(alice.id) && access.contains("member") && !access.contains(bob.id), "\(access)")
                #expect(try await desk.ask("access", alice.id).contains(resource))

                let count = try await desk.ask("freeze", "--user", alice.id, "--simulate")
                #expect(count.contains("would hit 1 user in 1 space"), "\(count)")
                let unsigned = try await desk.refused(
                    ["freeze", "--user", alice.id, "--reason", "lost laptop"], with: ["--socket", desk.socket])
                #expect(unsigned.code == 65 && unsigned.text.contains("needs an officer's signature"), "\(unsigned)")
                let frozen = try await desk.sign("freeze", "--user", alice.id, "--reason", "lost laptop", "--json")
                let id = try #require(
                    try JSONDocument(text: frozen.split(separator: "\n").map(String.init).last ?? "").root["freeze"]?[
                        "id"]?
                        .string)
                guard case .refused(403, let reason) = try await alice.client.verdict(onKey: key) else {
                    Issue.record("alice is frozen")
                    return
                }
                #expect(reason.contains("frozen"))
                let list = try await desk.ask("freeze", "list")
                #expect(list.contains(id) && list.contains("lost laptop") && list.contains("ada"), "\(list)")
                _ = try await desk.sign("freeze", "lift", id)
                guard case .allowed = try await alice.client.verdict(onKey: key) else {
                    Issue.record("alice is not frozen any more")
                    return
                }
                #expect(try await desk.ask("freeze", "list").contains("nothing is frozen"))

                // A policy under which neither a freeze nor a look at names is one person's alone.
                try deployment.domain.write(
                    """
                    version: 1
                    organisation: example
                    issued: 2026-01-01
                    freeze: {secondOfficerOver: 0}
                    explanations: {fourEyes: true}

                    """, to: "policy.yaml")
                _ = try await desk.hdsctl([
                    "policy", "sign", desk.path("policy.yaml"), "--key", desk.path("ada.pem"), "--passphrase-file",
                    desk.path("passphrase"), "--out", desk.path("kms/policy.signed"),
                ])
                _ =
                    try await eventually("the policy in force", within: .seconds(60)) {
                        try await desk.ask("status").contains("policy    version 1,") ? true : nil
                    } as Bool
                #expect(
                    try await desk.ask("freeze", "--user", alice.id, "--simulate").contains("second officer has to"))
                for (arguments, why) in [
                    (["freeze", "--user", alice.id, "--reason", "again"], "confirmation of a second officer"),
                    (["explain", refusal], "confirmation of a second officer"),
                ] {
                    let alone = try await desk.refused(arguments)
                    #expect(alone.code == 65 && alone.text.contains(why), "\(alone)")
                }
                _ = try await desk.sign(
                    "freeze", "--everything", "--reason", "theft", "--request-out", desk.path("request"))
                _ = try await desk.hdsctl([
                    "officer", "confirm", desk.path("request"), "--officer-key", desk.path("ben.pem"),
                    "--passphrase-file", desk.path("passphrase"), "--out", desk.path("confirmation"),
                ])
                #expect(
                    try await desk.ask(
                        "control", "send", desk.path("request"), "--confirmation", desk.path("confirmation")
                    ).contains("ada and ben"))
                guard case .refused(403, _) = try await alice.client.verdict(onKey: key) else {
                    Issue.record("everything is frozen")
                    return
                }
                for arguments in [
                    "{}", #"{"everything":true,"user":"x"}"#, #"{"everyone":true}"#, #"{"space":"not-a-space"}"#,
                    #"{"boundFrom":"yesterday"}"#,
                ] {
                    let told = try await desk.refused(
                        ["control", "call", "freeze-simulate", "--arguments", arguments],
                        with: ["--socket", desk.socket])
                    #expect(told.code == 65, "\(arguments): \(told)")
                }
                let closed = try await desk.ask("explain", refusal)
                #expect(closed.contains("Rule not-a-member") && closed.contains(pseudonym), "\(closed)")
                #expect(!closed.contains(bob.id) && closed.contains("leaves names to two officers"))

                let trail = try await desk.hdsctl(["audit", "show", desk.path("kms/audit"), "--json"])
                for rule in ["lookup:explain", "lookup:access", "lookup:audit-lookup", "lookup:freeze-simulate"] {
                    #expect(trail.contains(#""rule":"\#(rule)""#), "\(rule)")
                }
                for rule in ["officer:freeze", "officer:freeze-lift"] { #expect(trail.contains(rule), "\(rule)") }
                #expect(trail.contains("operator:\(getuid())") && !trail.contains(bob.id))
                await alice.close()
                await bob.close()
            }
        }

        @Test("A person is erased by two officers, but for what is held; the certificate can be verified anywhere")
        func erase() async throws {
            try await Deployment.with(change: { try Self.enrolling($0) }) { deployment in
                let desk = try await Desk.enrol(deployment)
                let alice = try await Person.logIn("alice", in: deployment)
                let own = try await alice.spaces.create(name: "Own", with: [])
                try await alice.spaces.post("mine", in: own)
                let held = try await alice.spaces.create(name: "Held", with: [])
                try await alice.spaces.post("evidence", in: held)
                let keys = (
                    own: try #require(try alice.keyURIs(of: own).first), held: try alice.keyURIs(of: held).first
                )
                let resource = try #require(try await alice.spaces.find("Held").resource)

                let export = try await desk.ask("export-metadata", alice.id)
                #expect(export.contains(keys.own) && export.contains(resource), "\(export)")
                #expect(try await desk.sign("hold", "add", resource, "--reason", "matter 7").contains("held: "))
                #expect(try await desk.ask("hold", "list").contains("matter 7"))
                let plan = try await desk.ask("erase", alice.id, "--dry-run")
                #expect(plan.contains("1  spaces destroyed") && plan.contains("1  spaces held"), "\(plan)")
                #expect(plan.contains("a second officer has to confirm it"))

                let order = ["erase", alice.id, "--backups-until", "2099-12-31"]
                let alone = try await desk.refused(order)
                #expect(alone.code == 65 && alone.text.contains("confirmation of a second officer"), "\(alone)")
                _ = try await desk.sign(
                    "erase", alice.id, "--backups-until", "2099-12-31", "--request-out", desk.path("request"))
                _ = try await desk.hdsctl([
                    "officer", "confirm", desk.path("request"), "--officer-key", desk.path("ben.pem"),
                    "--passphrase-file", desk.path("passphrase"), "--out", desk.path("confirmation"),
                ])
                let sent = try await desk.ask(
                    "control", "send", desk.path("request"), "--confirmation", desk.path("confirmation"))
                let certificate = try #require(sent.split(separator: "\n").map(String.init).last { $0.hasPrefix("{") })
                try deployment.domain.write(certificate, to: "certificate.json")
                let fingerprint = try await desk.hdsctl(
                    ["attestation-key", "fingerprint", desk.path("kms/attestation.key")]
                ).trimmingCharacters(in: .whitespacesAndNewlines)
                let verified = try await desk.hdsctl(
                    ["erase", "verify", desk.path("certificate.json"), "--key", fingerprint])
                #expect(verified.contains("genuine") && verified.contains("ada, confirmed by ben"), "\(verified)")
                #expect(verified.contains("2099-12-31") && !verified.contains(alice.id))
                #expect(try await desk.ask("erase", "certificate", alice.id).contains(certificate))

                let again = try await Person.logIn("alice", in: deployment, device: "second")
                guard case .refused(404, _) = try await again.client.verdict(onKey: keys.own) else {
                    Issue.record("the key is there after the erasure")
                    return
                }
                guard case .allowed = try await again.client.verdict(onKey: try #require(keys.held)) else {
                    Issue.record("the held space is not there")
                    return
                }
                let signature = try #require(certificate.range(of: #"","key""#))
                let place = certificate.index(signature.lowerBound, offsetBy: -10)
                var forgery = certificate
                forgery.replaceSubrange(place...place, with: certificate[place] == "A" ? "B" : "A")
                try deployment.domain.write(forgery, to: "forged.json")
                let forged = try await desk.refused(
                    ["erase", "verify", desk.path("forged.json"), "--key", fingerprint], with: [])
                #expect(forged.code == 65 && !forged.text.contains("genuine"), "\(forged)")
                await alice.close()
                await again.close()
            }
        }
    }
}

import Cryptography
import Diagnostics
import EDiscoveryExport
import Foundation
import HDSClient
import HTTPClient
import JOSESignature
import PostgreSQLClient
import TestServers
import Testing
import WireText

extension StoryTests {
    @Suite("eDiscovery, with real people and real processes") struct EDiscoveryStoryTests {
        private static let password = "correct-horse-of-carol"

        private func prepare() async throws -> Deployment {
            let domain = try await Domain.make()
            func run(_ program: String, _ arguments: [String]) async throws -> String {
                try await ChildProcess.run(program, arguments, folder: domain.folder)
            }
            try await domain.enter(service: "ediscovery", cloud: ",feed:conversations,content:remove")
            // Who is the officer: a person like any other, for the authorization service.
            let account = """
                printf '%s\n' "$2" | "$1" add-account --accounts "$3" --email "carol@$4" --name Carol --organisation example
                """
            _ = try await run(
                "bash",
                [
                    "-euc", account, "account", Repository.program("hds-auth"), Self.password,
                    domain.path("auth/accounts.yaml"), domain["mail_domain"],
                ])
            try await domain.enterPolicyOfficer()
            return Deployment(domain)
        }

        /// - Parameter rows: of the configuration's section mirror, for a database that workers share.
        private func startWorker(
            in deployment: Deployment, node: String = "ediscovery-1", rows: String = ""
        ) throws -> (child: ChildProcess, port: Int) {
            let domain = deployment.domain
            let port = try LoopbackPort.take(), consolePort = try LoopbackPort.take()
            try domain.write(
                try domain.configuration(
                    of: "ediscovery", node: node, health: port,
                    """
                    mirror:
                      database: \(node).sqlite
                      directory: people.json
                    \(rows)
                    exports:
                      folder: exports
                      scratch: scratch
                      recipients: recipients.json
                    dlp:
                      rules:
                        - {name: payment cards, cards: true}
                    console:
                      address: 127.0.0.1:\(consolePort)
                    """), to: "ediscovery/\(node).yaml")
            let child = try ChildProcess(
                Repository.program("hds-ediscovery"), ["--config", domain.path("ediscovery/\(node).yaml")],
                output: domain.path("log/\(node).log"))
            return (child, port)
        }

        @Test(
            "An officer with consent gets what was written, said and deleted, also over a kill; nobody else does [HDS-EDISCOVERY-CONSENT]",
            .timeLimit(.minutes(5)))
        func story() async throws {
            let deployment = try await prepare()
            var workers: [ChildProcess] = []
            do {
                try await deployment.startAll()
                try await play(deployment, &workers)
                for child in workers { try await child.cut() }
                try await deployment.end()
            } catch {
                for child in workers { try? await child.cut() }
                try? await deployment.end()
                throw error
            }
        }

        @Test(
            "Killed in the middle of a report, a worker is followed by another on the same database, which ends it with equal items",
            .enabled(if: TestPostgreSQL.isInstalled), .timeLimit(.minutes(5)))
        func shared() async throws {
            let deployment = try await prepare()
            let server = try await TestPostgreSQL.start()
            var workers: [ChildProcess] = []
            do {
                try await deployment.startAll()
                try await takeOver(deployment, server, &workers)
                for child in workers { try await child.cut() }
                try await deployment.end()
            } catch {
                for child in workers { try? await child.cut() }
                try? await deployment.end()
                throw error
            }
        }

        private func takeOver(
            _ deployment: Deployment, _ server: TestPostgreSQL, _ workers: inout [ChildProcess]
        ) async throws {
            let domain = deployment.domain
            let alice = try await Person.logIn("alice", in: deployment)
            let carol = try await Person.logIn("carol", in: deployment, password: Self.password)
            try domain.write(#"{"people":[{"id":"\#(alice.id)"}]}"#, to: "ediscovery/people.json")
            try await domain.sign(
                policy: 1,
                "agents:\n  - {user: \(carol.id), matter: m7, notAfter: 2099-12-31}\nservices:\n"
                    + "  - {name: ediscovery, type: ediscovery, subject: hds-ediscovery, spaces: all, "
                    + "notAfter: 2099-12-31, mayActOnBehalf: true, formerMembers: true}\n")
            let password = try String(contentsOfFile: server.folder + "/password", encoding: .utf8)
            try domain.write(password, to: "ediscovery/database-password")
            _ = try await ChildProcess.run(
                "/bin/chmod", ["600", domain.path("ediscovery/database-password")], folder: domain.folder)
            let rows = """
                  postgresql:
                    hosts: ["\(server.host):\(server.port)"]
                    database: hds
                    user: hds
                    password: database-password
                    ca: \(server.folder)/root.pem
                """
                .split(separator: "\n").map { "  " + $0.drop { $0 == " " }.description }
            let indented = rows.enumerated().map { $0 == 0 ? $1 : "  " + $1 }.joined(separator: "\n")
            let (first, _) = try startWorker(in: deployment, node: "ediscovery-1", rows: indented)
            workers.append(first)
            let room = try await alice.spaces.create(name: "Long", with: [])
            // More than one step of a report.
            for number in 1...1100 { try await alice.spaces.post("message \(number)", in: room) }
            _ = try await eventually("the mirror", within: .seconds(90), seen: { first.tail() }) {
                let estimate = try? await ask(carol, "reports.estimate", #"{"name":"e","caseId":"m7"}"#)
                return estimate?["items"]?.integer == 1100 ? true : nil
            }
            let whole = try await ask(carol, "reports.create", #"{"name":"w","caseId":"m7"}"#)["id"]?.string ?? ""
            #expect(try await finished(carol, whole, first)["state"]?.string == "completed")
            let (second, _) = try startWorker(in: deployment, node: "ediscovery-2", rows: indented)
            workers.append(second)
            // The database holds the worker up in its second step; there it is killed.
            try await server.sql(
                """
                CREATE FUNCTION hds_ediscovery.hold_up() RETURNS trigger LANGUAGE plpgsql AS
                    'BEGIN IF NEW.place = 1050 THEN PERFORM pg_sleep(6); END IF; RETURN NEW; END';
                CREATE TRIGGER hold_up BEFORE INSERT ON hds_ediscovery.item FOR EACH ROW
                    EXECUTE FUNCTION hds_ediscovery.hold_up()
                """)
            let cut = try await ask(carol, "reports.create", #"{"name":"c","caseId":"m7"}"#)["id"]?.string ?? ""
            _ = try await eventually("the second step", within: .seconds(60), seen: { first.tail() }) {
                let busy = try await server.sql(
                    "SELECT CAST(count(*) AS TEXT) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
                return busy?.text(0, 0) == "1" ? true : nil
            }
            kill(first.pid, SIGKILL)
            try await first.cut()
            try await server.sql("DROP TRIGGER hold_up ON hds_ediscovery.item")
            let kept = try await server.sql(
                "SELECT CAST(count(*) AS TEXT) FROM hds_ediscovery.item WHERE report = '\(cut)'")
            #expect(kept?.text(0, 0) == "1000", "the first step is kept, nothing of the second")
            #expect(try await finished(carol, cut, second)["state"]?.string == "completed")
            func all(_ id: String) async throws -> [String] {
                var found: [String] = [], after: Int64? = 0
                while let place = after {
                    let page = try await ask(carol, "reports.items", #"{"id":"\#(id)","after":\#(place)}"#)
                    found += page["items"]?.elements?.map(\.rawText) ?? []
                    after = page["next"]?.integer
                }
                return found
            }
            let items = try await all(cut)
            #expect(items.count == 1100)
            #expect(try await all(whole) == items)
            // The audit of both workers is one, and so are reports.
            let trail = try await ask(carol, "audit.query")["entries"]?.elements ?? []
            #expect(trail.contains { $0["report"]?.string == cut } && trail.contains { $0["report"]?.string == whole })
            #expect(try await ask(carol, "reports.list")["reports"]?.elements?.count == 2)
            for person in [alice, carol] { await person.close() }
        }

        private func ask(
            _ officer: Person, _ command: String, _ body: String? = nil, matter: String? = "m7"
        ) async throws -> JSONNode {
            let answer = try await officer.spaces.ediscovery(command, matter: matter, body: body)
            guard answer.status == 200 else { throw Refused(text: "\(answer.status) \(answer.body)") }
            return try JSONDocument(text: answer.body).root
        }

        private struct Refused: Error { let text: String }

        private func finished(_ officer: Person, _ id: String, _ worker: ChildProcess) async throws -> JSONNode {
            try await eventually("the report", within: .seconds(60), seen: { worker.tail() }) {
                guard let report = try? await ask(officer, "reports.get", #"{"id":"\#(id)"}"#) else { return nil }
                let state = report["state"]?.string ?? ""
                return state.hasPrefix("completed") || state == "failed" ? report : nil
            }
        }

        private func items(_ officer: Person, _ id: String) async throws -> [String] {
            try await ask(officer, "reports.items", #"{"id":"\#(id)"}"#)["items"]?.elements?.map(\.rawText) ?? []
        }

        private func play(_ deployment: Deployment, _ workers: inout [ChildProcess]) async throws {
            let domain = deployment.domain
            let alice = try await Person.logIn("alice", in: deployment)
            let bob = try await Person.logIn("bob", in: deployment)
            let carol = try await Person.logIn("carol", in: deployment, password: Self.password)
            try domain.write(
                #"{"people":[{"id":"\#(alice.id)","name":"Alice","emails":["\#(alice.email)","al@alias.test"]},"#
                    + #"{"id":"\#(bob.id)","name":"Bob","emails":["\#(bob.email)"]}]}"#, to: "ediscovery/people.json")
            let room = try await alice.spaces.create(name: "Merger", with: [bob.email])
            let other = try await alice.spaces.create(name: "Lunch", with: [])
            try await alice.spaces.post("the zanzibar contract is unsigned", in: room)
            try await bob.spaces.post("I sign nothing", in: room)
            try await alice.spaces.post("soup at noon, no zanzibar", in: other)
            let bobs = try await alice.entries(of: room).last?.id ?? ""
            try await delete(bobs, of: bob, in: room, deployment)
            let document = URL(filePath: #filePath).deletingLastPathComponent()
                .appending(path: "../../TextExtractionTests/Documents/report.docx").standardized.path
            _ = try await alice.spaces.sendFile(document, to: room) { _, _, _ in }
            try await bob.spaces.leave(room)
            try await alice.spaces.post("bob is gone", in: room)

            // Without a consent it gets nothing, and says so.
            let (first, port) = try startWorker(in: deployment)
            workers.append(first)
            _ = try await eventually("the refusal", within: .seconds(60), seen: { first.tail() }) {
                let health = try? await HealthAddress(port: port, place: nil).answer("/healthz")
                return health.map { String(decoding: $0.body, as: UTF8.self).contains("HDS-EDISCOVERY-CONSENT") }
                    == true
                    ? true : nil
            }
            await #expect(throws: (any Error).self) { try await ask(carol, "reports.list") }

            try await domain.sign(
                policy: 1,
                "agents:\n  - {user: \(carol.id), matter: m7, notAfter: 2099-12-31}\nservices:\n"
                    + "  - {name: ediscovery, type: ediscovery, subject: hds-ediscovery, spaces: all, "
                    + "notAfter: 2099-12-31, mayActOnBehalf: true, formerMembers: true}\n")
            _ = try await eventually("the consent", within: .seconds(60), seen: { first.tail() }) {
                (try? await ask(carol, "reports.list")) != nil ? true : nil
            }
            // Who is no officer, and an officer of another matter.
            for (person, matter) in [(alice, "m7"), (carol, "m8")] {
                let answer = try await person.spaces.ediscovery("reports.list", matter: matter, body: nil)
                #expect(answer.status == 403, "\(answer.body)")
            }
            // Nobody of that address is an error with the list.
            let unknown = try await carol.spaces.ediscovery(
                "reports.create", matter: "m7",
                body: #"{"name":"x","caseId":"m7","subjects":{"emails":["nobody@nowhere.test"]}}"#)
            #expect(unknown.status == 400 && unknown.body.contains("nobody@nowhere.test"), "\(unknown.body)")

            // Everything of bob: also what he deleted, and nothing from after he left or from where he never was.
            let request =
                #"{"name":"bob","caseId":"m7","subjects":{"emails":["\#(bob.email.uppercased())"]},"#
                + #""types":["message","file","membership","spaceInfo"]}"#
            let lastPost = try await eventually("the mirror", within: .seconds(60), seen: { first.tail() }) {
                let all = try await ask(carol, "reports.create", #"{"name":"all","caseId":"m7"}"#)["id"]?.string ?? ""
                _ = try await finished(carol, all, first)
                let found = try await items(carol, all)
                return found.contains { $0.contains("bob is gone") } ? found : nil
            }
            #expect(lastPost.count == 5, "\(lastPost)")
            // What was deleted stays readable, before it was read and after.
            let contract = try #require(
                try await alice.entries(of: room).first {
                    if case .text(let text) = $0.content { text.contains("zanzibar") } else { false }
                })
            try await delete(contract.id, of: alice, in: room, deployment)
            _ = try await eventually("the deletion", within: .seconds(60), seen: { first.tail() }) {
                let all = try await ask(carol, "reports.create", #"{"name":"all","caseId":"m7"}"#)["id"]?.string ?? ""
                _ = try await finished(carol, all, first)
                let found = try await items(carol, all)
                return found.contains { $0.contains("zanzibar contract") && $0.contains("\"deletion\":{") } ? true : nil
            }
            let report = try await ask(carol, "reports.create", request)["id"]?.string ?? ""
            let done = try await finished(carol, report, first)
            #expect(done["state"]?.string == "completed", "\(done.rawText)")
            let found = try await items(carol, report)
            let texts = try found.compactMap { try JSONDocument(text: $0).root["text"]?.string }
            #expect(texts == ["Merger", "the zanzibar contract is unsigned", "I sign nothing"], "\(found)")
            #expect(found.contains { $0.contains("I sign nothing") && $0.contains("\"deletion\":{") })
            #expect(found.contains { $0.contains("report.docx") })
            #expect(found.contains { $0.contains("\"kind\":\"left\"") })

            // A word: parts of words count.
            let word = try await ask(
                carol, "reports.create", #"{"name":"w","caseId":"m7","keywords":{"terms":["ANZIBA"]}}"#)
            let hits = word["id"]?.string ?? ""
            _ = try await finished(carol, hits, first)
            let hit = try await items(carol, hits).map { try JSONDocument(text: $0).root }
            #expect(
                Set(hit.compactMap { $0["text"]?.string }) == [
                    "the zanzibar contract is unsigned", "soup at noon, no zanzibar",
                ])
            #expect(hit.count == 2)

            // Killed as soon as the order is taken: another process finds exactly the same.
            let again = try await ask(carol, "reports.create", request)["id"]?.string ?? ""
            kill(first.pid, SIGKILL)
            try await first.cut()
            let (second, _) = try startWorker(in: deployment)
            workers.append(second)
            _ = try await finished(carol, again, second)
            #expect(try await items(carol, again) == found)
            let trail = try await ask(carol, "audit.query").rawText
            #expect(trail.contains("\"outcome\":\"refused\"") && trail.contains("reports.items"))

            // As officers do it.
            func hds(_ arguments: [String]) async throws -> String {
                try await ChildProcess.run(
                    Repository.program("hds"), ["ediscovery"] + arguments + ["--matter", "m7"], folder: domain.folder,
                    environment: ["HDS_HOME": domain.path("home-carol-first")])
            }
            try domain.write(request, to: "home-carol-first-request.json")
            let made = try await hds(["create", "--request", domain.path("home-carol-first-request.json")])
            let own = try #require(try JSONDocument(text: made).root["id"]?.string)
            _ = try await finished(carol, own, second)
            #expect(try await hds(["items", own]).split(separator: "\n").map(String.init) == found)
            #expect(try await hds(["show", own]).contains("completed"))
            #expect(try await hds(["delete", own]).contains(own))
            await #expect(throws: (any Error).self) { try await hds(["show", own]) }

            try await destroy(carol, alice, bob, room, document, second, domain)

            // Nowhere in the clear: neither in the core, nor on the worker's disk, nor in a log.
            var search = SecretSearch()
            for text in [
                "the zanzibar contract is unsigned", "soup at noon, no zanzibar", "ANZIBA", "nobody@nowhere.test",
            ] {
                search.add("a text", text)
            }
            let files = SecretSearch.files(below: domain.folder).filter {
                !$0.hasPrefix(domain.path("home-")) && !$0.hasPrefix(domain.path("pki/"))
            }
            #expect(files.contains { $0.hasSuffix("ediscovery-1.sqlite") })
            let findings = try search.findings(in: files)
            #expect(findings.isEmpty, "\(findings)")
            for person in [alice, bob, carol] { await person.close() }
        }

        /// The file's octets are what was sent; what a hold keeps stays, what two officers erase is gone here and at the core.
        private func destroy(
            _ carol: Person, _ alice: Person, _ bob: Person, _ room: Space, _ document: String, _ worker: ChildProcess,
            _ domain: Domain
        ) async throws {
            let agents = [carol, alice].map { "  - {user: \($0.id), notAfter: 2099-12-31}\n" }.joined()
            try await domain.sign(
                policy: 2,
                "agents:\n\(agents)services:\n"
                    + "  - {name: ediscovery, type: ediscovery, subject: hds-ediscovery, spaces: all, "
                    + "notAfter: 2099-12-31, mayActOnBehalf: true, formerMembers: true}\n")
            _ = try await eventually("the second policy", within: .seconds(60), seen: { worker.tail() }) {
                (try? await ask(alice, "reports.list", matter: nil)) != nil ? true : nil
            }
            func report() async throws -> [String] {
                let request = #"{"name":"files","include":{"attachments":true}}"#
                let id = try await ask(carol, "reports.create", request, matter: nil)["id"]?.string ?? ""
                let state = try await eventually("the report", within: .seconds(60), seen: { worker.tail() }) {
                    let report = try await ask(carol, "reports.get", #"{"id":"\#(id)"}"#, matter: nil)
                    return (report["state"]?.string ?? "").hasPrefix("completed") ? report : nil
                }
                #expect(state["summary"]?["errors"]?["fileMissing"]?.integer == 0, "\(state.rawText)")
                return try await ask(carol, "reports.items", #"{"id":"\#(id)"}"#, matter: nil)["items"]?.elements?
                    .map(\.rawText) ?? []
            }
            let digest = Hexadecimal.encode(SHA256.hash([UInt8](try Data(contentsOf: URL(filePath: document)))))
            #expect(try await report().contains { $0.contains("report.docx") && $0.contains(digest) })

            try domain.write(#"{"name":"bob's words","custodians":{"userIds":["\#(bob.id)"]}}"#, to: "hold.json")
            func hds(_ person: String, _ arguments: [String]) async throws -> JSONNode {
                let text = try await ChildProcess.run(
                    Repository.program("hds"), ["ediscovery"] + arguments, folder: domain.folder,
                    environment: ["HDS_HOME": domain.path("home-\(person)-first")])
                return try JSONDocument(text: text).root
            }
            let hold = try await hds("carol", ["holds.create", "--request", domain.path("hold.json")])
            try domain.write(#"{"userIds":["\#(alice.id)"],"reason":"she asked for it"}"#, to: "erase.json")
            let erasure = try await hds("carol", ["subject.erase", "--request", domain.path("erase.json")])
            _ = try await hds(
                "alice",
                ["approvals.grant", erasure["id"]?.string ?? "", "--digest", erasure["digest"]?.string ?? ""])
            let certificate = try await eventually("the certificate", within: .seconds(30), seen: { worker.tail() }) {
                try? await hds("carol", ["certificates.get", erasure["id"]?.string ?? ""])["certificate"]
            }
            // Her messages in the room of both, up to his leaving, are held; the file and what came before it.
            #expect((certificate["held"]?.integer ?? 0) == 2, "\(certificate.rawText)")
            let left = try await report()
            #expect(
                left.contains { $0.contains("zanzibar contract") } && !left.contains { $0.contains("soup at noon") })
            #expect(!left.contains { $0.contains("bob is gone") }, "\(left)")
            _ = try await eventually("the core", within: .seconds(30), seen: { worker.tail() }) {
                let shown = try await alice.entries(of: room)
                return shown.contains { if case .text("bob is gone") = $0.content { true } else { false } } ? nil : true
            }
            #expect(hold["custodians"]?.strings == [bob.id])
            try await browse(carol, alice, room, hds, domain, worker)
            try await export(alice, room, hds, domain, worker)
        }

        /// What the console found goes out sealed for the officer, is opened with her key, and verifies with the KMS's certificate alone.
        private func export(
            _ alice: Person, _ room: Space, _ hds: (String, [String]) async throws -> JSONNode, _ domain: Domain,
            _ worker: ChildProcess
        ) async throws {
            try await alice.spaces.post("my card is 4111 1111 1111 1111", in: room)
            let finding = try await eventually("the finding", within: .seconds(30), seen: { worker.tail() }) {
                try await hds("carol", ["findings.list"])["findings"]?.elements?.first
            }
            #expect(finding["rule"]?.string == "payment cards" && !finding.rawText.contains("4111"))

            let key = try PrivateKey.generateP256()
            var json = JSONWriter()
            json.beginObject()
            json.name("keys")
            json.beginArray()
            JWK(publicKey: key.publicKey, kid: "carol", use: "enc").write(to: &json)
            json.endArray()
            json.endObject()
            try domain.write(json.text(), to: "ediscovery/recipients.json")
            try domain.write(#"{"name":"all","include":{"attachments":true}}"#, to: "report.json")
            let report =
                try await hds("carol", ["create", "--request", domain.path("report.json")])["id"]?.string ?? ""
            _ = try await eventually("the report", within: .seconds(30)) {
                let state = try await hds("carol", ["show", report])["state"]?.string ?? ""
                return state.hasPrefix("completed") ? true : nil
            }
            try domain.write(
                #"{"reportId":"\#(report)","encryptTo":"carol","bates":{"prefix":"M7-","digits":6,"start":1}}"#,
                to: "export.json")
            let order =
                try await hds("carol", ["exports.create", "--request", domain.path("export.json")])["id"]?.string ?? ""
            let made = try await eventually("the export", within: .seconds(60), seen: { worker.tail() }) {
                let export = try await hds("carol", ["exports.get", order])
                return export["state"]?.string == "waiting" ? nil : export
            }
            #expect(made["state"]?.string == "completed", "\(made.rawText)")
            #expect(try FileManager.default.contentsOfDirectory(atPath: domain.path("ediscovery/scratch")).isEmpty)
            try FileManager.default.createDirectory(
                atPath: domain.path("fetched/open"), withIntermediateDirectories: true)
            // Cut off in the middle, and gone on with.
            for _ in 0..<2 {
                _ = try await ChildProcess.run(
                    Repository.program("hds"), ["ediscovery", "download", order, "--into", domain.path("fetched")],
                    folder: domain.folder, environment: ["HDS_HOME": domain.path("home-carol-first")])
                let volume = domain.path("fetched/export.001.zip.sealed")
                let octets = try Data(contentsOf: URL(filePath: volume))
                let digest = made["files"]?.elements?.first { $0["name"]?.string == "export.001.zip.sealed" }?[
                    "sha256"]?.string
                #expect(Hexadecimal.encode(SHA256.hash([UInt8](octets))) == digest)
                try octets.prefix(octets.count / 2).write(to: URL(filePath: volume))
            }
            _ = try await ChildProcess.run(
                Repository.program("hds"), ["ediscovery", "download", order, "--into", domain.path("fetched")],
                folder: domain.folder, environment: ["HDS_HOME": domain.path("home-carol-first")])
            let opener = try ExportOpener(domain.path("fetched/export.001.zip.sealed"), with: key)
            try opener.write(to: domain.path("fetched/open/export.001.zip"))
            _ = try await ChildProcess.run(
                "/usr/bin/env",
                [
                    "python3", "-m", "zipfile", "-e", domain.path("fetched/open/export.001.zip"),
                    domain.path("fetched/open"),
                ], folder: domain.folder)
            let verified = try await ChildProcess.run(
                Repository.program("hdsctl"),
                [
                    "ediscovery", "verify", domain.path("fetched/open/export"), "--key",
                    domain.path("pki/customer/kms.pem"),
                ], folder: domain.folder)
            #expect(!verified.isEmpty)
            let items = try domain.read("fetched/open/export/data/items.jsonl")
            #expect(items.contains("zanzibar contract") && items.contains("4111 1111 1111 1111"))
            #expect(items.contains("\"number\":\"M7-000001\""))
            // What is sealed tells nothing; what was opened here goes before the search for secrets.
            try FileManager.default.removeItem(atPath: domain.path("fetched/open"))
        }

        /// The console in a real browser, and the HTTP interface with a token of an officer.
        private func browse(
            _ carol: Person, _ alice: Person, _ room: Space,
            _ hds: (String, [String]) async throws -> JSONNode, _ domain: Domain, _ worker: ChildProcess
        ) async throws {
            let hostile = "<img src=x onerror=document.title='taken'> zanzibar"
            try await alice.spaces.post(hostile, in: room)
            try domain.write(
                #"{"name":"zanzibar","keywords":{"terms":["zanzibar"]},"include":{"context":{"before":1}}}"#,
                to: "console.json")
            let report = try await eventually("the hostile message", within: .seconds(30), seen: { worker.tail() }) {
                let id =
                    try await hds("carol", ["create", "--request", domain.path("console.json")])["id"]?.string ?? ""
                _ = try await eventually("the report", within: .seconds(30)) {
                    let state = try await hds("carol", ["show", id])["state"]?.string ?? ""
                    return state.hasPrefix("completed") ? true : nil
                }
                let items = try await ask(carol, "reports.items", #"{"id":"\#(id)"}"#, matter: nil).rawText
                return items.contains("onerror") ? id : nil
            }
            // The HTTP interface.
            let token = try await hds("carol", ["token"])
            let base = token["url"]?.string ?? "", secret = token["token"]?.string ?? ""
            func web(_ path: String, _ secret: String?) async throws -> (Int, String) {
                let header = secret.map { ["-H", "Authorization: Bearer \($0)"] } ?? []
                let text = try await ChildProcess.run(
                    "/usr/bin/env", ["curl", "-s", "-w", "\n%{http_code}", base + path] + header, folder: domain.folder)
                let lines = text.split(separator: "\n")
                return (Int(lines.last ?? "") ?? 0, lines.dropLast().joined(separator: "\n"))
            }
            #expect(try await web("/reports", nil).0 == 401)
            #expect(try await web("/reports", "x" + secret).0 == 401)
            let listed = try await web("/reports/\(report)/items?limit=1", secret)
            #expect(listed.0 == 200 && listed.1.contains("\"next\":1"), "\(listed)")
            guard Browser.isHere else {
                return print(
                    "skipped: THE CONSOLE WAS NOT OPENED: there is no chromium here (apt-get install chromium)")
            }
            func link(_ place: String = "") async throws -> String {
                (try await hds("carol", ["console"])["url"]?.string ?? "") + place
            }
            let list = try await Browser.open(link(), in: domain.folder, ["--dump-dom"])
            #expect(
                list.contains(carol.id) && list.contains(">zanzibar</button>") && list.contains("completed"), "\(list)")
            let used = try await link("/report/\(report)")
            let shown = try await Browser.open(used, in: domain.folder, ["--dump-dom"])
            #expect(shown.contains("<mark>zanzibar</mark>") && shown.contains("class=\"context\""), "\(shown)")
            #expect(shown.contains("&lt;img src=x onerror") && !shown.contains("<img"))
            #expect(!shown.contains("<title>taken") && !shown.contains("[object"), "\(shown)")
            // The link was good once; the page that was left keeps nothing.
            let again = try await Browser.open(used, in: domain.folder + "/second", ["--dump-dom"])
            #expect(again.contains("Not signed in") && again.contains("was used before"), "\(again)")
            let picture = domain.path("console.png")
            _ = try await Browser.open(
                link("/report/\(report)"), in: domain.folder, ["--screenshot=\(picture)"])
            let bytes = try Data(contentsOf: URL(fileURLWithPath: picture))
            #expect(bytes.starts(with: [0x89, 0x50, 0x4E, 0x47]) && bytes.count > 30_000, "\(bytes.count) octets")
            if let kept = ProcessInfo.processInfo.environment["HDS_SCREENSHOTS"] {
                for place in ["report/\(report)", "search", "holds", "destruction", "approvals", "audit"] {
                    let name = place.prefix { $0 != "/" }
                    _ = try await Browser.open(
                        link("/" + place), in: domain.folder, ["--screenshot=\(kept)/console-\(name).png"])
                }
            }
            var search = SecretSearch()
            search.add("a text", "zanzibar contract")
            search.add("a name", "Alice")
            let findings = try search.findings(in: SecretSearch.files(below: domain.folder + "/browser"))
            #expect(findings.isEmpty, "the browser kept \(findings)")
        }

        /// As clients delete their message at the core.
        private func delete(_ message: String, of person: Person, in space: Space, _ deployment: Deployment)
            async throws
        {
            let token = try #require(try person.store.current().tokens).cloud.reveal { $0 }
            let web = try deployment.coreClient()
            let answer = try await web.send(
                WebRequest(
                    method: "POST", url: deployment.domain.coreURL + "/conversations/\(space.id)/activities",
                    headers: [("Authorization", "Bearer " + token), ("Content-Type", "application/json")],
                    body: Array(
                        #"{"verb":"delete","object":{"objectType":"activity","id":"\#(message)"}}"#.utf8)))
            #expect((200...299).contains(answer.status), "\(answer.status)")
            await web.close()
        }
    }
}

import Diagnostics
import Foundation
import Glibc
import HDSClient
import HTTPClient
import KMSClient
import KMSProtocol
import TestServers
import TestVectors
import Testing
import WireText

extension StoryTests {
    @Suite("Encrypted search, with real people, real messages and real processes") struct SearchStoryTests {
        private static let corpus = "chat/irc_ubuntu.jsonl.gz"

        /// Messages as they were said, of one room.
        private static func chat(_ count: Int, in folder: String) async throws -> [String] {
            let text = try await ChildProcess.run(
                "bash", ["-c", "zcat \"$1\" | head -n \"$2\" || true", "chat", SharedData.path(corpus), "\(count)"],
                folder: folder)
            return try text.split(separator: "\n").compactMap {
                try JSONDocument(Array($0.utf8)).root["text"]?.string
            }
        }

        /// The domain with an officer, an account for the indexer, and its configuration; no policy yet.
        private func prepare() async throws -> Deployment {
            let domain = try await Domain.make()
            try await domain.enter(service: "indexer", cloud: ",feed:conversations")
            try await domain.enterPolicyOfficer()
            return Deployment(domain)
        }

        /// An indexer of that name, with a database and a health address of its own.
        private func startIndexer(
            _ name: String, profile: String = "padded", indexAnew: Bool = false, in deployment: Deployment
        ) throws -> (child: ChildProcess, port: Int) {
            let domain = deployment.domain
            let port = try LoopbackPort.take()
            try domain.write(
                try domain.configuration(
                    of: "indexer", node: name, health: port,
                    """
                    index:
                      database: \(name).sqlite
                      profile: \(profile)
                      index-anew: \(indexAnew)
                      files:
                        reader: \(Repository.program("hds-extract"))
                    control:
                      socket: \(domain.path("indexer/\(name).sock"))
                    """), to: "indexer/\(name).yaml")
            let child = try ChildProcess(
                Repository.program("hds-indexer"), ["--config", domain.path("indexer/\(name).yaml")],
                output: domain.path("log/\(name).log"))
            return (child, port)
        }

        private static let consent =
            "services:\n  - {name: indexer, type: search-indexing, subject: hds-indexer, spaces: all, "
            + "notAfter: 2099-12-31}\n"

        @Test(
            "Nothing without consent; then every word is found, also after a kill, and nobody but the indexer sees one",
            .enabled(if: SharedData.isAvailable(corpus)), .timeLimit(.minutes(10)))
        func story() async throws {
            let deployment = try await prepare()
            var indexers: [ChildProcess] = []
            do {
                try await deployment.startAll()
                try await play(deployment, &indexers)
                for child in indexers { try await child.cut() }
                try await deployment.end()
            } catch {
                for child in indexers { try? await child.cut() }
                try? await deployment.end()
                throw error
            }
        }

        private func health(_ port: Int) async -> (status: Int, text: String)? {
            guard let answer = try? await HealthAddress(port: port, place: nil).answer("/healthz") else { return nil }
            return (answer.status, String(decoding: answer.body, as: UTF8.self))
        }

        private func texts(_ outcome: SearchOutcome) -> [String] {
            outcome.found.compactMap { if case .text(let text) = $0.entry.content { text } else { nil } }
        }

        private func play(_ deployment: Deployment, _ indexers: inout [ChildProcess]) async throws {
            let domain = deployment.domain
            let alice = try await Person.logIn("alice", in: deployment)
            let bob = try await Person.logIn("bob", in: deployment)
            let room = try await alice.spaces.create(name: "Helpdesk", with: [bob.email])
            let secret = try await alice.spaces.create(name: "Diary", with: [])

            // Without a consent it gets nothing, and says so.
            let (first, port) = try startIndexer("indexer-1", in: deployment)
            indexers.append(first)
            _ = try await eventually("the refusal", within: .seconds(60), seen: { first.tail() }) {
                let health = await health(port)
                return health?.text.contains("HDS-INDEX-CONSENT") == true ? true : nil
            }
            await #expect(throws: (any Error).self) { try await bob.spaces.search("partitions") }

            try await domain.sign(policy: 1, Self.consent)
            let lines = try await Self.chat(300, in: domain.folder)
            let firstHalf = Array(lines.prefix(150)), secondHalf = Array(lines.dropFirst(150))
            for (index, line) in firstHalf.enumerated() where !line.isEmpty {
                try await (index % 2 == 0 ? alice : bob).spaces.post(line, in: room)
            }
            try await alice.spaces.post("partitions are mine alone", in: secret)
            _ = try await eventually("the index", within: .seconds(120), seen: { first.tail() }) {
                let found = try? await alice.spaces.search("mine alone")
                return found?.found.isEmpty == false ? true : nil
            }
            #expect(await health(port)?.text.contains("HDS-INDEX-CONSENT") == false)

            // Two indexers run; the one that reads is killed in the middle of a batch that was held up, and the other, which
            // has waited, takes over.
            let (second, secondPort) = try startIndexer("indexer-2", in: deployment)
            indexers.append(second)
            _ = try await eventually("the second one", within: .seconds(60), seen: { second.tail() }) {
                await health(secondPort)?.text.contains("another indexer reads") == true ? true : nil
            }
            for (index, line) in secondHalf.enumerated() where !line.isEmpty {
                if index == 20 { first.send(SIGSTOP) }
                try await (index % 2 == 0 ? alice : bob).spaces.post(line, in: room)
                if index == 100 {
                    first.send(SIGCONT)
                    try await first.cut()
                }
            }
            let last = "the very last word is xylophone"
            try await bob.spaces.post(last, in: room)
            _ = try await eventually("the rest", within: .seconds(120), seen: { second.tail() }) {
                let found = try? await bob.spaces.search("xylophone")
                return found.map(texts) == [last] ? true : nil
            }

            // Every word as a plain search finds it, and each message once.
            let all = lines.filter { !$0.isEmpty } + [last]
            func everyWordIsFound() async throws {
                for word in ["partitions", "servers", "windows", "kernel", "install", "thanks", "xylophone"] {
                    let expected = all.filter { text in
                        text.lowercased().split { !$0.isLetter && !$0.isNumber }.contains(Substring(word))
                    }
                    let found = try await bob.spaces.search(word, limit: 100)
                    let ids = found.found.map(\.entry.id)
                    #expect(Set(ids).count == ids.count, "\(word): nothing twice")
                    #expect(found.leftOut.isEmpty, "\(word): \(found.leftOut)")
                    // What was said twice is found twice; other forms of the word are found as well.
                    var left = texts(found)
                    for text in expected {
                        let place = left.firstIndex(of: text)
                        #expect(place != nil, "\(word): \(text)")
                        if let place { left.remove(at: place) }
                    }
                }
            }
            try await everyWordIsFound()
            // Words that the first one indexed, by a part of them: the second has learned them.
            let parted = all.count { text in
                text.lowercased().split { !$0.isLetter && !$0.isNumber }.contains { $0.hasPrefix("partiti") }
            }
            _ = try await eventually("\(parted) parts of words", within: .seconds(60), seen: { second.tail() }) {
                let found = try? await bob.spaces.search("partiti*", limit: 100)
                return found?.found.count == parted ? true : nil
            }
            let phrase = try await texts(bob.spaces.search("\"very last word\""))
            #expect(phrase == [last])
            #expect(try await texts(bob.spaces.search("xyloph*")) == [last])
            #expect(try await texts(bob.spaces.search("xylophome~")) == [last])
            #expect(try await texts(bob.spaces.search("xylophone from:\(bob.email)")) == [last])
            #expect(try await bob.spaces.search("xylophone from:\(alice.email)").found.isEmpty)
            #expect(try await bob.spaces.search("mine alone").found.isEmpty, "a space that bob is not in")
            #expect(try await texts(alice.spaces.search("partitions", in: secret)) == ["partitions are mine alone"])

            // An edited message is found by its new words alone, a deleted one by none.
            let number = try await bob.spaces.post("a remark about zeppelins", in: room)
            let remark = try await bob.spaces.entry(number, in: room).id
            func found(_ words: String, _ expected: [String]) async throws {
                _ = try await eventually("\(words): \(expected)", within: .seconds(60), seen: { second.tail() }) {
                    let found = try? await alice.spaces.search(words)
                    return found.map(texts) == expected ? true : nil
                }
            }
            try await found("zeppelins", ["a remark about zeppelins"])
            await #expect(throws: (any Error).self) { try await alice.spaces.edit(remark, to: "not mine", in: room) }
            try await bob.spaces.edit(remark, to: "a remark about submarines", in: room)
            try await found("submarines", ["a remark about submarines"])
            try await found("zeppelins", [])
            let edited = try await alice.spaces.entry(number, in: room)
            #expect(edited.edited != nil)
            if case .text(let text) = edited.content { #expect(text == "a remark about submarines") }
            // As people do it.
            func hds(_ words: String...) async throws -> String {
                try await ChildProcess.run(
                    Repository.program("hds"), words, folder: domain.folder,
                    environment: ["HDS_HOME": domain.path("home-bob-first")])
            }
            #expect(try await hds("edit", room.id, "\(number)", "a", "remark about dirigibles").contains("new text"))
            try await found("dirigibles", ["a remark about dirigibles"])
            let shown = try await hds("read", room.id, "--since", "\(number - 1)")
            #expect(shown.contains("a remark about dirigibles  (edited)"), "\(shown)")
            #expect(try await hds("delete", room.id, "\(number)").contains("is deleted"))
            try await found("dirigibles", [])
            #expect(try await hds("read", room.id, "--since", "\(number - 1)").contains("deleted"))
            await #expect(throws: (any Error).self, "what is deleted has no text any more") {
                _ = try await hds("edit", room.id, "\(number)", "again")
            }

            // What stands in a document, which is read in a process of its own; and its name.
            let document = URL(filePath: #filePath).deletingLastPathComponent()
                .appending(path: "../../TextExtractionTests/Documents/report.docx").standardized.path
            _ = try await alice.spaces.sendFile(document, to: room) { _, _, _ in }
            for words in ["\"recovered fully\"", "müller quarterly", "report.docx"] {
                _ = try await eventually("the document by \(words)", within: .seconds(60), seen: { second.tail() }) {
                    let found = try? await bob.spaces.search(words).found
                    return found?.contains { if case .files = $0.entry.content { true } else { false } } == true
                        ? true : nil
                }
            }

            // As people do it.
            let printed = try await ChildProcess.run(
                Repository.program("hds"), ["search", "xylophone", "--json"], folder: domain.folder,
                environment: ["HDS_HOME": domain.path("home-bob-first")])
            #expect(printed.contains(last))

            // What the cloud has kept of a query is worth nothing.
            try await repeated(deployment)

            // What an attacker who owns the cloud could say of all this.
            let report = try await ChildProcess.run(
                Repository.program("hdsctl"),
                [
                    "search", "leak-report", "--socket", domain.path("indexer/indexer-2.sock"), "--messages", "1000",
                    "--known", "100", "--json",
                ], folder: domain.folder, within: .seconds(300))
            let leak = try JSONDocument(Array(report.utf8)).root
            #expect(leak["profile"]?.string == "padded" && leak["notAuthentic"]?.integer == 0, "\(report)")
            #expect(leak["figures"]?.elements?.count == 12 && (leak["messages"]?.integer ?? 0) > 200)

            let printedReport = try await ChildProcess.run(
                Repository.program("hdsctl"),
                ["search", "leak-report", "--socket", domain.path("indexer/indexer-2.sock"), "--known", "50"],
                folder: domain.folder, within: .seconds(300))
            for part in ["profile padded", "NAMED RIGHT", "one key for all", "salted"] {
                #expect(printedReport.contains(part), "\(printedReport)")
            }

            // Another profile: refused without a word in the configuration; with it everything is indexed anew, also when it is
            // killed meanwhile, and nothing is lost or found twice.
            try await second.cut()
            let (refusing, _) = try startIndexer("indexer-2", profile: "salted", in: deployment)
            indexers.append(refusing)
            #expect(try await refusing.end() == .exit(78), "\(refusing.tail())")
            let (anew, _) = try startIndexer("indexer-2", profile: "salted", indexAnew: true, in: deployment)
            indexers.append(anew)
            _ = try await eventually("some of it", within: .seconds(60), seen: { anew.tail() }) {
                let found = try? await bob.spaces.search("xylophone")
                return found?.leftOut.isEmpty == false ? true : nil
            }
            try await anew.cut()
            let (third, thirdPort) = try startIndexer("indexer-2", profile: "salted", indexAnew: true, in: deployment)
            indexers.append(third)
            _ = try await eventually("all of it", within: .seconds(120), seen: { third.tail() }) {
                let found = try? await bob.spaces.search("xylophone")
                return found.map { $0.leftOut.isEmpty && texts($0) == [last] } == true ? true : nil
            }
            try await everyWordIsFound()

            // The consent ends.
            try await domain.sign(policy: 2, "")
            _ = try await eventually("the end of the consent", within: .seconds(120), seen: { third.tail() }) {
                let text = await health(thirdPort)?.text ?? ""
                return text.contains("HDS-INDEX-CONSENT") ? true : nil
            }
            await #expect(throws: (any Error).self) { try await bob.spaces.search("xylophone") }

            // Nowhere in the clear: neither in the core, nor on the indexer's disk, nor in a log.
            var search = SecretSearch()
            for line in all where line.utf8.count >= 24 { search.add("a message", line) }
            // Words that programs and their configuration do not have themselves.
            let own = try Self.ownText()
            let words = Set(all.flatMap { $0.split { !$0.isLetter }.filter { $0.count >= 10 }.map(String.init) })
                .filter { !own.contains($0.lowercased()) }
            #expect(words.count > 10)
            for word in words { search.add("the word \(word)", word) }
            let files = SecretSearch.files(below: domain.folder).filter {
                !$0.hasPrefix(domain.path("home-")) && !$0.hasPrefix(domain.path("pki/"))
            }
            let findings = try search.findings(in: files)
            #expect(findings.isEmpty, "\(findings)")
            try domain.write(all[0], to: "control-of-the-search")
            search.add("control", all[0])
            #expect(try !search.findings(in: [domain.path("control-of-the-search")]).isEmpty || all[0].utf8.count < 24)
            await alice.close()
            await bob.close()
        }

        /// What stands in the sources and the configuration of the repository, in small letters.
        private static func ownText() throws -> String {
            let root = URL(filePath: #filePath).pathComponents.dropLast(4).joined(separator: "/")
            var text = ""
            for folder in ["Sources", "config", "Tests/StoryTests"] {
                for file in SecretSearch.files(below: root + "/" + folder) {
                    text += (try? String(contentsOfFile: file, encoding: .utf8))?.lowercased() ?? ""
                }
            }
            return text
        }

        /// The same sealed query a second time, as the core could send it.
        private func repeated(_ deployment: Deployment) async throws {
            let device = try await Person.logIn("bob", in: deployment, device: "second")
            _ = try await device.spaces.search("xylophone")
            let state = try device.store.current()
            let uri = try #require(state.searchKey)
            let key = try #require(state.keys[uri])
            let query = try EncryptedText(encrypting: "xylophone", under: key.key)
            let token = try #require(state.tokens).cloud.reveal { $0 }
            let web = try deployment.coreClient()
            func ask() async throws -> Int {
                try await web.send(
                    WebRequest(
                        method: "POST", url: deployment.domain.coreURL + "/search",
                        headers: [("Authorization", "Bearer " + token), ("Content-Type", "application/json")],
                        body: Array(#"{"query":"\#(query.jwe)","searchEncryptionKeyUrl":"\#(uri)"}"#.utf8))
                ).status
            }
            #expect(try await ask() == 200)
            #expect(try await ask() == 409)
            await web.close()
            await device.close()
        }
    }
}

import AuditTrail
import Cryptography
import Foundation
import Synchronization
import TestServers
import Testing
import WireText

extension StoryTests {
    @Suite("hdsctl on the files of an audit trail") struct AuditToolTests {
        /// A key file, a trail of two hours with its witness, and the tool.
        private final class Scene: Sendable {
            let root = FileManager.default.temporaryDirectory.path + "/hds-audit-tool-\(UUID().uuidString)"
            let fingerprint: String
            let ids: [AuditID]
            let trail: String
            var folder: String { root + "/audit" }
            var witness: String { root + "/witness" }

            init() async throws {
                try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
                try await ChildProcess.run(
                    Repository.program("hdsctl"), ["attestation-key", "create", root + "/key"], folder: root)
                let key = try AttestationKey.load(fromFile: root + "/key")
                fingerprint = key.fingerprint
                let start = try #require(Timestamp(iso8601: "2026-11-26T11:05:00Z"))
                let now = Mutex(start)
                var configuration = AuditTrailConfiguration(folder: root + "/audit", node: "kms-1", key: key)
                configuration.witnesses = [FileWitness(root + "/witness")]
                configuration.clock = { now.withLock { $0 } }
                let trail = try await AuditTrail.open(configuration)
                var ids: [AuditID] = []
                for number in 0..<6 {
                    let time = start.adding(seconds: number < 4 ? 0 : 3600)
                    now.withLock { $0 = time }
                    var record = AuditRecord(.decision, at: time)
                    record.user = "u:\(number % 2)"
                    record.requestId = "\u{1B}[31mred"
                    record.status = 200
                    try await trail.keep(record)
                    ids.append(record.id)
                }
                try await trail.sealHead(now: start.adding(seconds: 3660), position: 6)
                await trail.witnessesSettled()
                try await trail.close()
                self.ids = ids
                self.trail = trail.trail
            }

            deinit { try? FileManager.default.removeItem(atPath: root) }

            func run(_ arguments: String..., expecting code: Int32 = 0) async throws -> String {
                try await run(arguments, expecting: code)
            }

            func run(_ arguments: [String], expecting code: Int32) async throws -> String {
                let child = try ChildProcess(
                    Repository.program("hdsctl"), arguments, output: root + "/\(UUID().uuidString).log")
                #expect(try await child.end() == .exit(code), "\(arguments): \(child.tail())")
                return child.log()
            }

            func change(_ name: String, _ old: String, _ new: String) throws {
                let text = try String(contentsOfFile: "\(folder)/\(name)", encoding: .utf8)
                try #require(text.contains(old))
                let range = try #require(text.range(of: old))
                let changed = text.replacingCharacters(in: range, with: new)
                try changed.write(toFile: "\(folder)/\(name)", atomically: false, encoding: .utf8)
            }
        }

        @Test("verify tells what is proven, and the first break with exit code 65")
        func verify() async throws {
            let scene = try await Scene()
            let text = try await scene.run(
                "audit", "verify", scene.folder, "--key", scene.fingerprint, "--witness", scene.witness)
            #expect(text.contains("proven: records 1 to"))
            #expect(text.contains("trail \(scene.trail) of node kms-1"))
            let json = try await scene.run("audit", "verify", scene.folder, "--key", scene.root + "/key", "--json")
            #expect(json.hasPrefix("{\"node\":\"kms-1\"") && json.contains("\"unsealed\":0"))
            _ = try await scene.run("audit", "verify", scene.folder, expecting: 64)
            // A fingerprint may begin with a hyphen and is then still a fingerprint, here of a key that signed nothing.
            let hyphen = "-" + String(repeating: "A", count: 42)
            let unknown = try await scene.run("audit", "verify", scene.folder, "--key", hyphen, expecting: 65)
            #expect(unknown.contains("[attestation-key-unknown]"))

            try scene.change("kms-1.0000000000000001.audit", "\"status\":200", "\"status\":403")
            let broken = try await scene.run("audit", "verify", scene.folder, "--key", scene.fingerprint, expecting: 65)
            #expect(broken.contains("kms-1.0000000000000001.audit line 2: record 2"))
            #expect(broken.contains("expected chain") && broken.contains("[audit-chain-broken]"))
        }

        @Test("verify checks time stamps with their authority's certificates, and says what they prove")
        func timeStamps() async throws {
            let scene = try await Scene()
            let authority = try await onOwnThread { try TestTimeAuthority() }
            let stamps = scene.root + "/stamps"
            let later = try #require(Timestamp(iso8601: "2026-11-26T13:05:00Z"))
            var configuration = AuditTrailConfiguration(
                folder: scene.folder, node: "kms-1", key: try AttestationKey.load(fromFile: scene.root + "/key"))
            configuration.clock = { later }
            let roots = try Certificate.all(inPEM: authority.root)
            configuration.witnesses = [
                TimeStampWitness("tsa", file: stamps, roots: roots) { query in
                    try await onOwnThread { try authority.reply(to: query) }
                }
            ]
            let trail = try await AuditTrail.open(configuration)
            try await trail.sealHead(now: later)
            try await trail.close()
            await trail.witnessesSettled()
            func verify(_ more: String..., expecting code: Int32 = 0) async throws -> String {
                var arguments = ["audit", "verify", scene.folder, "--key", scene.fingerprint, "--witness", stamps]
                arguments += more
                return try await scene.run(arguments, expecting: code)
            }
            let text = try await verify("--tsa-ca", authority.folder.path + "/root.pem")
            #expect(text.contains("time-stamped: records 1 to") && text.contains("says CN=Time-good"))
            #expect(try await verify().contains("time stamps, for want of their authority's CA certificate"))
            let foreign = try await verify("--tsa-ca", authority.folder.path + "/other.pem", expecting: 65)
            #expect(foreign.contains("[time-stamp-invalid]") && foreign.contains("stamps line 1"))
        }

        @Test("show finds records and lets no control character through; --json prints the lines as they are")
        func show() async throws {
            let scene = try await Scene()
            let text = try await scene.run("audit", "show", scene.folder, "--user", "u:1", "--newest-first")
            let lines = text.split(separator: "\n")
            #expect(lines.count == 3)
            #expect(lines.first?.contains(scene.ids[5].description) == true)
            #expect(text.contains("requestId=?[31mred") && !text.contains("\u{1B}"))
            let json = try await scene.run("audit", "show", scene.folder, "--id", scene.ids[2].description, "--json")
            #expect(json.hasPrefix("{\"seq\":4,\"id\":\"\(scene.ids[2])\""))
            _ = try await scene.run("audit", "show", scene.folder, "--since", "yesterday", expecting: 65)
        }

        @Test("A proof is checked by somebody who has only the fingerprint; one that was touched is refused")
        func prove() async throws {
            let scene = try await Scene()
            let proof = try await scene.run(
                "audit", "prove", scene.ids[1].description, scene.folder, "--key", scene.fingerprint)
            let path = scene.root + "/proof.json"
            try proof.write(toFile: path, atomically: false, encoding: .utf8)
            let text = try await scene.run("audit", "verify-proof", path, "--key", scene.fingerprint)
            #expect(text.contains(scene.ids[1].description) && text.contains("proven: record 3 of node kms-1"))
            let touched = proof.replacingOccurrences(of: "\\\"u:1\\\"", with: "\\\"u:2\\\"")
            #expect(touched != proof)
            try touched.write(toFile: path, atomically: false, encoding: .utf8)
            _ = try await scene.run("audit", "verify-proof", path, "--key", scene.fingerprint, expecting: 65)
            // Its hour is not over.
            _ = try await scene.run(
                "audit", "prove", scene.ids[5].description, scene.folder, "--key", scene.fingerprint, expecting: 65)
        }

        @Test("An export verifies like the trail; a new key is believed by the old fingerprint")
        func export() async throws {
            let scene = try await Scene()
            let out = scene.root + "/export"
            _ = try await scene.run("audit", "export", scene.folder, out, "--key", scene.fingerprint)
            let text = try await scene.run("audit", "verify", out, "--key", scene.fingerprint)
            #expect(text.contains("1 segments, 1 roots"))
            #expect(FileManager.default.fileExists(atPath: scene.folder + "/exported"))

            _ = try await scene.run("attestation-key", "create", scene.root + "/key2")
            let jwk = try await scene.run("attestation-key", "fingerprint", scene.root + "/key2", "--jwk")
            try jwk.write(toFile: scene.root + "/jwk", atomically: false, encoding: .utf8)
            let succession = try await scene.run("attestation-key", "succeed", scene.root + "/key", scene.root + "/jwk")
            let key = try AttestationKey.load(fromFile: scene.root + "/key2")
            var configuration = AuditTrailConfiguration(folder: scene.folder, node: "kms-1", key: key)
            configuration.successions = [succession.trimmingCharacters(in: .whitespacesAndNewlines)]
            try await AuditTrail.open(configuration).close()
            let after = try await scene.run("audit", "verify", scene.folder, "--key", scene.fingerprint)
            #expect(after.contains("signed by \(key.fingerprint)"))
            _ = try await scene.run("audit", "verify", scene.folder, "--key", key.fingerprint, expecting: 65)
        }

        @Test("The recipe of the documentation verifies the chain without this project's code, and finds a change")
        func recipe() async throws {
            let scene = try await Scene()
            let page = try String(contentsOfFile: Repository.root + "/docs/audit.md", encoding: .utf8)
            let start = try #require(page.range(of: "```bash\n"))
            let end = try #require(page[start.upperBound...].range(of: "```"))
            let script = scene.root + "/recipe"
            try page[start.upperBound..<end.lowerBound].write(toFile: script, atomically: false, encoding: .utf8)
            let segments = ["0000000000000001", "0000000000000006"].map { "\(scene.folder)/kms-1.\($0).audit" }
            let arguments = [script, "kms-1", scene.trail] + segments
            #expect(try await ChildProcess.run("bash", arguments, folder: scene.root).contains("the chain holds"))
            try scene.change("kms-1.0000000000000006.audit", "\"u:1\"", "\"u:0\"")
            let child = try ChildProcess("bash", arguments, output: scene.root + "/recipe.log")
            _ = try await child.end()
            #expect(child.log().contains("broken: {\"seq\":8") && !child.log().contains("the chain holds"))
        }
    }
}

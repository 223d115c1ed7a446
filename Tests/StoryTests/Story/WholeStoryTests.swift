import Foundation
import HDSClient
import KMSClient
import KMSProtocol
import Testing
import WireText

extension StoryTests {
    @Suite("The story") struct WholeStoryTests {
        @Test("Two people exchange texts and a file, one leaves, and nothing secret is left anywhere")
        func story() async throws {
            try await Deployment.with { deployment in
                var gathered = GatheredSecrets()
                let alice = try await Person.logIn("alice", in: deployment)
                let bob = try await Person.logIn("bob", in: deployment)
                let binary = try Material.binary()
                try FileManager.default.createDirectory(
                    atPath: deployment.domain.path("given"), withIntermediateDirectories: true)
                let original = deployment.domain.path("given/plan.pdf")
                try Data(binary).write(to: URL(fileURLWithPath: original))

                let space = try await alice.spaces.create(name: "A confidential matter", with: [])
                for line in Material.lines { try await alice.spaces.post(line, in: space) }
                let sent = try await alice.spaces.sendFile(original, to: space) { _, _, _ in }
                #expect(sent.size == binary.count)
                _ = try await alice.spaces.add(bob.email, to: space)

                let seen = try await bob.spaces.find("A confidential matter")
                #expect(seen.id == space.id)
                #expect(try await bob.texts(of: seen) == Material.lines)
                let file = try await bob.spaces.findFile("plan.pdf", in: seen)
                let copy = deployment.domain.path("given/copy.pdf")
                let fetched = try await bob.spaces.fetch(file, to: copy, overwriting: false) { _, _, _ in }
                #expect(fetched.sha256 == sent.sha256)
                #expect(try Data(contentsOf: URL(fileURLWithPath: copy)) == Data(binary))
                #expect(try await alice.spaces.participants(of: space).filter(\.hasKeys).count == 2)
                for person in [alice, bob] { try gathered.gather(person) }

                let before = try alice.keyURIs(of: space)
                try await bob.spaces.leave(seen)
                try await alice.spaces.post(Material.afterwards, in: space)
                let after = try alice.keyURIs(of: space)
                let rotated = after.subtracting(before)
                #expect(before.count == 1)
                #expect(rotated.count == 1)
                for uri in before.union(rotated) {
                    guard case .refused(let status, let reason) = try await bob.client.verdict(onKey: uri) else {
                        Issue.record("Bob still gets \(before.contains(uri) ? "an old" : "a new") key")
                        continue
                    }
                    #expect(status == 403)
                    #expect(reason.contains(bob.id), "a refusal names the user: \(reason)")
                    #expect(reason.contains(space.resource ?? "?"), "a refusal names the resource: \(reason)")
                }
                await #expect(throws: (any Error).self) { try await bob.spaces.find("A confidential matter") }
                #expect(try await alice.texts(of: space) == Material.lines + [Material.afterwards])

                for service in Service.allCases {
                    #expect(deployment[service]?.isRunning == true)
                    #expect(await deployment.status(of: service, "/readyz") == 200)
                }
                var search = try deployment.secrets(of: [alice, bob], keeping: &gathered)
                for piece in Material.pieces + [Material.afterwards, "A confidential matter"] {
                    search.add("the text '\(piece)'", piece)
                }
                for (index, block) in Material.blocks(of: binary).enumerated() { search.add("block \(index)", block) }
                await alice.close()
                await bob.close()
                try searchEverywhere(search, deployment, spaceID: space.id, keyURI: try #require(before.first))
            }
        }

        /// Nothing secret in any file; and the search would have found it.
        private func searchEverywhere(
            _ search: SecretSearch, _ deployment: Deployment, spaceID: String, keyURI: String
        ) throws {
            #expect(search.secrets.count > 30)
            let files = deployment.writtenFiles()
            let places = ["core/core.sqlite", "core/files/", "kms/kms.sqlite", "log/hds-core.log", "log/hds-kms.log"]
            for place in places + ["log/hds-auth.log", "auth/state/", "home-alice-first/state-"] {
                #expect(files.contains { $0.hasPrefix(deployment.domain.path(place)) }, "nothing to search: \(place)")
            }
            for finding in try search.findings(in: files) { Issue.record("found \(finding)") }

            // Control 1: what the databases do hold is found in them.
            let keyID = String(keyURI.suffix(36))
            for (name, text) in [("core/core.sqlite", spaceID), ("core/core.sqlite", keyID), ("kms/kms.sqlite", keyID)]
            {
                var known = SecretSearch()
                known.add(text, text)
                // A store may keep the 16 octets of an id.
                if let octets = Hexadecimal.decode(text.filter { $0 != "-" }) { known.add(text, octets) }
                let parts = files.filter { $0.hasPrefix(deployment.domain.path(name)) }
                #expect(try !known.findings(in: parts).isEmpty, "\(text) is not found in \(name)")
            }
            // Control 2: each secret in each form, in the middle of something else, is found.
            let control = deployment.domain.path("given/control")
            for secret in search.secrets {
                for (form, bytes) in secret.patterns {
                    try Data([1, 2, 3] + bytes + [4, 5]).write(to: URL(fileURLWithPath: control))
                    let found = try search.findings(in: [control])
                    #expect(
                        found.contains { $0.label == secret.label && $0.form == form }, "\(secret.label) as \(form)")
                }
            }
        }

        @Test("The search finds octets at any place in base64, base64url and hexadecimal")
        func searchFinds() throws {
            let folder = NSTemporaryDirectory() + "hds-search-\(UUID().uuidString)"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(atPath: folder) }
            // 0xFB and 0xFF make '+', '/', '-' and '_' at each position.
            let odd: [UInt8] = (0..<5).flatMap { _ in [0xFB, 0xFF, 0x3E] as [UInt8] }
            for secret in [Array("correct horse battery".utf8), odd] {
                var search = SecretSearch()
                search.add("secret", secret)
                for before in 0..<7 {
                    for after in 0..<4 {
                        let whole = Array("before!".utf8.prefix(before)) + secret + Array("more".utf8.prefix(after))
                        let texts = [
                            whole, Array(Data(whole).base64EncodedString().utf8), Array(Base64URL.encode(whole).utf8),
                            Array(Hexadecimal.encode(whole).utf8), Array(Hexadecimal.encode(whole).uppercased().utf8),
                        ]
                        for text in texts {
                            try Data(text).write(to: URL(fileURLWithPath: folder + "/file"))
                            #expect(try search.findings(in: [folder + "/file"]).count >= 1)
                        }
                    }
                }
                try Data("something else that is of no use".utf8).write(to: URL(fileURLWithPath: folder + "/file"))
                #expect(try search.findings(in: [folder + "/file"]).isEmpty)
            }
        }
    }
}

import TestServers
import Testing
import WireText

@testable import CloudCore

@Suite("Files over HTTP")
struct FileTests {
    @Test("octets of odd sizes come back as they were")
    func roundTrip() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            var random = SeededGenerator(seed: 3)
            for size in [0, 1, 4_095, 65_537, 3_000_001] {
                let content = (0..<size).map { _ in UInt8.random(in: 0...255, using: &random) }
                let url = try await bench.upload(content, as: alice)
                let back = try await bench.send("GET", url, token: alice.token)
                #expect(back.status == 200 && back.body == content, "\(size) octets")
                #expect(back.header("content-length") == "\(size)")
                #expect(back.header("content-type") == "application/octet-stream")
                #expect(back.header("x-content-type-options") == "nosniff")
            }
        }
    }

    @Test("a file is uploaded once, by its owner, and not read before")
    func once() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let bob = try await bench.signIn(.bob)
            let made = try await bench.send("POST", "/files", token: alice.token)
            #expect(made.status == 201)
            let url = try #require(made.json["uploadUrl"]?.string)
            #expect(made.json["downloadUrl"]?.string == url)
            #expect(try await bench.send("GET", url, token: alice.token).status == 404)
            #expect(try await bench.send("PUT", url, token: bob.token, body: [9]).status == 404)
            let stored = try await bench.send("PUT", url, token: alice.token, body: [1, 2, 3])
            #expect(stored.status == 200 && stored.json["size"]?.integer == 3)
            #expect(try await bench.send("PUT", url, token: alice.token, body: [4]).status == 409)
            #expect(try await bench.send("GET", url, token: alice.token).body == [1, 2, 3])
            #expect(try await bench.send("GET", url, token: bob.token).status == 404)
        }
    }

    @Test("who takes part in a conversation reads what was shared to it, until leaving")
    func shared() async throws {
        try await CoreBench.run { bench in
            let kms = try await bench.kms()
            let alice = try await bench.signIn(.alice)
            let bob = try await bench.signIn(.bob)
            let id = try await bench.createConversation(alice, with: [bob])
            let path = "/conversations/\(id)/activities"
            let url = try await bench.upload([7], as: alice)
            #expect(try await bench.send("POST", path, token: bob.token, json: TestTexts.share(url)).status == 404)
            #expect(try await bench.send("POST", path, token: alice.token, json: TestTexts.share(url)).status == 201)
            #expect(try await bench.send("GET", url, token: bob.token).body == [7])
            #expect(try await bench.send("PUT", url, token: bob.token, body: [8]).status == 403)
            _ = try await bench.send("POST", path, token: bob.token, json: TestTexts.member("leave", bob.id))
            #expect(try await bench.send("GET", url, token: bob.token).status == 404)
            await kms.stop()
        }
    }

    @Test("no path leads out of the folder of files")
    func traversal() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            for path in [
                "/files/..", "/files/../core.sqlite", "/files/..%2fcore.sqlite", "/files/%2e%2e/core.sqlite",
                "/files/%2e%2e%2fcore.sqlite", "/files/....//core.sqlite", "/files/.%00./core.sqlite",
                "/files//etc/passwd",
                "/files/%2fetc%2fpasswd", "/files/..\\core.sqlite", "/files/incoming",
                "/files/" + String(repeating: "a", count: 36),
                "/../../etc/passwd", "/files/31f0a1b2-0000-4000-8000-0123456789ab%2f..%2f..%2fcore.sqlite",
            ] {
                for method in ["GET", "PUT"] {
                    let answer = try? await bench.send(
                        method, path, token: alice.token, body: method == "PUT" ? [1] : [])
                    // A path that the client itself refuses does not even get there.
                    #expect([nil, 400, 404].contains(answer?.status), "\(method) \(path): \(answer?.status ?? 0)")
                    #expect(answer.map { !$0.text.contains("SQLite format") && !$0.text.contains("root:") } ?? true)
                }
            }
            #expect(bench.folder.names(in: "files") == ["incoming"])
        }
    }

    @Test("names on the disk are random, and what is stored are the octets and nothing else")
    func names() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let url = try await bench.upload(Array("ciphertext".utf8), as: alice)
            let id = try #require(url.split(separator: "/").last)
            #expect(UUIDText.isValid(id))
            #expect(bench.folder.names(in: "files/\(id.prefix(2))") == [String(id)])
            #expect(bench.folder.names(in: "files/incoming").isEmpty)
        }
    }
}

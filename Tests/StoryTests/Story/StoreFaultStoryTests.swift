import Glibc
import HDSClient
import HTTPClient
import KMSClient
import KMSProtocol
import Synchronization
import Testing

extension StoryTests {
    @Suite("The disk of the KMS's database goes wrong") struct StoreFaultStoryTests {
        /// A file system of its own, so small that it can be filled.
        private struct SmallDisk {
            let folder: String
            private var ballast: String { folder + "/ballast" }

            /// nil: this process may not mount.
            init?() {
                let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
                var template = Array((base + "/hds-disk-XXXXXX").utf8CString)
                guard let made = mkdtemp(&template).map({ String(cString: $0) }) else { return nil }
                folder = made
                guard mount("tmpfs", folder, "tmpfs", 0, "size=160m,mode=0700") == 0 else {
                    rmdir(folder)
                    return nil
                }
            }

            func remove() {
                umount2(folder, 2)  // As soon as nobody uses it.
                rmdir(folder)
            }

            func fill() throws {
                let descriptor = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
                defer { close(descriptor) }
                for size in [1 << 20, 1 << 12] {
                    let piece = [UInt8](repeating: 1, count: size)
                    while write(descriptor, piece, size) == size {}
                }
                try #require(errno == ENOSPC)
            }

            func makeRoom() { unlink(ballast) }
        }

        private static func says(_ text: String, _ deployment: Deployment) async throws -> Bool {
            let health = try await deployment.answer(of: .kms, "/healthz").body
            return String(decoding: health, as: UTF8.self).contains(text)
        }

        @Test("Full: it is told at once, and when there is room all goes on, with every key that was acknowledged")
        func full() async throws {
            guard let disk = SmallDisk() else { return print("skipped: this process may not mount a file system") }
            defer { disk.remove() }
            let change: (Domain) throws -> Void = { domain in
                try domain.replace(
                    "  file: kms.sqlite\n", with: "  file: \(disk.folder)/kms.sqlite\naudit:\n  folder: audit\n",
                    in: Service.kms.configuration)
            }
            try await Deployment.with(change: change) { deployment in
                let alice = try await Person.logIn("alice", in: deployment)
                let kms = alice.client.kms
                _ = try await kms.perform(.createKeys(count: 1))
                let session = try #require(try alice.sessionURI())
                try disk.fill()
                let isFull = Atomic(true)
                async let made = {
                    var keys: [String] = []
                    while isFull.load(ordering: .relaxed) {
                        // What was held for too long is refused.
                        guard case .keys(let more)? = try? await kms.perform(.createKeys(count: 100)).body else {
                            continue
                        }
                        keys += more.map(\.uri)
                    }
                    return keys
                }()
                _ =
                    try await eventually("the full disk told", seen: { deployment[.kms]?.tail() }) {
                        guard try await Self.says("no room for the key store", deployment) else { return nil }
                        return await deployment.status(of: .kms, "/readyz") == 503 ? true : nil
                    } as Bool
                #expect(await deployment.status(of: .kms, "/livez") == 200)
                disk.makeRoom()
                isFull.store(false, ordering: .relaxed)
                let keys = await made
                try await deployment.waitUntilReady(.kms)
                #expect(try await !Self.says("no room for the key store", deployment))
                for key in keys {
                    guard case .key = try await kms.perform(.retrieveKey(key)).body else {
                        Issue.record("a key that was acknowledged is not there")
                        break
                    }
                }
                guard case .keys = try await kms.perform(.createKeys(count: 1)).body else {
                    Issue.record("no key came")
                    return
                }
                #expect(try alice.sessionURI() == session)
                await alice.close()
            }
        }

        @Test(
            "Away for longer than requests are held: they are refused, the alarm stands, and all goes on when it is back"
        )
        func away() async throws {
            try await Deployment.with { deployment in
                let alice = try await Person.logIn("alice", in: deployment)
                let kms = alice.client.kms
                _ = try await kms.perform(.createKeys(count: 1))
                let session = try #require(try alice.sessionURI())
                let file = deployment.domain.path("kms/kms.sqlite")
                try #require(rename(file, file + ".away") == 0)
                async let refused = try? kms.perform(.createKeys(count: 1))
                _ =
                    try await eventually("a refusal and the alarm", seen: { deployment[.kms]?.tail() }) {
                        guard deployment[.kms]?.log().contains("failed with 500: internal error") == true else {
                            return nil
                        }
                        return try await Self.says("HDS-DB-UNREACHABLE", deployment) ? true : nil
                    } as Bool
                #expect(await deployment.status(of: .kms, "/readyz") == 503)
                #expect(await deployment.status(of: .kms, "/livez") == 200)
                try #require(rename(file + ".away", file) == 0)
                _ = await refused
                guard case .keys = try await kms.perform(.createKeys(count: 1)).body else {
                    Issue.record("no key came")
                    return
                }
                try await deployment.waitUntilReady(.kms)
                #expect(try await !Self.says("HDS-DB-UNREACHABLE", deployment))
                #expect(try alice.sessionURI() == session)
                await alice.close()
            }
        }
    }
}

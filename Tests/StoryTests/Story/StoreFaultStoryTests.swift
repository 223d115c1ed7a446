import Glibc
import HDSClient
import HTTPClient
import KMSClient
import KMSProtocol
import Synchronization
import TestServers
import Testing

extension StoryTests {
    @Suite("The disk of the KMS's database goes wrong") struct StoreFaultStoryTests {
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

        // MARK: Permissions, read-only, PostgreSQL

        /// Keys as somebody has them who was told that they exist.
        private static func create(_ count: Int, by person: Person) async throws -> [String]? {
            guard case .keys(let made)? = try? await person.client.kms.perform(.createKeys(count: count)).body else {
                return nil
            }
            return made.map(\.uri)
        }

        private static func expect(_ keys: [String], of person: Person) async throws {
            for key in keys {
                guard case .key = try await person.client.kms.perform(.retrieveKey(key)).body else {
                    Issue.record("a key that was acknowledged is not there: \(key)")
                    return
                }
            }
        }

        /// Makes keys, again and again, until it is over; what was acknowledged.
        private final class Maker: Sendable {
            private let isOver = Atomic(false)
            private let task = Mutex<Task<[String], Never>?>(nil)

            init(_ person: Person) {
                task.withLock {
                    $0 = Task { [self] in
                        var keys: [String] = []
                        while !isOver.load(ordering: .relaxed) {
                            // What was held for too long is refused.
                            if let more = try? await StoreFaultStoryTests.create(5, by: person) { keys += more }
                            // Each of them is asked for afterwards.
                            try? await Task.sleep(for: .milliseconds(200))
                        }
                        return keys
                    }
                }
            }

            func end() async -> [String] {
                isOver.store(true, ordering: .relaxed)
                return await task.withLock { $0 }?.value ?? []
            }
        }

        private static func told(
            _ alarm: String, refusing: Bool = true, _ deployment: Deployment
        ) async throws {
            _ =
                try await eventually("\(alarm) and no readiness", seen: { deployment[.kms]?.tail() }) {
                    guard try await says(alarm, deployment) else { return nil }
                    return await deployment.status(of: .kms, "/readyz") == 503 ? true : nil
                } as Bool
            #expect(await deployment.status(of: .kms, "/livez") == 200)
            guard refusing else { return }
            _ =
                try await eventually("a refusal", seen: { deployment[.kms]?.tail() }) {
                    deployment[.kms]?.log().contains("failed with 500: internal error") == true ? true : nil
                } as Bool
        }

        private static func over(_ alarm: String, _ deployment: Deployment) async throws {
            try await deployment.waitUntilReady(.kms)
            _ =
                try await eventually("the end of \(alarm)", seen: { deployment[.kms]?.tail() }) {
                    try await says(alarm, deployment) ? nil : true
                } as Bool
        }

        @Test(
            "A service of its own user loses the permission on its folder: told, works on what is open, over by itself"
        )
        func permission() async throws {
            let user = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
            let reaches = user + ["/usr/bin/test", "-x", Repository.program("hds-kms")]
            let mayBeAnother = try? await ChildProcess.run(reaches[0], Array(reaches.dropFirst()), folder: "/tmp")
            guard geteuid() == 0, mayBeAnother != nil else {
                return print("skipped: root is needed to start the service as nobody, who has to reach the program")
            }
            let change: (Domain) throws -> Void = { domain in
                mkdir(domain.path("kms/data"), 0o700)
                try domain.replace(
                    "  file: kms.sqlite\n", with: "  file: data/kms.sqlite\naudit:\n  folder: audit\n",
                    in: Service.kms.configuration)
            }
            try await Deployment.with(change: change) { deployment in
                let domain = deployment.domain
                let data = domain.path("kms/data")
                try await deployment[.kms]?.cut()
                try await ChildProcess.run(
                    "/bin/bash", ["-c", "chmod 711 \"$0\" && chown -R 65534:65534 \"$0\"/{kms,pki}", domain.folder],
                    folder: domain.folder)
                try deployment.start(.kms, through: user)
                try await deployment.waitUntilReady(.kms)
                let alice = try await Person.logIn("alice", in: deployment)
                let first = try #require(try await Self.create(5, by: alice))
                let session = try #require(try alice.sessionURI())
                try #require(chmod(data, 0) == 0)
                let maker = Maker(alice)
                try await Self.told("HDS-DB-UNREACHABLE", refusing: false, deployment)
                // What is open still works.
                try await Self.expect(first, of: alice)
                try #require(chmod(data, 0o700) == 0)
                try await Self.over("HDS-DB-UNREACHABLE", deployment)
                try await Self.over("HDS-JOURNAL-BLOCKED", deployment)
                let made = await maker.end()
                let last = try #require(try await Self.create(5, by: alice))
                try await Self.expect(first + made + last, of: alice)
                #expect(try alice.sessionURI() == session)
                // Also after a restart.
                try await deployment[.kms]?.cut()
                try deployment.start(.kms, through: user)
                try await deployment.waitUntilReady(.kms)
                try await Self.expect(first + made + last, of: alice)
                await alice.close()
            }
        }

        @Test("The file system becomes read-only: refused and told; mounted again and restarted, nothing is lost")
        func readOnly() async throws {
            guard let disk = await FailingDisk.make() else {
                return print("skipped: no ext4 on a loop device can be mounted here")
            }
            defer { disk.remove() }
            let change: (Domain) throws -> Void = { domain in
                try domain.replace(
                    "  file: kms.sqlite\n", with: "  file: \(disk.folder)/kms.sqlite\naudit:\n  folder: audit\n",
                    in: Service.kms.configuration)
            }
            try await Deployment.with(change: change) { deployment in
                let alice = try await Person.logIn("alice", in: deployment)
                let first = try #require(try await Self.create(5, by: alice))
                let session = try #require(try alice.sessionURI())
                let maker = Maker(alice)
                try disk.fail()
                try await Self.told("HDS-DB-UNREACHABLE", deployment)
                try await Self.expect(first, of: alice)
                // The kernel gives such a file system back only to who mounts it anew.
                let made = await maker.end()
                deployment[.kms]?.send(SIGTERM)
                _ = try await deployment[.kms]?.end()
                try await disk.repair()
                try deployment.start(.kms)
                try await Self.over("HDS-DB-UNREACHABLE", deployment)
                let last = try #require(try await Self.create(5, by: alice))
                try await Self.expect(first + made + last, of: alice)
                #expect(try alice.sessionURI() == session)
                try await deployment[.kms]?.cut()
                await alice.close()
            }
        }

        private static func overPostgreSQL(_ server: TestPostgreSQL) -> (Domain) throws -> Void {
            { domain in try KeyDesk.useDatabase(server, in: Service.kms.configuration, of: domain) }
        }

        private static let hasPostgreSQL = TestPostgreSQL.isInstalled

        @Test(
            "PostgreSQL has no room for its tables: told at once, reading goes on, and writing when there is room",
            .enabled(if: hasPostgreSQL))
        func fullTables() async throws {
            guard let disk = SmallDisk(megabytes: 64) else {
                return print("skipped: this process may not mount a file system")
            }
            defer { disk.remove() }
            let server = try await TestPostgreSQL.start()
            defer { server.end() }
            let space = disk.folder + "/tables"
            mkdir(space, 0o700)
            try #require(server.owns(space))
            try await server.sql("CREATE TABLESPACE small LOCATION '\(space)'", database: "postgres")
            try await server.sql("ALTER DATABASE hds SET TABLESPACE small", database: "postgres")
            try await Deployment.with(change: Self.overPostgreSQL(server)) { deployment in
                let alice = try await Person.logIn("alice", in: deployment)
                let first = try #require(try await Self.create(5, by: alice))
                let session = try #require(try alice.sessionURI())
                try disk.fill()
                let maker = Maker(alice)
                try await Self.told("HDS-DISK-LOW", deployment)
                try await Self.expect(first, of: alice)
                disk.makeRoom()
                try await Self.over("HDS-DISK-LOW", deployment)
                let made = await maker.end()
                let last = try #require(try await Self.create(5, by: alice))
                try await Self.expect(first + made + last, of: alice)
                #expect(try alice.sessionURI() == session)
                await alice.close()
            }
        }

        @Test(
            "PostgreSQL has no room for its log and ends: told; started again with room, nothing is lost",
            .enabled(if: hasPostgreSQL))
        func fullLog() async throws {
            guard let disk = SmallDisk(megabytes: 64) else {
                return print("skipped: this process may not mount a file system")
            }
            defer { disk.remove() }
            let server = try await TestPostgreSQL.start()
            defer { server.end() }
            try await server.tell("stop")
            try await ChildProcess.run(
                "/bin/bash",
                [
                    "-c",
                    "set -e; chmod 711 \"$1\"; mv \"$0/data/pg_wal\" \"$1/log\"; ln -s \"$1/log\" \"$0/data/pg_wal\"",
                    server.folder, disk.folder,
                ], folder: "/tmp")
            try await server.tell("start")
            try await Deployment.with(change: Self.overPostgreSQL(server)) { deployment in
                let alice = try await Person.logIn("alice", in: deployment)
                let first = try #require(try await Self.create(5, by: alice))
                let session = try #require(try alice.sessionURI())
                let maker = Maker(alice)
                try disk.fill()
                // The next segment is needed now, and not megabytes later.
                _ = try? await server.sql("SELECT pg_switch_wal(); CREATE TABLE more (x int); CHECKPOINT")
                try await Self.told("HDS-DB-UNREACHABLE", refusing: false, deployment)
                disk.makeRoom()
                try await server.tell("stop")
                try await server.tell("start")
                try await Self.over("HDS-DB-UNREACHABLE", deployment)
                let made = await maker.end()
                let last = try #require(try await Self.create(5, by: alice))
                try await Self.expect(first + made + last, of: alice)
                #expect(try alice.sessionURI() == session)
                await alice.close()
            }
        }

        @Test(
            "PostgreSQL is away: what comes is held and answered if it is back soon; later it waits at the core, told",
            .enabled(if: hasPostgreSQL))
        func databaseAway() async throws {
            let server = try await TestPostgreSQL.start()
            defer { server.end() }
            try await Deployment.with(change: Self.overPostgreSQL(server)) { deployment in
                let alice = try await Person.logIn("alice", in: deployment)
                let first = try #require(try await Self.create(5, by: alice))
                let session = try #require(try alice.sessionURI())
                try await server.tell("stop")
                async let held = Self.create(5, by: alice)
                try await Self.told("HDS-DB-UNREACHABLE", refusing: false, deployment)
                try await server.tell("start")
                let early = try #require(try await held, "it was held, or sent again by its client")
                try await Self.over("HDS-DB-UNREACHABLE", deployment)
                try await server.tell("stop")
                let maker = Maker(alice)
                _ =
                    try await eventually("the first one given up", seen: { deployment[.kms]?.tail() }) {
                        deployment[.kms]?.log().contains("failed with 500: reading a session") == true ? true : nil
                    } as Bool
                try await Self.told("HDS-DB-UNREACHABLE", refusing: false, deployment)
                try await server.tell("start")
                try await Self.over("HDS-DB-UNREACHABLE", deployment)
                let made = await maker.end()
                let last = try #require(try await Self.create(5, by: alice))
                try await Self.expect(first + early + made + last, of: alice)
                #expect(try alice.sessionURI() == session)
                await alice.close()
            }
        }
    }
}

import Foundation
import Glibc
import HDSClient
import KMSClient
import TestServers
import Testing

extension StoryTests {
    /// What holders do on machines of their own: no network, no service, no file of the installation but the backup.
    @Suite("The escrow on a bare machine") struct EscrowOfflineTests {
        /// A machine without any network, as far as a process can tell; nil where this user may not make one.
        private static func bare() async -> [String]? {
            let words = ["/usr/bin/unshare", "--net", "--map-root-user"]
            let works = try? await ChildProcess.run(words[0], Array(words.dropFirst()) + ["true"], folder: "/tmp")
            if works == nil {
                print("no network namespace can be made here: the escrow is tried with the network there")
            }
            return works == nil ? nil : words + ["/usr/bin/env", "-i", "PATH=/usr/bin:/bin"]
        }

        @Test("A holder proves his share, and shares recover everything, with no network, service or environment")
        func offline() async throws {
            try await Deployment.with(change: { try KeyDesk.prepare($0) }) { deployment in
                let domain = deployment.domain
                let desk = try await KeyDesk.enrol(deployment).desk
                let alice = try await Person.logIn("alice", in: deployment)
                let space = try await alice.spaces.create(name: "Kept", with: [])
                try await alice.spaces.post("hello", in: space)
                let key = try #require(try alice.keyURIs(of: space).first)
                let prefix = await Self.bare() ?? []
                let tool = Repository.program("hdsctl")
                /// On the holder's machine: the words come through a pipe.
                func holder(_ words: [String], input: String) async throws -> String {
                    let all = prefix + [tool] + words
                    return try await ChildProcess.run(
                        all[0], Array(all.dropFirst()), folder: domain.folder, input: .text(input))
                }
                let made = domain.path("words")
                try await ChildProcess.run(
                    "/bin/bash",
                    [
                        "-c",
                        "set -eo pipefail; \"$0\" escrow create --shares 3 --needed 2 --words-fd 3 --socket \"$1\" "
                            + "--officer-key \"$2\" --passphrase-file \"$3\" 3>&1 >/dev/null 2>/dev/null | cat > \"$4\"",
                        tool, desk.socket, desk.path("ada.pem"), desk.path("passphrase"), made,
                    ], folder: domain.folder)
                let words = try domain.read("words").split(separator: "\n").map(String.init)
                #expect(words.count == 3)
                let challenge = try await desk.ask("escrow", "challenge", "2")
                    .trimmingCharacters(in: .whitespacesAndNewlines)
                let file = try #require(try await desk.ask("backup").split(separator: "\n").first).description
                // Nothing of the installation runs from here on.
                for service in Service.allCases { try await deployment[service]?.cut() }
                if !prefix.isEmpty {
                    let peer = try TestListener()
                    let knock = ["/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/\(peer.port)"]
                    try await ChildProcess.run(knock[0], Array(knock.dropFirst()), folder: domain.folder)
                    await #expect(throws: NotInTime.self, "the bare machine reaches nobody") {
                        let all = prefix + knock
                        _ = try await ChildProcess.run(all[0], Array(all.dropFirst()), folder: domain.folder)
                    }
                }
                let answer = try await holder(
                    ["escrow", "prove", challenge, "--words-fd", "0"], input: words[1] + "\n"
                ).trimmingCharacters(in: .whitespacesAndNewlines)
                #expect(answer.hasPrefix("HDS-SHARE-PROOF-1.") && !answer.contains("\n"), "\(answer)")

                try FileManager.default.createDirectory(
                    atPath: domain.path("bare"), withIntermediateDirectories: true)
                let told = try await holder(
                    [
                        "escrow", "recover", file, "--to", domain.path("bare/kms.sqlite"), "--new-master-key",
                        domain.path("bare/master-key"), "--words-fd", "0",
                    ], input: words[2] + "\n" + words[0] + "\n")
                #expect(told.contains("is whole and frozen"), "\(told)")
                // One share is not enough, and the same one twice is one.
                await #expect(throws: NotInTime.self) {
                    _ = try await holder(
                        [
                            "escrow", "recover", file, "--to", domain.path("bare/two.sqlite"), "--new-master-key",
                            domain.path("bare/two"), "--words-fd", "0",
                        ], input: words[2] + "\n" + words[2] + "\n")
                }
                #expect(!FileManager.default.fileExists(atPath: domain.path("bare/two")))
                if geteuid() == 0 {
                    try await Self.recoverForService(domain) {
                        try await ChildProcess.run(
                            tool, ["escrow", "recover", file, "--words-fd", "0"] + $0, folder: domain.folder,
                            input: .text(words[2] + "\n" + words[0] + "\n"))
                    }
                }

                // What was recovered serves, under its new master key; the answer counts in the old installation.
                for service in Service.allCases { try deployment.start(service) }
                for service in Service.allCases { try await deployment.waitUntilReady(service) }
                #expect(try await desk.ask("escrow", "confirm", answer).contains("share 2 is proved"))
                try await deployment[.kms]?.cut()
                for name in ["kms.sqlite", "kms.sqlite-wal", "kms.sqlite-shm", "master-key"] {
                    unlink(domain.path("kms/\(name)"))
                }
                for name in ["kms.sqlite", "master-key"] {
                    try FileManager.default.copyItem(
                        atPath: domain.path("bare/\(name)"), toPath: domain.path("kms/\(name)"))
                }
                try deployment.start(.kms)
                try await deployment.waitUntilReady(.kms)
                // Nothing but backup and shares: that there was no journal has to be named.
                let status = try await desk.ask("restore", "status")
                let gap = try #require(status.split(separator: "--gap ").last?.prefix(8).description, "\(status)")
                _ = try await desk.sign("restore", "open", "--gap", gap)
                let again = try await Person.logIn("alice", in: deployment, device: "second")
                guard case .allowed = try await again.client.verdict(onKey: key) else {
                    Issue.record("what was acknowledged before the backup is not readable")
                    return
                }
            }
        }

        /// Root recovers into the folder of a service: the store is the service's, and nothing else is left of it.
        private static func recoverForService(
            _ domain: Domain, _ recover: ([String]) async throws -> String
        ) async throws {
            let folder = domain.path("service"), nobody: uid_t = 65_534
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            #expect(chmod(folder, 0o700) == 0 && chown(folder, nobody, nobody) == 0)
            let words = ["--to", folder + "/kms.sqlite", "--new-master-key", domain.path("bare/third")]
            #expect(try await recover(words).contains("is whole and frozen"))
            let attributes = try FileManager.default.attributesOfItem(atPath: folder + "/kms.sqlite")
            #expect((attributes[.ownerAccountID] as? NSNumber)?.uint32Value == nobody)
            #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o600)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["kms.sqlite"])
            let beside = try FileManager.default.contentsOfDirectory(atPath: domain.folder)
            #expect(!beside.contains { $0.hasPrefix(".hds-restore") })
            await #expect(throws: NotInTime.self, "what is there is never overwritten") {
                _ = try await recover(["--to", folder + "/kms.sqlite", "--new-master-key", domain.path("bare/fourth")])
            }
        }

        // MARK: QR codes

        private static let hasCodes =
            ["/usr/bin/qrencode", "/usr/bin/zbarimg", "/usr/bin/python3"]
            .allSatisfy { FileManager.default.isExecutableFile(atPath: $0) }

        /// A terminal of its own for the tool; presses enter wherever it asks to. Prints each page that was shown, as a
        /// line of JSON. `rows`: how many lines the terminal has.
        private static let terminal = """
            import fcntl, json, os, pty, struct, sys, termios
            rows, command = int(sys.argv[1]), sys.argv[2:]
            pid, fd = pty.fork()
            if pid == 0:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', rows, 132, 0, 0))
                os.execv(command[0], command)
            page = b''
            while True:
                try:
                    more = os.read(fd, 65536)
                except OSError:
                    more = b''
                if not more:
                    break
                page += more
                if page.rstrip().endswith((b'not shown again.', b'press enter.')):
                    print(json.dumps(page.decode()))
                    page = b''
                    os.write(fd, b'\\n')
            print(json.dumps(page.decode()))
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            """

        /// A picture in half blocks as a PBM, each module 4 by 4; nil when the page shows none.
        static func bitmap(_ page: String) -> String? {
            let plain = page.replacing(/\u{1B}\[[0-9;]*[A-Za-z]/, with: "")
            var rows: [[Bool]] = []
            for line in plain.split(whereSeparator: \.isNewline) where line.contains("█") {
                guard line.allSatisfy({ "█▀▄ ".contains($0) }) else { return nil }
                rows.append(line.map { "▄ ".contains($0) })
                rows.append(line.map { "▀ ".contains($0) })
            }
            guard let width = rows.first?.count, rows.allSatisfy({ $0.count == width }) else { return nil }
            let lines = rows.flatMap { row in
                Array(repeating: row.flatMap { [String](repeating: $0 ? "1" : "0", count: 4) }.joined(), count: 4)
            }
            return "P1\n\(width * 4) \(lines.count)\n" + lines.joined(separator: "\n") + "\n"
        }

        @Test(
            "Shares as QR codes: a scanner that nobody here wrote reads the words, which prove the share; screens are wiped",
            .enabled(if: hasCodes, "qrencode, zbar-tools or python3 is not installed"))
        func codes() async throws {
            try await Deployment.with(change: { try KeyDesk.prepare($0) }) { deployment in
                let domain = deployment.domain
                let desk = try await KeyDesk.enrol(deployment).desk
                func show(rows: Int) async throws -> [String] {
                    let text = try await ChildProcess.run(
                        "/usr/bin/python3",
                        [
                            "-c", Self.terminal, "\(rows)", Repository.program("hdsctl"), "escrow", "create",
                            "--shares",
                            "3", "--needed", "2", "--qr", "--replace", "--socket", desk.socket, "--officer-key",
                            desk.path("ada.pem"), "--passphrase-file", desk.path("passphrase"),
                        ], folder: domain.folder)
                    return try text.split(separator: "\n").map {
                        try JSONDecoder().decode(String.self, from: Data($0.utf8))
                    }
                }
                let pages = try await show(rows: 60)
                // Words and code of three shares, and the end.
                #expect(pages.count == 7, "\(pages.count)")
                let wiped = "\u{1B}[2J\u{1B}[3J\u{1B}[H"
                #expect(pages.allSatisfy { $0.contains(wiped) }, "each page wipes the one before, the last one too")
                for share in 1...3 {
                    let (wordPage, codePage) = (pages[share * 2 - 2], pages[share * 2 - 1])
                    let words = try #require(
                        wordPage.split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }
                            .first { $0.split(separator: " ").count > 19 && $0 == $0.lowercased() && !$0.contains(",") }
                    )
                    #expect(codePage.contains("Share \(share) of 3") && !codePage.contains(words))
                    let picture = try #require(Self.bitmap(codePage), "\(codePage)")
                    // No file: test or not, a share's picture goes through a pipe.
                    let scanned = try await ChildProcess.run(
                        "/bin/bash", ["-c", "exec /usr/bin/zbarimg --quiet --raw pbm:- 2>/dev/null"],
                        folder: domain.folder, input: .text(picture)
                    ).trimmingCharacters(in: .whitespacesAndNewlines)
                    #expect(scanned.lowercased() == words)
                    let challenge = try await desk.ask("escrow", "challenge", "\(share)")
                        .trimmingCharacters(in: .whitespacesAndNewlines)
                    // As the scanner gave it.
                    let answer = try await ChildProcess.run(
                        Repository.program("hdsctl"), ["escrow", "prove", challenge, "--words-fd", "0"],
                        folder: domain.folder, input: .text(scanned + "\n")
                    ).trimmingCharacters(in: .whitespacesAndNewlines)
                    #expect(try await desk.ask("escrow", "confirm", answer).contains("share \(share) is proved"))
                }
                // A terminal that is too small asks for more room before it shows a code.
                let small = try await show(rows: 24)
                #expect(small.count == 10 && small.contains { $0.contains("this terminal has 24 of 132") }, "\(small)")
            }
        }
    }
}

/// A listening socket on loopback, to show what can be reached.
private final class TestListener {
    let port: Int
    private let descriptor: Int32

    init() throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = descriptor
        let status = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, size) == 0 && listen(descriptor, 4) == 0 && getsockname(descriptor, $0, &size) == 0
            }
        }
        guard status else { throw NotInTime(what: "a listening socket", limit: .zero, seen: "errno \(errno)") }
        port = Int(UInt16(bigEndian: address.sin_port))
    }

    deinit { close(descriptor) }
}

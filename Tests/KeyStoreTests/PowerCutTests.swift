import Foundation
import Glibc
import KeyStore
import KeyStorePostgreSQL
import KeyStoreSQLite
import PostgreSQLClient
import StoreScript
import TestServers
import Testing

/// The SQLite store with each of its writes and syncs going wrong once: the process killed before it, in the middle of
/// it, or with the power cut, where what was not synced is lost in part; or the operation failing. And the PostgreSQL store
/// with its process killed before each thing that it sends.
///
/// Short by default: one operation in 149, in 37 with `deploy/test --long`. `HDS_ALL_FAILPOINTS=1` takes every one (deploy/drill-store).
@Suite("Every write and sync of the SQLite store goes wrong", .serialized)
struct PowerCutTests {
    /// The program stands beside the test bundle.
    private static let driver: String = {
        for path in CommandLine.arguments + ["/proc/self/exe"] {
            let folder = URL(filePath: path).resolvingSymlinksInPath().deletingLastPathComponent().path
            if access(folder + "/store-driver", X_OK) == 0 { return folder + "/store-driver" }
        }
        return "store-driver"
    }()

    private struct Outcome {
        var acknowledged: [Int] = []
        var lines: [String] = []
        var status: Int32 = 0
        var hasEnded: Bool { lines.last == "end" }
    }

    /// The library of failpoints, compiled once; nil without a compiler.
    private static let library: String? = {
        let source = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../Faults/failpoint.c").path
        let target = NSTemporaryDirectory() + "/hds-failpoint-\(getpid()).so"
        for compiler in ["cc", "clang"] {
            let status = try? spawn(["/usr/bin/env", compiler, "-O1", "-shared", "-fPIC", "-o", target, source, "-ldl"])
            if status?.status == 0 { return target }
        }
        return nil
    }()

    private static func spawn(
        _ words: [String], environment: [String: String] = [:]
    ) throws -> (status: Int32, output: String) {
        let pipe = try PrivatePipe()
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, pipe.writing, 1)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        var variables = ProcessInfo.processInfo.environment
        variables["SWIFT_BACKTRACE"] = "enable=no"
        variables.merge(environment) { $1 }
        var argv = words.map { strdup($0) } + [nil]
        var envp = variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        var child: pid_t = 0
        let started = posix_spawn(&child, words[0], &actions, nil, &argv, &envp)
        close(pipe.writing)
        defer { close(pipe.reading) }
        guard started == 0 else { return (-1, "") }
        var output: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(pipe.reading, &buffer, buffer.count)
            guard count > 0 else { break }
            output += buffer[..<count]
        }
        var status: Int32 = 0
        waitpid(child, &status, 0)
        return (status, String(decoding: output, as: UTF8.self))
    }

    private func drive(_ path: String, _ library: String, at: Int, how: String) throws -> Outcome {
        try drive(
            [path], library, at: at, how: how, ["HDS_FAIL_PATH": path, "HDS_FAIL_COUNT": path + ".count"])
    }

    private func drive(
        _ words: [String], _ library: String, at: Int, how: String, _ watched: [String: String]
    ) throws -> Outcome {
        let variables = [
            "LD_PRELOAD": library, "HDS_FAIL_AT": "\(at)", "HDS_FAIL_HOW": how, "HDS_FAIL_SEED": "\(at)",
        ]
        let (status, output) = try Self.spawn(
            [Self.driver] + words, environment: variables.merging(watched) { $1 })
        let lines = output.split(separator: "\n").map(String.init)
        let acknowledged = lines.compactMap { $0.hasPrefix("ack ") ? Int($0.dropFirst(4)) : nil }
        return Outcome(acknowledged: acknowledged, lines: lines, status: status)
    }

    /// What was acknowledged is there, whole; what was not is there whole or not at all; then everything goes on.
    private func check(_ store: any KeyStore, _ outcome: Outcome, _ where: String) async throws {
        let acknowledged = Set(outcome.acknowledged)
        for number in 0..<StoreScript.count {
            let (found, all) = try await StoreScript.standing(number, in: store)
            if acknowledged.contains(number) {
                #expect(
                    found == all, "\(`where`): change \(number) was acknowledged, and \(found) of \(all) rows stand")
            } else {
                // Rows that later changes of others would have made do not count as its own.
                #expect(found == 0 || found == all, "\(`where`): \(found) of \(all) rows of change \(number) stand")
            }
        }
        for number in 0..<StoreScript.count where try await StoreScript.standing(number, in: store).found == 0 {
            #expect(try await store.commit(StoreScript.change(number)) == .committed, "\(`where`): \(number)")
        }
        try await store.check()
        await store.close()
    }

    @Test("what was acknowledged stands, nothing is half done", arguments: ["kill", "torn", "power", "eio", "enospc"])
    func everyOperation(_ how: String) async throws {
        guard let library = Self.library else {
            print("skipped: no C compiler is there to build Tests/Faults/failpoint.c")
            return
        }
        let folder = TemporaryFolder()
        let counted = try drive(folder.path + "/whole.sqlite", library, at: 0, how: "none")
        try #require(counted.hasEnded && counted.acknowledged.count == StoreScript.count, "\(counted.lines)")
        let operations = try #require(
            Int(try folder.contents(of: "whole.sqlite.count").trimmingCharacters(in: .whitespacesAndNewlines)))
        try #require(operations > StoreScript.count, "the failpoints see the store's writes")
        let isWhole = ProcessInfo.processInfo.environment["HDS_ALL_FAILPOINTS"] != nil
        let stride = isWhole ? 1 : LongTests.areWanted ? 37 : 149
        var hits = 0
        for at in Swift.stride(from: 1, through: operations, by: stride) {
            let path = folder.path + "/\(how)-\(at).sqlite"
            let outcome = try drive(path, library, at: at, how: how)
            if ["kill", "torn", "power"].contains(how) {
                #expect(!outcome.hasEnded, "the process was ended at \(at)")
            } else {
                hits += outcome.lines.contains { $0.hasPrefix("fail") } || !outcome.hasEnded ? 1 : 0
            }
            try await check(try SQLiteKeyStore(path: path), outcome, "\(how) at operation \(at) of \(operations)")
        }
        if how == "eio" { #expect(hits > 0, "a failing disk is told") }
    }

    @Test(
        "over PostgreSQL, killed before each thing that is sent: what was acknowledged stands, nothing is half done",
        .enabled(if: TestPostgreSQL.isInstalled))
    func everySending() async throws {
        guard let library = Self.library else {
            print("skipped: no C compiler is there to build Tests/Faults/failpoint.c")
            return
        }
        let folder = TemporaryFolder()
        let server = try await TestPostgreSQL.shared.value
        let (port, count) = (server.port, folder.path + "/count")
        func run(at: Int, _ schema: String) async throws -> Outcome {
            try await onOwnThread {
                try drive(
                    ["postgresql", "\(port)", schema], library, at: at, how: "kill",
                    ["HDS_FAIL_PORT": "\(port)", "HDS_FAIL_COUNT": count])
            }
        }
        let counted = try await run(at: 0, PostgreSQL.schema())
        try #require(counted.hasEnded && counted.acknowledged.count == StoreScript.count, "\(counted.lines)")
        let operations = try #require(
            Int(try folder.contents(of: "count").trimmingCharacters(in: .whitespacesAndNewlines)))
        try #require(operations > StoreScript.count, "the failpoints see what is sent")
        let stride = ProcessInfo.processInfo.environment["HDS_ALL_FAILPOINTS"] == nil ? 17 : 1
        for at in Swift.stride(from: 1, through: operations, by: stride) {
            var options = PostgreSQLKeyStore.Options()
            options.schema = PostgreSQL.schema()
            let outcome = try await run(at: at, options.schema)
            #expect(!outcome.hasEnded, "the process was ended at \(at)")
            var settings = PostgreSQLSettings(
                hosts: [.init("127.0.0.1", port: server.port)], database: "hds", user: "open")
            settings.tls = .none
            let store = try await PostgreSQLKeyStore.open(settings, options: options)
            try await check(store, outcome, "killed before sending \(at) of \(operations)")
            try await server.sql("DROP SCHEMA \(options.schema) CASCADE")
        }
    }
}

import Diagnostics
import Foundation
import GRDB
import Glibc
import KeyStore
import MasterKey
import PostgreSQLClient
import TestServers
import Testing
import WireText

@testable import KeyManagement
@testable import KeyStorePostgreSQL
@testable import KeyStoreSQLite

/// A store that any release made, or that is at any step of the schema, is opened by this one with all that is in it.
///
/// The fixtures are files that nobody changes (`Tests/Fixtures/README.md`): `vRELEASE` is what that release wrote,
/// `vRELEASE/steps` what stores were at each step that it knew.
@Suite("Upgrades", .timeLimit(.minutes(5)))
struct UpgradeTests {
    private static let fixtures: String = {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        return root + "/Fixtures"
    }()
    static let releases = names(in: fixtures) { $0.hasPrefix("v") }
    private static let steps = releases.flatMap { release in
        names(in: "\(fixtures)/\(release)/steps") { $0.hasSuffix(".sql") }.map { "\(release)/steps/\($0)" }
    }
    static let sqliteSteps = steps.filter { $0.contains("/sqlite-") }
    static let postgresqlSteps = steps.filter { $0.contains("/postgresql-") }

    private let folder = TemporaryFolder()

    private static func names(in folder: String, where isWanted: (String) -> Bool) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).filter(isWanted).sorted()
    }

    private static func text(_ name: String) throws -> String {
        try String(contentsOfFile: fixtures + "/" + name, encoding: .utf8)
    }

    private static func contents(_ folder: String) throws -> FixtureContents {
        try FixtureContents(Array(try text(folder + "/contents.json").utf8))
    }

    /// A repository keeps no modes; a master key that others can read is refused.
    private func masterKey(_ name: String) throws -> KeyEncryptionKey {
        let path = folder.path + "/master-key"
        try Self.text(name).write(toFile: path, atomically: false, encoding: .utf8)
        chmod(path, 0o600)
        return try KeyEncryptionKey.load(fromFile: path)
    }

    /// A minute later: within the life of the sessions.
    private func check(
        _ database: any KeyStore, _ contents: FixtureContents, _ kek: KeyEncryptionKey, _ name: String
    ) async throws {
        let clock = TestClock(contents.made.adding(seconds: 60))
        let ring = try await SealRing.open(kek: kek, store: database, now: clock.now)
        let store = SummingStore(database, ring: ring, writer: UUIDText.random())
        let kms = try await TestKMS.start(store: store, kek: kek, clock: clock)
        try await contents.check(kms, name)
        // What a start carries over in the background changes nothing of it.
        let now = clock.now
        _ = try await ErasableCarryOver(store: store, ring: ring).run(now: { now })
        let again = try await TestKMS.start(store: store, kek: kek, clock: clock)
        try await contents.check(again, name + ", carried over")
        try await contents.goOn(again, name)
        await database.close()
    }

    @Test("there is a fixture of every release, this one included, and of every step of the schema")
    func complete() {
        #expect(Self.releases.contains("v" + Release.version), "make it: deploy/make-fixture")
        for step in 1...KeyStoreSQLite.Schema.steps.count {
            #expect(Self.sqliteSteps.contains { $0.hasSuffix("/sqlite-\(step).sql") }, "make it: deploy/make-fixture")
        }
        for step in 1...KeyStorePostgreSQL.Schema.steps.count {
            #expect(Self.postgresqlSteps.contains { $0.hasSuffix("/postgresql-\(step).sql") })
        }
    }

    @Test("a SQLite store of an earlier release: keys open, sessions go on", arguments: releases)
    func sqlite(_ release: String) async throws {
        let path = folder.path + "/kms.sqlite"
        try FileManager.default.copyItem(atPath: "\(Self.fixtures)/\(release)/kms.sqlite", toPath: path)
        chmod(path, 0o600)
        try await check(
            try SQLiteKeyStore(path: path), try Self.contents(release), try masterKey(release + "/master-key"), release)
    }

    @Test(
        "a PostgreSQL store of an earlier release: keys open, sessions go on",
        .enabled(if: TestPostgreSQL.isInstalled), arguments: releases)
    func postgresql(_ release: String) async throws {
        try await check(
            try await loaded("\(release)/kms.postgresql.sql"), try Self.contents(release),
            try masterKey(release + "/master-key"), release)
    }

    @Test("a SQLite store at a step of the schema is brought up with its data", arguments: sqliteSteps)
    func sqliteStep(_ name: String) async throws {
        let path = folder.path + "/old.sqlite"
        let queue = try DatabaseQueue(path: path)
        try await queue.writeWithoutTransaction { db in try db.execute(sql: try Self.text(name)) }
        try queue.close()
        chmod(path, 0o600)
        let steps = String(name.prefix { $0 != "/" }) + "/steps"
        try await check(
            try SQLiteKeyStore(path: path), try Self.contents(steps), try masterKey(steps + "/master-key"), name)
    }

    @Test(
        "a PostgreSQL store at a step of the schema is brought up with its data",
        .enabled(if: TestPostgreSQL.isInstalled),
        arguments: postgresqlSteps)
    func postgresqlStep(_ name: String) async throws {
        let steps = String(name.prefix { $0 != "/" }) + "/steps"
        try await check(
            try await loaded(name), try Self.contents(steps), try masterKey(steps + "/master-key"), name)
    }

    /// A schema of its own with what a file says, opened.
    private func loaded(_ name: String) async throws -> any KeyStore {
        let schema = "upgrade_" + UUIDText.random().replacingOccurrences(of: "-", with: "")
        let text = try Self.text(name).replacingOccurrences(of: "hds_kms", with: schema)
        let settings = try await TestPostgreSQL.shared.value.settings
        try await onOwnThread {
            let deadline = ContinuousClock.now + .seconds(60)
            // As the service's own user, to whom the tables belong.
            let connection = try PostgreSQLConnection.open(settings, host: settings.hosts[0], until: deadline)
            _ = try connection.script(text, until: deadline)
        }
        var options = PostgreSQLKeyStore.Options()
        options.schema = schema
        options.readers = 2
        options.patience = .seconds(60)
        return try await PostgreSQLKeyStore.open(settings, options: options)
    }
}

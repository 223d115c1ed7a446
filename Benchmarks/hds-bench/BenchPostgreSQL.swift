import Foundation
import KeyStorePostgreSQL
import PostgreSQLClient
import Synchronization

/// The same KMS over PostgreSQL, beside the server's own limit: bare one-row inserts, each a durable commit.
struct BenchPostgreSQL {
    /// Made by deploy/lib/postgresql.sh.
    let server: URL
    let folder: URL
    let seconds: Double

    func measure() async throws -> [Measurement] {
        let settings = try Self.settings(server)
        let one = try await commits(settings, connections: 1)
        let many = try await commits(settings, connections: 64)
        let store = try await PostgreSQLKeyStore.open(settings)
        let inProcess = InProcess(kms: try await BenchKMS(folder: folder, store: store), seconds: seconds)
        var lines = [
            Measurement("PostgreSQL: bare one-row inserts, durable, 1 connection", one, "1/s"),
            Measurement("PostgreSQL: bare one-row inserts, durable, 64 connections", many, "1/s"),
        ]
        for line in try await inProcess.creations() {
            let isRate = line.unit == "1/s"
            lines.append(
                Measurement(
                    "PostgreSQL: " + line.name, line.value, line.unit, limit: isRate ? many : nil,
                    isRate ? "bare inserts over 64 connections, same run" : nil))
        }
        for line in try await BenchDurable(kms: inProcess.kms, folder: folder, name: "PostgreSQL: ").measure() {
            lines.append(line)
        }
        for line in try await inProcess.retrievals() {
            lines.append(Measurement("PostgreSQL: " + line.name, line.value, line.unit))
        }
        await store.close()
        return lines
    }

    /// Of a server that deploy/lib/postgresql.sh runs in that folder.
    static func settings(_ server: URL) throws -> PostgreSQLSettings {
        func text(_ name: String) throws -> String {
            try String(contentsOf: server.appending(path: name), encoding: .utf8)
                .trimmingCharacters(in: .whitespacesAndNewlines)
        }
        let password = Array(try text("password").utf8)
        var settings = PostgreSQLSettings(
            hosts: [.init("localhost", port: Int(try text("port")) ?? 0)], database: "hds", user: "hds",
            password: { password })
        settings.authorities = server.appending(path: "root.pem").path
        return settings
    }

    /// Commits a second over so many connections with a thread each.
    private func commits(_ settings: PostgreSQLSettings, connections: Int) async throws -> Double {
        let insert = PostgreSQLStatement(
            "bare", "INSERT INTO bare (id, value) VALUES (gen_random_uuid(), $1)", .bytea)
        let far = ContinuousClock.now + .seconds(60 + seconds)
        let host = settings.hosts[0]
        try PostgreSQLConnection.open(settings, host: host, until: far).script(
            "CREATE TABLE IF NOT EXISTS bare (id uuid PRIMARY KEY, value bytea NOT NULL)", until: far)
        var call = PostgreSQLCall(insert)
        call.bind([UInt8](repeating: 7, count: 300))
        let work = call
        let open = try (0..<connections).map { _ in
            let connection = try PostgreSQLConnection.open(settings, host: host, until: far)
            try connection.prepare([insert], until: far)
            return connection
        }
        let end = ContinuousClock.now + .seconds(seconds)
        let seconds = seconds
        return try await withThrowingTaskGroup(of: Int.self) { group in
            for connection in open {
                group.addTask {
                    try await withCheckedThrowingContinuation { continuation in
                        Thread.detachNewThread {
                            continuation.resume(
                                with: Result {
                                    var count = 0
                                    while ContinuousClock.now < end {
                                        _ = try connection.run([work], until: far)[0].get()
                                        count += 1
                                    }
                                    return count
                                })
                        }
                    }
                }
            }
            return Double(try await group.reduce(0, +)) / seconds
        }
    }
}

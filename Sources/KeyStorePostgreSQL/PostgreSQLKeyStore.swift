package import Diagnostics
import Dispatch
import Glibc
package import KeyStore
package import PostgreSQLClient
import WireText

/// The key store in a PostgreSQL database, for any number of nodes at once.
///
/// Reads and commits never block the caller's thread: a few connections with threads of their own do. When the
/// database goes away, for a restart or a failover, reads and commits are held for `patience` and done on the next
/// connection; what could not be done by then fails with `store-unreachable`. A commit whose answer was lost is looked
/// for, never guessed (`ChangeWriter`). See docs/decisions/015-postgresql.md.
package final class PostgreSQLKeyStore: KeyStore {
    package struct Options: Sendable {
        /// Connections for reading; one more writes.
        package var readers = 4
        /// How long a request waits for a database that is away.
        package var patience = Duration.seconds(5)
        /// How long a renewal of a lease may take: less than the lease.
        package var renewalLimit = Duration.milliseconds(400)
        /// The schema with the tables; lower-case letters, digits and underlines.
        package var schema = "hds_kms"
        /// The highest epoch of the cluster that this node has seen: a server of a lower one is refused.
        package var epoch: Int64 = 0
        /// Told when the database goes away, with what was seen, and with nil when it is back. On a thread of the store.
        package var observe: (@Sendable (DiagnosedError?) -> Void)?
        /// Told of each commit that was carried out how long its caller waited for it.
        package var committed: @Sendable (Duration) -> Void = { _ in }

        package init() {}
    }

    private let connector: StoreConnector
    private let writer: ChangeWriter
    private let commits: GroupCommit
    let reads: ReadPool
    let leaseConnection: LeaseConnection
    /// What protects the connection, such as `TLSv1.3 TLS_AES_256_GCM_SHA384`; nil for none.
    package let protection: String?

    /// Connects, makes or migrates the tables, and proves what durability rests on.
    package static func open(
        _ settings: PostgreSQLSettings, options: Options = Options()
    ) async throws -> PostgreSQLKeyStore {
        try settings.validate()
        let characters = options.schema.utf8
        guard let first = characters.first, characters.count < 64, first != UInt8(ascii: "_"),
            !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first), !options.schema.hasPrefix("pg_"),
            characters.allSatisfy({ octet in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(octet)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(octet) || octet == UInt8(ascii: "_")
            })
        else {
            throw DiagnosedError(
                .postgreSQLSettings, fault: .configuration, "the name of the schema can not be used",
                expected: "a lower-case letter, then letters, digits and underlines",
                found: "\(options.schema.debugDescription.prefix(80))")
        }
        let connector = StoreConnector(settings, schema: options.schema, epoch: options.epoch, observe: options.observe)
        return try await withCheckedThrowingContinuation { continuation in
            DispatchQueue(label: "hds.key-store.postgresql.open").async {
                continuation.resume(
                    with: Result {
                        do {
                            return try PostgreSQLKeyStore(connector, options)
                        } catch {
                            throw connector.diagnosis.diagnosed(error)
                        }
                    })
            }
        }
    }

    /// Blocks.
    private init(_ connector: StoreConnector, _ options: Options) throws {
        let first = try Self.connectPatiently(connector, options.patience)
        // Waiting for another node's migration counts as well.
        try Schema.migrate(first, connector, until: .now + .seconds(600))
        try first.script(
            "DELETE FROM \(connector.schema).commit_marks WHERE at < now() - interval '1 day'",
            until: .now + .seconds(10))
        self.connector = connector
        let writing = try connector.connect(Statements.writing, until: .now + .seconds(10))
        protection = writing.protection
        let writer = ChangeWriter(connector, writing)
        self.writer = writer
        commits = GroupCommit(patience: options.patience, committed: options.committed) { writer.apply($0) }
        leaseConnection = LeaseConnection(connector, limit: options.renewalLimit)
        reads = ReadPool(connector, readers: options.readers, patience: options.patience)
    }

    /// A database that is not up yet is waited for; one that refuses is not.
    private static func connectPatiently(
        _ connector: StoreConnector, _ patience: Duration
    ) throws -> PostgreSQLConnection {
        let deadline = ContinuousClock.now + patience
        var last: PostgreSQLFailure?
        while true {
            do {
                return try connector.connect([], until: deadline)
            } catch let failure as PostgreSQLFailure {
                guard failure.isPassing else { throw failure }
                // That the time ran out during the last try says less than what the one before it found.
                guard .now < deadline else { throw failure.kind == .unreachable ? last ?? failure : failure }
                last = failure
                usleep(100_000)
            }
        }
    }

    package func commit(_ change: StoreChange) async throws -> CommitResult {
        try change.validate()
        return try await commits.commit(change)
    }

    /// Sooner than a request gives up: health checks and watchdogs wait for it.
    package func check() async throws {
        _ = try await reads.read(PostgreSQLCall(Statements.rootKeys), within: Self.checkPatience)
        // A batch without a change writes its mark and syncs like any other.
        _ = try await commits.commit(StoreChange(), within: Self.checkPatience)
    }

    private static let checkPatience = Duration.seconds(2)

    package func stopHolding() { connector.hurry() }

    package func close() async {
        await commits.close()
        await reads.close()
        writer.close()
        leaseConnection.close()
    }

    /// What the connection for leases has seen counts for every connection of the store.
    func noteEpoch(_ epoch: Int64) { connector.raise(epoch: epoch, seenAt: leaseConnection.host) }

    func avoidPresentHost() { connector.preferNextHost() }

    /// A row that does not decode is damage.
    func decode<Value>(_ body: () throws -> Value) throws -> Value {
        do {
            return try body()
        } catch {
            throw connector.diagnosis.diagnosed(error)
        }
    }

    /// Runs a read and decodes its answer; a row that does not decode is damage.
    func read<Value>(
        _ statement: PostgreSQLStatement, _ bind: (inout PostgreSQLCall) -> Void = { _ in },
        _ decode: (PostgreSQLRows) throws -> Value
    ) async throws -> Value {
        var call = PostgreSQLCall(statement)
        bind(&call)
        let rows = try await reads.read(call)
        do {
            return try decode(rows)
        } catch {
            throw connector.diagnosis.diagnosed(error)
        }
    }
}

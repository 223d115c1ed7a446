package import DatabaseConfiguration
import Diagnostics
package import KeyStore
import KeyStorePostgreSQL
import KeyStoreSQLite
import LinkedService
import PostgreSQLClient
package import ServiceRuntime

/// Which database keeps the records: a SQLite file for one node, or PostgreSQL for any number of them.
package struct StoreSection: Decodable, Sendable {
    package enum Backend: Sendable {
        case sqlite(FileLocation)
        case postgresql(PostgreSQLSection)
    }

    package let backend: Backend

    package enum CodingKeys: String, CodingKey, CaseIterable { case file, sqlite, postgresql }

    private struct SQLiteSection: Decodable, Sendable {
        let file: FileLocation
        enum CodingKeys: String, CodingKey, CaseIterable { case file }
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        let file: FileLocation? = try section.optional(.file)
        let sqlite: SQLiteSection? = try section.optional(.sqlite)
        let postgresql: PostgreSQLSection? = try section.optional(.postgresql)
        switch (file ?? sqlite?.file, postgresql) {
        case (let file?, nil) where sqlite == nil || sqlite?.file == file: backend = .sqlite(file)
        case (nil, let section?): backend = .postgresql(section)
        default: throw section.problem(.file, "expected one of file, sqlite and postgresql")
        }
    }

    /// Less than the 6 s after which a client sends its request again.
    private static let patience = Duration.seconds(5)

    /// The SQLite file; nil with PostgreSQL.
    package var file: FileLocation? {
        guard case .sqlite(let file) = backend else { return nil }
        return file
    }

    /// Opens the database, making or migrating its tables. Requests are held for it for five seconds. `epoch`: the highest
    /// that this node has seen, see `PostgreSQLKeyStore.Options`.
    package func open(
        _ credentials: Credentials, application: String, epoch: Int64 = 0, observer: StoreObserver
    ) async throws -> any KeyStore {
        switch backend {
        case .sqlite(let file):
            var options = SQLiteKeyStore.Options()
            options.patience = Self.patience
            options.observer = observer
            return try SQLiteKeyStore(path: file.path, options: options)
        case .postgresql(let section):
            var options = PostgreSQLKeyStore.Options()
            options.readers = section.connections
            options.epoch = epoch
            options.patience = Self.patience
            options.observe = observer.trouble
            options.committed = observer.committed
            return try await PostgreSQLKeyStore.open(
                section.settings(credentials, application: application), options: options)
        }
    }
}

extension KMSServiceConfiguration {
    /// Where this node keeps what is no record: beside the SQLite file, or beside the audit trail.
    var dataFolder: String { (store.file ?? audit.folder)?.path.folder ?? "/" }
    package var journalFolder: String { journal?.folder?.path ?? dataFolder + "/removals" }
    var auditFolder: String { audit.folder?.path ?? dataFolder + "/audit" }
    /// What the timers of backup and rehearsal leave.
    package var reportsFolder: String { dataFolder + "/reports" }
}

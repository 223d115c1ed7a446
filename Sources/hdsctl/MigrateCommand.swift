import ArgumentParser
import DatabaseConfiguration
import Diagnostics
import KMSService
import KeyStore
import PostgreSQLClient
import ServiceRuntime
import StoreMigration
import WireText

/// `hdsctl migrate`: from the database of one node to that of a cluster.
struct MigrateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate",
        abstract: "Move the key store to another database.",
        subcommands: [SQLiteToPostgreSQL.self])

    struct SQLiteToPostgreSQL: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "sqlite-to-postgres",
            abstract: "Move everything from a SQLite file to PostgreSQL, and prove it.",
            discussion: """
                Stop hds-kms first; while it runs on the file nothing is moved. All rows go over in one transaction, \
                which is kept only when every table was read back with the same number of rows and the same SHA-256. \
                The file is left as it is. If it ends early, start it again.
                """)

        @Option(help: "The SQLite file of the store that is left.", completion: .file())
        var from: String
        @Option(help: "The configuration of hds-kms with store.postgresql.", completion: .file())
        var to: String
        @Flag(help: "Print one JSON object: moved, and for each table name, rows and sha256.")
        var json = false
        @OptionGroup var begin: EpochOptions

        func run() throws {
            try reporting {
                let outcome = try StoreMigration.sqliteToPostgreSQL(from: from, to: try settings(), epoch: begin.epoch)
                { table, rows in
                    if !json, rows > 0, rows % 100_000 == 0 { announce("\(table.rawValue): \(rows) rows so far") }
                }
                show(outcome)
            }
        }

        private func settings() throws(DiagnosedError) -> PostgreSQLSettings {
            let configuration: KMSServiceConfiguration
            do {
                configuration = try ConfigurationFile.read(to)
            } catch {
                throw error.diagnosed
            }
            guard case .postgresql(let section) = configuration.store.backend else {
                throw DiagnosedError(
                    .storeForeign, fault: .configuration, "\(to) names no PostgreSQL database",
                    expected: "store.postgresql", found: "store.file",
                    hint: "write the new store into a copy of the configuration and name that copy")
            }
            return section.settings(.ofProcess, application: "hdsctl migrate")
        }

        private func show(_ outcome: StoreMigration.Outcome) {
            guard json else {
                for table in outcome.tables {
                    print("\(table.table.rawValue): \(table.rows) rows, SHA-256 \(table.digest.prefix(16))…")
                }
                return print(
                    outcome.wasMoved
                        ? """
                        Everything is in PostgreSQL, read back and compared.
                        Next: start hds-kms with the configuration \(to). Keep \(from) until the first backup of the \
                        new database; never start a service on it again.
                        """
                        : "Everything was there already, read back and compared; nothing was changed.")
            }
            var writer = JSONWriter()
            writer.beginObject()
            writer.member("moved", outcome.wasMoved)
            writer.name("tables")
            writer.beginArray()
            for table in outcome.tables {
                writer.beginObject()
                writer.member("name", table.table.rawValue)
                writer.member("rows", table.rows)
                writer.member("sha256", table.digest)
                writer.endObject()
            }
            writer.endArray()
            writer.endObject()
            print(writer.text())
        }
    }
}

import DatabaseConfiguration
import Diagnostics
import Glibc
import KeyStore
import KeyStorePostgreSQL
import KeyStoreSQLite
import MasterKey
import ServiceRuntime

// A master key that can not be read says nothing of which one is wanted; the key store does.
extension KMSServiceConfiguration {
    /// Opens the master key. When that fails, the error also names the keys that open what is in the key store.
    func openMasterKey(_ credentials: Credentials) async throws -> any RootKeyWrapping {
        do {
            return try masterKey.open(credentials)
        } catch let error as DiagnosedError {
            guard let wanted = Self.wanted(store, credentials) else { throw error }
            throw DiagnosedError(
                error.code, fault: error.fault, error.summary,
                expected: [error.expected, wanted].compactMap(\.self).joined(separator: ", "), found: error.found,
                hint: error.hint)
        }
    }

    /// Reads only, and makes nothing; nil when the store is new, away, or of another time.
    private static func wanted(_ store: StoreSection, _ credentials: Credentials) -> String? {
        let keys: [(version: Int64, kek: String)]? = try? {
            switch store.backend {
            case .sqlite(let file):
                guard access(file.path, F_OK) == 0 else { return [] }
                return try SQLiteSnapshot.read(path: file.path, holders)
            case .postgresql(let section):
                return try holders(PostgreSQLSnapshot(section.settings(credentials, application: "hds-kms start")))
            }
        }()
        guard let keys, let newest = keys.map(\.version).max() else { return nil }
        let names = Set(keys.filter { $0.version == newest }.map(\.kek)).sorted()
        return "the key with the fingerprint \(names.joined(separator: " or ")), which wraps version \(newest) of the "
            + "root key in the key store"
    }

    private static func holders(_ snapshot: any StoreSnapshot) throws -> [(version: Int64, kek: String)] {
        var keys: [(version: Int64, kek: String)] = []
        try snapshot.rows(of: .rootKeyWraps) { row in
            guard case .integer(let version) = row[0], case .octets(let octets) = row[1] else { return }
            let holder = String(decoding: octets, as: UTF8.self)
            // Anything else than a fingerprint was not written by a KMS and is not repeated.
            let kek = holder.dropFirst(4)
            guard holder.hasPrefix("kek "), kek.utf8.count == 16, kek.allSatisfy(\.isHexDigit) else { return }
            keys.append((version, String(kek)))
        }
        return keys
    }
}

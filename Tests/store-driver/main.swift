import Glibc
import KeyStore
import KeyStorePostgreSQL
import KeyStoreSQLite
import PostgreSQLClient
import StoreScript

// Applies the script to the store of the path, or to that of a PostgreSQL server (`postgresql PORT SCHEMA`), and says each
// acknowledged change: `ack N`. One that failed is said (`fail N CODE`) and tried once more.

func say(_ text: String) {
    let octets = Array((text + "\n").utf8)
    _ = octets.withUnsafeBytes { write(1, $0.baseAddress, $0.count) }
}

func open(_ words: [String]) async throws -> any KeyStore {
    guard words[1] == "postgresql" else { return try SQLiteKeyStore(path: words[1]) }
    var settings = PostgreSQLSettings(
        hosts: [.init("127.0.0.1", port: Int(words[2]) ?? 0)], database: "hds", user: "open")
    settings.tls = .none
    var options = PostgreSQLKeyStore.Options()
    options.schema = words[3]
    return try await PostgreSQLKeyStore.open(settings, options: options)
}

let store = try await open(CommandLine.arguments)
for number in 0..<StoreScript.count {
    for attempt in 0..<2 {
        do {
            switch try await store.commit(StoreScript.change(number)) {
            case .committed: say("ack \(number)")
            // The first attempt took effect although it failed.
            case .duplicate where attempt > 0: say("ack \(number)")
            case .duplicate, .conflict: say("lost \(number)")
            }
            break
        } catch {
            say("fail \(number) \(error)")
        }
    }
}
await store.close()
say("end")

import Glibc
import KeyStore
import KeyStoreSQLite
import StoreScript

// Applies the script to the store of the path, three changes at a time as clients that do not know of each other, and
// says each acknowledged one: `ack N`. A change that failed is said (`fail N CODE`) and tried once more.

func say(_ text: String) {
    let octets = Array((text + "\n").utf8)
    _ = octets.withUnsafeBytes { write(1, $0.baseAddress, $0.count) }
}

let store = try SQLiteKeyStore(path: CommandLine.arguments[1])
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

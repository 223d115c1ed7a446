import Cryptography
import KMSProtocol
import SecretMemory
import WireText

/// Keys of partners, to be released again after the partner was asked again: octets with a bounded life, no decisions.
///
/// Entries end by time or number; `sweep` drops the ended ones, so that octets do not lie about because nobody asks.
struct FederationCache: Sendable {
    struct Entry: Sendable {
        let key: KMSKey
        /// base64url of the SHA-256 of the octets: what the partner is told.
        let digest: String
        let ends: Timestamp
    }

    private var entries: [String: Entry] = [:]
    /// URIs by their ends, earliest first for each life; one may stand here more than once.
    private var order: [(uri: String, ends: Timestamp)] = []
    private let capacity: Int

    init(capacity: Int = 10_000) { self.capacity = capacity }

    var count: Int { entries.count }
    /// Ends that are noted, for tests.
    var notes: Int { order.count }

    func entry(_ uri: String, at now: Timestamp) -> Entry? {
        guard let entry = entries[uri], now < entry.ends else { return nil }
        return entry
    }

    /// What is kept already does not live longer for being confirmed.
    mutating func keep(_ key: KMSKey, for seconds: Int64, at now: Timestamp) {
        let digest = key.key.withUnsafeBytes { Base64URL.encode(SHA256.hash($0)) }
        guard seconds > 0, entry(key.uri, at: now)?.digest != digest else { return }
        if order.count >= 2 * capacity { order.removeAll { entries[$0.uri]?.ends != $0.ends } }
        if entries.count >= capacity { dropEarliest() }
        let ends = now.adding(seconds: seconds)
        entries[key.uri] = Entry(key: key, digest: digest, ends: ends)
        let place = order.lastIndex { $0.ends <= ends }.map { $0 + 1 } ?? 0
        order.insert((key.uri, ends), at: place)
    }

    mutating func drop(_ uri: String) { entries[uri] = nil }

    /// All of one partner.
    mutating func drop(host: String) {
        entries = entries.filter { KMSURI($0.key)?.host != host }
    }

    mutating func sweep(_ now: Timestamp) {
        let ended = order.prefix { $0.ends <= now }
        for (uri, _) in ended where entries[uri].map({ $0.ends <= now }) == true { entries[uri] = nil }
        order.removeFirst(ended.count)
    }

    private mutating func dropEarliest() {
        while let first = order.first {
            order.removeFirst()
            if entries[first.uri]?.ends == first.ends {
                entries[first.uri] = nil
                return
            }
        }
    }
}

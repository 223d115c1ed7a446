import Cryptography
import Diagnostics
import Encryption
import KeyManagement
import SecretMemory
package import WireText

/// One entry of a journal of removals: numbered, chained to the one before, its content sealed.
///
/// File: "HDS-REMOVALS-1" and a line feed; length of the header (4, big endian), header; entries of length (4), number
/// (8), position of the ledger (8), time in milliseconds (8), nonce (12), ciphertext, tag (16), chain (32). The chain is
/// SHA-256 of the chain before and all of the entry between its length and it; before the first entry stands SHA-256 of
/// everything up to it, or, where older entries were pruned, the chain of the last of those, which the header names. The seal is bound to the chain before, number, position and time.
struct JournalEntry: Sendable, Equatable {
    enum Content: Sendable, Equatable {
        case removals([Removal])
        /// What that entry says did not come about.
        case void(UInt64)
    }

    let number: UInt64
    let position: Int64
    let time: Timestamp
    let content: Content

    static let magic = Array("HDS-REMOVALS-1\n".utf8)
    static let maximum = 1 << 26
    private static let clearCount = 24
    static let minimum = clearCount + AESGCM.nonceByteCount + AESGCM.tagByteCount + SHA256.byteCount

    /// The octets of the entry behind a chain, and the chain behind it.
    func octets(after chain: [UInt8], key: SymmetricKey) throws -> (octets: [UInt8], chain: [UInt8]) {
        var clear: [UInt8] = []
        clear.append(bigEndian: Int64(bitPattern: number))
        clear.append(bigEndian: position)
        clear.append(bigEndian: time.milliseconds)
        let plain: [UInt8]
        switch content {
        case .removals(let removals): plain = [1] + Removal.encode(removals)
        case .void(let number):
            var octets: [UInt8] = [2]
            octets.append(bigEndian: Int64(bitPattern: number))
            plain = octets
        }
        let nonce = try RandomBytes.bytes(AESGCM.nonceByteCount)
        let sealed = try AESGCM.seal(plain, key: key, nonce: nonce, aad: Self.binding(chain, clear))
        let body = clear + nonce + sealed.ciphertext + sealed.tag
        let next = SHA256.hash(chain + body)
        var octets: [UInt8] = []
        octets.append(bigEndian: UInt32(body.count + next.count))
        return (octets + body + next, next)
    }

    /// Nil when it is not the entry that stood there.
    init?(_ body: [UInt8], after chain: [UInt8], key: SymmetricKey) {
        guard let clear = Clear(body) else { return nil }
        let nonce = Self.clearCount + AESGCM.nonceByteCount
        let (end, tag) = (body.count - SHA256.byteCount, body.count - SHA256.byteCount - AESGCM.tagByteCount)
        guard
            let plain = try? AESGCM.open(
                Array(body[nonce..<tag]), tag: Array(body[tag..<end]), key: key,
                nonce: Array(body[Self.clearCount..<nonce]),
                aad: Self.binding(chain, Array(body[..<Self.clearCount])))
        else { return nil }
        let content = plain.withUnsafeBytes { bytes -> Content? in
            let rest = UnsafeRawBufferPointer(rebasing: bytes.dropFirst())
            switch bytes.first {
            case 1: return Removal.decode(rest).map { .removals($0) }
            case 2: return rest.count == 8 ? .void(rest.reduce(0) { $0 << 8 | UInt64($1) }) : nil
            default: return nil
            }
        }
        guard let content else { return nil }
        self.init(number: clear.number, position: clear.position, time: clear.time, content: content)
    }

    init(number: UInt64, position: Int64, time: Timestamp, content: Content) {
        (self.number, self.position, self.time, self.content) = (number, position, time, content)
    }

    /// What everybody can read of an entry.
    struct Clear {
        let number: UInt64
        let position: Int64
        let time: Timestamp

        init?(_ body: [UInt8]) {
            guard body.count >= JournalEntry.minimum else { return nil }
            func value(_ place: Int) -> UInt64 { body[place..<place + 8].reduce(0) { $0 << 8 | UInt64($1) } }
            number = value(0)
            position = Int64(bitPattern: value(8))
            time = Timestamp(milliseconds: Int64(bitPattern: value(16)))
        }
    }

    private static func binding(_ chain: [UInt8], _ clear: [UInt8]) -> [UInt8] {
        var octets: [UInt8] = []
        octets.append(lengthPrefixed: "HDS removal journal entry")
        return octets + chain + clear
    }
}

/// Whose journal it is.
package struct JournalHeader: Sendable, Equatable {
    package let journal: String
    package let host: String
    package let node: String
    package let begun: Timestamp
    /// The last entry that was pruned; the file begins behind it.
    package var behind: JournalTip?

    func octets() -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("journal", journal)
        json.member("host", host)
        json.member("node", node)
        json.member("begun", begun.iso8601)
        if let behind {
            json.name("behind")
            json.beginObject()
            behind.write(to: &json)
            json.endObject()
        }
        json.endObject()
        let text = json.bytes()
        var octets = JournalEntry.magic
        octets.append(bigEndian: UInt32(text.count))
        return octets + text
    }

    init(journal: String, host: String, node: String, begun: Timestamp) {
        (self.journal, self.host, self.node, self.begun) = (journal, host, node, begun)
    }

    init?(_ text: [UInt8]) {
        guard let root = try? JSONDocument(text).root, let journal = root["journal"]?.string,
            let host = root["host"]?.string, let node = root["node"]?.string,
            let begun = root["begun"]?.string.flatMap({ Timestamp(iso8601: $0) })
        else { return nil }
        self.init(journal: journal, host: host, node: node, begun: begun)
        guard let behind = root["behind"] else { return }
        guard let tip = JournalTip(behind) else { return nil }
        self.behind = tip
    }
}

/// Where a journal is: what a backup and the mark beside the file say of it.
package struct JournalTip: Sendable, Equatable {
    package internal(set) var number: UInt64
    package internal(set) var position: Int64
    /// Of the last entry; of a mark, when it was made.
    package internal(set) var time: Timestamp
    package internal(set) var chain: [UInt8]
    /// Of a mark: the number of the last entry that this node pruned.
    var pruned: UInt64?

    func write(to json: inout JSONWriter) {
        json.member("number", Int64(bitPattern: number))
        json.member("position", position)
        json.member("time", time.iso8601)
        json.member("chain", Hexadecimal.encode(chain))
        if let pruned { json.member("pruned", Int64(bitPattern: pruned)) }
    }

    init(number: UInt64, position: Int64, time: Timestamp, chain: [UInt8]) {
        (self.number, self.position, self.time, self.chain) = (number, position, time, chain)
    }

    init?(_ root: JSONNode) {
        guard let number = root["number"]?.integer, let position = root["position"]?.integer,
            let time = root["time"]?.string.flatMap({ Timestamp(iso8601: $0) }),
            let chain = root["chain"]?.string.flatMap({ Hexadecimal.decode($0) })
        else { return nil }
        self.init(number: UInt64(bitPattern: number), position: position, time: time, chain: chain)
        pruned = root["pruned"]?.integer.map { UInt64(bitPattern: $0) }
    }
}

/// The mark beside a journal, renewed each minute: up to when nothing happened that the journal does not have, and how
/// far it had come. A journal that ends before its mark was cut off.
enum JournalMark {
    static let ending = ".mark"

    static func octets(_ tip: JournalTip, journal: String, key: SymmetricKey) throws -> [UInt8] {
        var inner = JSONWriter()
        inner.beginObject()
        tip.write(to: &inner)
        inner.endObject()
        let nonce = try RandomBytes.bytes(AESGCM.nonceByteCount)
        let sealed = try AESGCM.seal(inner.bytes(), key: key, nonce: nonce, aad: binding(journal))
        var json = JSONWriter()
        json.beginObject()
        json.member("journal", journal)
        json.member("sealed", Base64URL.encode(nonce + sealed.ciphertext + sealed.tag))
        json.endObject()
        return json.bytes() + [UInt8(ascii: "\n")]
    }

    /// Nil when it is missing, of another journal, or nobody's who has the key.
    static func read(_ path: String, journal: String, key: SymmetricKey) -> JournalTip? {
        guard let octets = try? BackupFile.open(path).read(1 << 16), let root = try? JSONDocument(octets).root,
            root["journal"]?.string == journal,
            let sealed = root["sealed"]?.string.flatMap({ Base64URL.decode($0) }),
            sealed.count > AESGCM.nonceByteCount + AESGCM.tagByteCount
        else { return nil }
        let tag = sealed.count - AESGCM.tagByteCount
        guard
            let plain = try? AESGCM.open(
                Array(sealed[AESGCM.nonceByteCount..<tag]), tag: Array(sealed[tag...]), key: key,
                nonce: Array(sealed[..<AESGCM.nonceByteCount]), aad: binding(journal))
        else { return nil }
        return plain.withUnsafeBytes { try? JSONDocument(Array($0)).root }.flatMap { JournalTip($0) }
    }

    private static func binding(_ journal: String) -> [UInt8] {
        var octets: [UInt8] = []
        octets.append(lengthPrefixed: "HDS removal journal mark")
        octets.append(lengthPrefixed: journal)
        return octets
    }
}

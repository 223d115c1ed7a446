import Diagnostics
package import WireText

/// The kinds of what an attestation key signs; a verifier takes no kind for another.
package enum StatementType: String, Sendable, CaseIterable {
    case head = "hds-audit-head"
    case root = "hds-audit-root"
    case gap = "hds-audit-gap"
    case succession = "hds-attestation-succession"
    case erasure = "hds-erasure-certificate"
    case rotation = "hds-rotation-certificate"
    case transparency = "hds-transparency-report"
}

/// How far the caller's store had counted, in its own words: outside of the store, nobody who writes there can take it back.
package struct StoreCounters: Sendable, Equatable {
    package static let maximum = 64
    package let epoch: String
    /// By writer; the highest `maximum` of them.
    package let counters: [String: Int64]

    package init(epoch: String, counters: [String: Int64]) {
        self.epoch = epoch
        let highest = counters.sorted { ($0.value, $0.key) > ($1.value, $1.key) }.prefix(Self.maximum)
        self.counters = Dictionary(uniqueKeysWithValues: highest.map { ($0.key, $0.value) })
    }
}

/// "The chain of this trail was here": what a witness gets each minute.
package struct HeadStatement: Sendable, Equatable {
    package let node: String
    package let trail: String
    /// The last record that it covers.
    package let seq: Int64
    package let chain: [UInt8]
    /// Up to where in the caller's ledger everything stands in the trail.
    package let position: Int64?
    package var store: StoreCounters?
    package let time: Timestamp

    func json() -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("node", node)
        json.member("trail", trail)
        json.member("seq", seq)
        json.member("chain", Hexadecimal.encode(chain))
        if let position { json.member("position", position) }
        if let store {
            json.member("epoch", store.epoch)
            json.name("counters")
            json.beginObject()
            for (writer, counter) in store.counters.sorted(by: { $0.key < $1.key }) { json.member(writer, counter) }
            json.endObject()
        }
        json.member("time", time.iso8601)
        json.endObject()
        return json.bytes()
    }
}

/// "These were all records of this segment": an RFC 6962 root that makes each of them provable alone.
package struct RootStatement: Sendable, Equatable {
    package let node: String
    package let trail: String
    package let first: Int64
    package let last: Int64
    package let count: Int64
    package let root: [UInt8]
    /// After the last record.
    package let chain: [UInt8]
    /// SHA-256 of the root's JWS before this one, or the genesis.
    package let previous: [UInt8]
    package let time: Timestamp

    func json() -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("node", node)
        json.member("trail", trail)
        json.member("first", first)
        json.member("last", last)
        json.member("count", count)
        json.member("root", Hexadecimal.encode(root))
        json.member("chain", Hexadecimal.encode(chain))
        json.member("previous", Hexadecimal.encode(previous))
        json.member("time", time.iso8601)
        json.endObject()
        return json.bytes()
    }
}

/// "Records of that node are lost": what a survivor signs about another node, or a new trail about the one before.
package struct GapStatement: Sendable, Equatable {
    package let node: String
    package let trail: String?
    /// The last record that anybody has seen.
    package let lastSeq: Int64
    package let reason: String
    package let time: Timestamp

    func json() -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("node", node)
        json.member("trail", ifPresent: trail)
        json.member("lastSeq", lastSeq)
        json.member("reason", reason)
        json.member("time", time.iso8601)
        json.endObject()
        return json.bytes()
    }
}

// Reading: the signature was verified before, so a missing member is a defect of the signer.
extension HeadStatement {
    init(_ payload: [UInt8]) throws(DiagnosedError) {
        let json = try StatementReader(payload)
        node = try json.text("node")
        trail = try json.text("trail")
        seq = try json.number("seq")
        chain = try json.digest("chain")
        position = json.root["position"]?.integer
        if let epoch = json.root["epoch"]?.string {
            var counters: [String: Int64] = [:]
            for (writer, counter) in json.root["counters"]?.members ?? [] {
                guard let counter = counter.integer else { throw StatementReader.malformed("counters") }
                counters[writer] = counter
            }
            store = StoreCounters(epoch: epoch, counters: counters)
        }
        time = try json.time("time")
    }
}

extension RootStatement {
    init(_ payload: [UInt8]) throws(DiagnosedError) {
        let json = try StatementReader(payload)
        node = try json.text("node")
        trail = try json.text("trail")
        first = try json.number("first")
        last = try json.number("last")
        count = try json.number("count")
        root = try json.digest("root")
        chain = try json.digest("chain")
        previous = try json.digest("previous")
        time = try json.time("time")
        guard first >= 1, last >= first, count == last - first + 1 else { throw StatementReader.malformed("count") }
    }
}

extension GapStatement {
    init(_ payload: [UInt8]) throws(DiagnosedError) {
        let json = try StatementReader(payload)
        node = try json.text("node")
        trail = json.root["trail"]?.string
        lastSeq = try json.number("lastSeq")
        reason = try json.text("reason")
        time = try json.time("time")
    }
}

struct StatementReader {
    let root: JSONNode

    init(
        _ payload: [UInt8], upTo maximumBytes: Int = 16 << 10, nodes: Int = 100
    ) throws(DiagnosedError) {
        let limits = JSONDocument.Limits(maximumDepth: 4, maximumNodes: nodes, maximumBytes: maximumBytes)
        do {
            root = try JSONDocument(payload, limits: limits).root
        } catch {
            throw Self.malformed(error.summary)
        }
    }

    func text(_ name: String) throws(DiagnosedError) -> String {
        guard let text = root[name]?.string else { throw Self.malformed(name) }
        return text
    }

    func number(_ name: String) throws(DiagnosedError) -> Int64 {
        guard let number = root[name]?.integer, number >= 0 else { throw Self.malformed(name) }
        return number
    }

    func digest(_ name: String) throws(DiagnosedError) -> [UInt8] {
        guard let text = root[name]?.string, let bytes = Hexadecimal.decode(text), bytes.count == 32 else {
            throw Self.malformed(name)
        }
        return bytes
    }

    func time(_ name: String) throws(DiagnosedError) -> Timestamp {
        guard let text = root[name]?.string, let time = Timestamp(iso8601: text) else { throw Self.malformed(name) }
        return time
    }

    static func malformed(_ name: String) -> DiagnosedError {
        DiagnosedError(
            .attestationInvalid, fault: .client, "a signed statement is not complete", found: "'\(name)' not usable")
    }
}

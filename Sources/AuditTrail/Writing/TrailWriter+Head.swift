import Diagnostics
import WireText

extension TrailWriter {
    /// Nil when every record is sealed and the position is no other.
    mutating func appendHead(at now: Timestamp, position: Int64?, store: StoreCounters?) throws -> SignedHead? {
        guard tip.unsealedFrom != nil || (position ?? tip.position) != tip.position else { return nil }
        let statement = HeadStatement(
            node: node, trail: trail, seq: tip.seq, chain: tip.chain, position: position ?? tip.position,
            store: store ?? tip.store, time: now)
        let jws = try key.sign(statement.json(), as: .head)
        var record = AuditRecord(.head, at: now)
        record.own.position = statement.position
        record.own.jws = jws
        try append(record)
        setPosition(position)
        setStore(statement.store)
        return SignedHead(statement: statement, jws: jws)
    }

    /// Why a record that the quota refuses can not be kept.
    var full: DiagnosedError {
        .blocked(
            "the audit spool \(folder.path) is full",
            expected: "at most \(quota.limit) octets, the last tenth for releases",
            found: "\(usedOctets) octets",
            fix: "hdsctl audit export lets the oldest segments go; or raise the limit if the disk has room")
    }

    /// Set while not even a release would be kept.
    var fullReason: DiagnosedError? {
        quota.admits(.reserved, octets: 1024, used: usedOctets, refusals: 0) ? nil : full
    }
}

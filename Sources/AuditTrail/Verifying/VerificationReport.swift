package import WireText

/// What the verification of a trail has proven.
package struct VerificationReport: Sendable, Equatable {
    package var node = ""
    package var trail = ""
    /// The first record that is there; those before it were deleted and are covered by roots.
    package var first: Int64 = 1
    package var last: Int64 = 0
    package var segments = 0
    package var roots = 0
    /// The last record that a signed head or root covers.
    package var sealedThrough: Int64 = 0
    package var sealedAt: Timestamp?
    /// The last record that a witness's head covers, 0 when it has none; nil without a witness.
    package var witnessedThrough: Int64?
    package var witnessedAt: Timestamp?
    /// Records up to here existed before that time, by the word of a time-stamping authority.
    package var stampedThrough: Int64?
    package var stampedAt: Timestamp?
    /// Who stamped that.
    package var stampSigner = ""
    /// Time stamps that hold, and those that were not verified for want of an authority's certificate.
    package var stamps = 0
    package var uncheckedStamps = 0
    /// When the first record of the unsealed tail was kept.
    package var unsealedSince: Timestamp?
    /// A torn last line, or one being written: octets that are no record.
    package var tornOctets = 0
    /// Lines of witnesses that are no heads, such as a crash leaves them.
    package var unreadableWitnessLines = 0
    /// Fingerprint of the key that signed last.
    package var key = ""

    /// Records behind the last head or root: the chain holds, but nobody has signed it.
    package var unsealed: Int64 { last - sealedThrough }

    mutating func add(stampsOf heads: WitnessHeads) {
        stamps += heads.stamps
        uncheckedStamps += heads.uncheckedStamps
        guard let newest = heads.newestStamp, newest.seq >= stampedThrough ?? 0 else { return }
        (stampedThrough, stampedAt, stampSigner) = (newest.seq, newest.time, newest.signer)
    }

    /// Sentences for an auditor.
    package func text() -> String {
        var lines = [
            "trail \(trail) of node \(node), signed by \(key)",
            "proven: records \(first) to \(sealedThrough) are as they were written, none is missing or added"
                + (sealedAt.map { "; signed at \($0)" } ?? ""),
            "        \(segments) segments, \(roots) roots",
        ]
        if first > 1 { lines.append("deleted: records 1 to \(first - 1); their roots are there and hold together") }
        switch (witnessedThrough, witnessedAt) {
        case (let through?, let time?): lines.append("witnessed: up to record \(through) at \(time)")
        case (.some, nil): lines.append("not witnessed: the witness has no head of this trail")
        default: lines.append("not witnessed: an older copy of the whole folder would look the same")
        }
        if let stampedThrough, let stampedAt {
            lines.append(
                "time-stamped: records 1 to \(stampedThrough) existed before \(stampedAt), says \(stampSigner)")
            lines.append("        \(stamps) time stamps hold")
        }
        if uncheckedStamps > 0 {
            lines.append("not checked: \(uncheckedStamps) time stamps, for want of their authority's CA certificate")
        }
        if unsealed > 0 {
            let since = unsealedSince.map { ", the first of \($0)" } ?? ""
            lines.append("not proven: \(unsealed) records from \(sealedThrough + 1) on are not signed yet\(since)")
        }
        if tornOctets > 0 { lines.append("left out: \(tornOctets) octets behind the last line, torn or being written") }
        if unreadableWitnessLines > 0 {
            lines.append("left out: \(unreadableWitnessLines) lines of witnesses that are no heads")
        }
        return lines.joined(separator: "\n")
    }

    package func json() -> String {
        var json = JSONWriter()
        json.beginObject()
        json.member("node", node)
        json.member("trail", trail)
        json.member("key", key)
        json.member("first", first)
        json.member("last", last)
        json.member("segments", segments)
        json.member("roots", roots)
        json.member("sealedThrough", sealedThrough)
        json.member("sealedAt", ifPresent: sealedAt?.iso8601)
        if let witnessedThrough { json.member("witnessedThrough", witnessedThrough) }
        json.member("witnessedAt", ifPresent: witnessedAt?.iso8601)
        if let stampedThrough { json.member("stampedThrough", stampedThrough) }
        json.member("stampedAt", ifPresent: stampedAt?.iso8601)
        json.member("stamps", stamps)
        json.member("uncheckedStamps", uncheckedStamps)
        json.member("unsealed", unsealed)
        json.member("unsealedSince", ifPresent: unsealedSince?.iso8601)
        json.member("tornOctets", tornOctets)
        json.member("unreadableWitnessLines", unreadableWitnessLines)
        json.endObject()
        return json.text()
    }
}

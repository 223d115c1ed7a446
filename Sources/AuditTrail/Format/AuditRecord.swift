package import WireText

/// What the trail keeps of one decision or event; identifiers come in as pseudonyms, never in clear.
///
/// The trail adds node, sequence number and chain. Texts are at most 1024 octets (`path` 4096), `sealed` at most
/// 32 KiB of base64url.
/// ```swift
/// var record = AuditRecord(.decision, at: now)
/// record.user = "u:5b1f…"
/// record.rule = "member"
/// record.status = 200
/// try await trail.keep(record)
/// ```
package struct AuditRecord: Sendable, Equatable {
    package enum Kind: String, Sendable, CaseIterable {
        /// A request was judged.
        case decision
        /// Refusals of one source that were only counted.
        case refusals
        /// Another signed policy took effect.
        case policy
        case freeze
        case erasure
        case consent
        /// Somebody looked something up with the KMS's help.
        case lookup
        /// Records of another trail are lost; signed.
        case gap
        /// The chain up to the record before, signed.
        case head
        /// The Merkle root of the segment before, signed; the first record of every segment but the first.
        case root
        /// Another attestation key signs from here on; signed by the one before.
        case key
        case start
        case stop
        /// A torn last line was cut off at the start.
        case cut

        /// Whether callers may keep such records; the others are the trail's own.
        package var isKept: Bool {
            switch self {
            case .decision, .policy, .freeze, .erasure, .consent, .lookup: true
            case .refusals, .gap, .head, .root, .key, .start, .stop, .cut: false
            }
        }
    }

    package let id: AuditID
    package let time: Timestamp
    package let kind: Kind
    package var user: String?
    package var effectiveUser: String?
    package var client: String?
    package var method: String?
    package var type: String?
    package var object: String?
    /// Chosen by the client, so not unique.
    package var requestId: String?
    /// The stable name of the rule that decided.
    package var rule: String?
    /// The way by which access was found.
    package var path: String?
    package var status: Int?
    package var durationUs: Int64?
    /// Opaque base64url: what only the KMS may read.
    package var sealed: String?
    /// What only the trail's own records carry.
    var own = Own()

    /// Members of the trail's own kinds.
    struct Own: Sendable, Equatable {
        var source: String?
        var count: Int64?
        var since: Timestamp?
        var until: Timestamp?
        var trail: String?
        /// Fingerprint of the attestation key.
        var key: String?
        var detail: String?
        var position: Int64?
        /// A signed statement.
        var jws: String?
    }

    package init(_ kind: Kind, id: AuditID, at time: Timestamp) {
        self.kind = kind
        self.id = id
        self.time = time
    }

    package init(_ kind: Kind, at time: Timestamp) { self.init(kind, id: .make(at: time), at: time) }

    // What a reader of the trail's own records looks at.
    package var source: String? { own.source }
    package var count: Int64? { own.count }
    package var since: Timestamp? { own.since }
    package var until: Timestamp? { own.until }
    package var detail: String? { own.detail }
    package var position: Int64? { own.position }
    package var jws: String? { own.jws }

    var isRefusal: Bool { kind == .refusals || (kind == .decision && (status ?? 0) >= 400) }
}

package import WireText

// What a store keeps. Whatever is secret or must not be forged lies in `sealed`, made by `MasterKey`: a store never
// sees unwrapped bytes. The other members are what a database needs to find rows and to notice races; the sealed part
// repeats those that matter, and the reader compares. Lookups are blind indexes of 16 octets
// (docs/decisions/010-blind-indexes.md). Versions start at 1 and rise by one with every change of the row.

/// A version of the root key, wrapped once for each holder: key-encryption keys and the escrow.
package struct RootKeyRecord: Hashable, Sendable {
    package enum State: String, Sendable, CaseIterable {
        /// New records are sealed under it; at most one row is in this state.
        case active
        /// Made and not yet in use.
        case inert
        /// Opens older records, which are being sealed again under the active one. What a node seals under it before it
        /// has heard of the promotion is still taken.
        case retiring
        /// No record stands under it, and none is taken any more.
        case retired
        /// Kept as a row without wraps: nobody can open what was sealed under it.
        case destroyed

        /// Whether the store takes records that are sealed under it.
        package var isOpen: Bool { self == .active || self == .retiring }
    }

    package var version: Int64
    package var state: State
    /// The wrapped key by its holder: `kek FINGERPRINT`, `escrow FINGERPRINT` or `node FINGERPRINT`.
    package var wraps: [String: [UInt8]]
    package var created: Timestamp

    package init(version: Int64, state: State, wraps: [String: [UInt8]], created: Timestamp) {
        self.version = version
        self.state = state
        self.wraps = wraps
        self.created = created
    }

    package static func holder(kek fingerprint: String) -> String { "kek " + fingerprint }
    /// A node that has not opened them yet: the wrap goes when it has (docs/cluster.md).
    package static func holder(node fingerprint: String) -> String { "node " + fingerprint }
    package static func holder(escrow fingerprint: String) -> String { "escrow " + fingerprint }

    /// The fingerprints of the key-encryption keys that open it.
    package var keks: [String] {
        wraps.keys.filter { $0.hasPrefix("kek ") }.map { String($0.dropFirst(4)) }.sorted()
    }

    /// The fingerprint of the escrow that opens it; nil when none does.
    package var escrow: String? {
        wraps.keys.filter { $0.hasPrefix("escrow ") }.min().map { String($0.dropFirst(7)) }
    }
}

/// The key that seals the session records of one day; stands in a table of its own that backups leave out.
package struct SessionKEKRecord: Hashable, Sendable {
    /// The day since 1970-01-01 (UTC).
    package var id: Int64
    package var sealed: [UInt8]
    /// When the last session sealed under it ends; the store raises it with every session it takes.
    package var lastExpiry: Timestamp

    package init(id: Int64, sealed: [UInt8], lastExpiry: Timestamp) {
        self.id = id
        self.sealed = sealed
        self.lastExpiry = lastExpiry
    }
}

/// A secure channel between a client and the KMS.
package struct SessionRecord: Hashable, Sendable {
    package var id: String
    package var version: Int64
    /// The `SessionKEKRecord` that seals it.
    package var kek: Int64
    /// Lookup of the user, for the cap of sessions per user.
    package var user: [UInt8]
    package var expires: Timestamp
    /// The highest request counter that a committed request carried; 0 before the first.
    package var lastCounter: Int64
    package var sealed: [UInt8]

    package init(
        id: String, version: Int64 = 1, kek: Int64, user: [UInt8], expires: Timestamp, lastCounter: Int64 = 0,
        sealed: [UInt8]
    ) {
        self.id = id
        self.version = version
        self.kek = kek
        self.user = user
        self.expires = expires
        self.lastCounter = lastCounter
        self.sealed = sealed
    }
}

/// A content key; unbound until `resource` and `boundAt` are set, both at once.
package struct KeyRecord: Hashable, Sendable {
    package var id: String
    package var version: Int64
    package var resource: String?
    package var boundAt: Timestamp?
    package var sealed: [UInt8]
    /// The sealed erasable key of its resource, of the same view; nil when there is none. A store reads it along and
    /// never writes it.
    package var erasable: [UInt8]?

    package init(
        id: String, version: Int64 = 1, resource: String? = nil, boundAt: Timestamp? = nil, sealed: [UInt8],
        erasable: [UInt8]? = nil
    ) {
        self.id = id
        self.version = version
        self.resource = resource
        self.boundAt = boundAt
        self.sealed = sealed
        self.erasable = erasable
    }
}

/// The erasable key of a resource: without it none of the resource's keys opens (docs/decisions/016-erasable-keys.md).
/// Stands in a small table of its own, which has a backup of its own.
package struct ErasableKeyRecord: Hashable, Sendable {
    package var resource: String
    package var sealed: [UInt8]

    package init(resource: String, sealed: [UInt8]) {
        self.resource = resource
        self.sealed = sealed
    }
}

/// A KMS resource object (KRO): what keys are bound to and authorizations are granted on.
package struct ResourceRecord: Hashable, Sendable {
    package var id: String
    package var version: Int64
    package var deletedAt: Timestamp?
    package var sealed: [UInt8]

    package init(id: String, version: Int64 = 1, deletedAt: Timestamp? = nil, sealed: [UInt8]) {
        self.id = id
        self.version = version
        self.deletedAt = deletedAt
        self.sealed = sealed
    }
}

/// A grant on a resource; live while `removedAt` is nil, kept afterwards.
package struct AuthorizationRecord: Hashable, Sendable {
    package var id: String
    package var version: Int64
    package var resource: String
    /// Lookup of the authId; a resource has at most one live authorization per lookup.
    package var lookup: [UInt8]
    /// Creation order within the resource.
    package var order: Int64
    package var removedAt: Timestamp?
    package var sealed: [UInt8]

    package init(
        id: String, version: Int64 = 1, resource: String, lookup: [UInt8], order: Int64, removedAt: Timestamp? = nil,
        sealed: [UInt8]
    ) {
        self.id = id
        self.version = version
        self.resource = resource
        self.lookup = lookup
        self.order = order
        self.removedAt = removedAt
        self.sealed = sealed
    }
}

/// That a mutating request was carried out, and what was answered (security model, rule 7).
package struct LedgerRecord: Hashable, Sendable {
    /// SHA-256 of the wrapped request.
    package var digest: [UInt8]
    package var session: String
    /// When the session ends: until then the request could come again.
    package var expires: Timestamp
    package var sealedAnswer: [UInt8]
    /// The request's audit record, sealed: what a trail that lost its end is completed from. Empty for none.
    package var audit: [UInt8]

    package init(
        digest: [UInt8], session: String, expires: Timestamp, sealedAnswer: [UInt8], audit: [UInt8] = []
    ) {
        self.digest = digest
        self.session = session
        self.expires = expires
        self.sealedAnswer = sealedAnswer
        self.audit = audit
    }
}

/// A ledger entry's audit record with its place in the order of commits.
package struct LedgerAudit: Hashable, Sendable {
    /// Rises with every commit of the store, with gaps.
    package var position: Int64
    package var audit: [UInt8]

    package init(position: Int64, audit: [UInt8]) {
        self.position = position
        self.audit = audit
    }
}

package import Diagnostics
package import WireText

/// Where a node's trail lies, who signs and watches it, and how large it may grow.
package struct AuditTrailConfiguration: Sendable {
    /// Made with mode 0700 when it is not there; holds nothing else.
    package var folder: String
    /// Letters, digits, hyphens and underscores, at most 63.
    package var node: String
    package var key: AttestationKey
    /// From every earlier key of the trail to the present one; keep them as long as the trail.
    package var successions: [String] = []
    package var witnesses: [any AuditWitness] = []
    /// Files of witnesses, read at the start only: whether the folder went back.
    package var witnessFiles: [String] = []
    /// Octets that all segments may take.
    package var limit: Int = 10 << 30
    /// After this many seconds a sealed segment is deleted, exported or not.
    package var retention: Int64 = 90 * 86_400
    /// Why a new trail begins although a witness knows one of this node: makes a signed gap record. Nil refuses.
    package var newTrailReason: String?
    package var clock: @Sendable () -> Timestamp = { .now() }
    package var fileSystem: any TrailFileSystem = PosixFileSystem()

    package init(folder: String, node: String, key: AttestationKey) {
        self.folder = folder
        self.node = node
        self.key = key
    }

    /// The key and those that the successions name before it.
    var trust: AttestationTrust {
        var trust = AttestationTrust(
            fingerprints: Set(successions.compactMap(AttestationTrust.claimedKey) + [key.fingerprint]))
        trust.learn(key.publicKey)
        return trust
    }

    var quota: SpoolQuota { SpoolQuota(limit: limit, hours: retention / 3600) }
}

/// How the trail is: what a service looks at for alarms and status.
package struct AuditTrailState: Sendable {
    package enum Level: Sendable, Comparable {
        case normal
        /// 50 % of the limit: time to export.
        case half
        /// 80 %: exported segments are deleted now.
        case high
        /// Only releases may still be kept, or nothing at all.
        case full
    }

    package struct Witness: Sendable {
        package let name: String
        /// The last record covered by a head that arrived.
        package let deliveredThrough: Int64?
        package let failure: DiagnosedError?
        /// How many attempts in a row failed.
        package let failures: Int
    }

    package var node: String
    package var trail: String
    package var usedOctets: Int
    package var limitOctets: Int
    package var segments: Int
    /// Why nothing can be kept; goes away by itself.
    package var blocked: DiagnosedError?
    package var lastSeq: Int64
    /// The last record that a signed head or root covers.
    package var sealedThrough: Int64
    package var unsealedSince: Timestamp?
    /// The ledger position of the last head.
    package var position: Int64?
    /// As in the last head.
    package var store: StoreCounters?
    package var exportedThrough: Int64
    package var refusalsWaiting: Int64
    package var witnesses: [Witness]

    package var percent: Int { limitOctets > 0 ? usedOctets * 100 / limitOctets : 100 }
    package var level: Level {
        switch percent {
        case ..<50: .normal
        case ..<80: .half
        case ..<90: .high
        default: .full
        }
    }
}

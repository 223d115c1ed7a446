import Diagnostics
import KMSProtocol
import KeyStore
import MasterKey
import Recovery
import WireText

/// What the destruction of a version of the root key does to the backups in the folder, judged from their headers.
///
/// A backup keeps the wraps of its root keys, so it outlives a destruction in the store, and opens with the master key or
/// the shares of then. What ends is the last holder of that version that this KMS works with: a backup that neither the
/// present master key nor the present escrow opens is left to whoever kept an old one, and to nobody else. And nothing
/// proves afterwards what was never proved: a newer backup that does not need the version has to have been restored on
/// trial (security model, rule 22).
struct DestructionReview: Sendable {
    struct Affected: Sendable, Equatable {
        let file: String
        let created: Timestamp
        let verified: Timestamp?
        /// What of the present opens it: `master key FINGERPRINT`, `escrow FINGERPRINT`.
        let opensWith: [String]
        /// What of then does.
        let openedWith: [String]

        /// Nothing that this KMS works with opens it.
        var dies: Bool { opensWith.isEmpty }
    }

    let version: Int64
    /// Those that need the version, the newest first.
    let affected: [Affected]
    /// Made when nothing stood under the version any more, proved, and open to what is there now; the newest.
    let newer: VerifiedBackup?
    /// When the last old version was closed: backups from before may need any version that they carry.
    let closed: Timestamp?
    let active: Int64

    struct Present: Sendable {
        let host: String
        let active: Int64
        let closed: Timestamp?
        /// Fingerprints of the key-encryption keys that open the root keys now.
        let keks: Set<String>
        let escrow: String?
    }

    init(of version: Int64, headers: [(file: String, header: BackupHeader)], verified: [VerifiedBackup], _ now: Present)
    {
        (self.version, closed, active) = (version, now.closed, now.active)
        let own = headers.filter { $0.header.host == now.host }
        let proofs = Dictionary(verified.map { ($0.file, $0) }, uniquingKeysWith: { first, _ in first })
        func holders(_ header: BackupHeader, _ root: BackupHeader.RootKey) -> (all: [String], present: [String]) {
            var (all, present) = (["master key \(root.kek)"], [String]())
            if now.keks.contains(root.kek) { present.append(all[0]) }
            if let escrow = header.escrow, root.escrowed != nil {
                all.append("escrow \(escrow)")
                if escrow == now.escrow { present.append("escrow \(escrow)") }
            }
            return (all, present)
        }
        affected = own.compactMap { file, header in
            guard let root = header.rootKeys.first(where: { $0.version == version }) else { return nil }
            // Made since then it carries the wraps and needs them for nothing.
            if let closed = now.closed, header.created > closed, header.rootVersion != version { return nil }
            let (all, present) = holders(header, root)
            return Affected(
                file: file, created: header.created, verified: proofs[file]?.verified, opensWith: present,
                openedWith: all)
        }.sorted { ($0.created, $0.file) > ($1.created, $1.file) }
        newer = own.compactMap { file, header -> VerifiedBackup? in
            guard let proof = proofs[file], proof.id == header.id, header.rootVersion == now.active,
                header.rootVersion != version, let closed = now.closed, header.created > closed,
                let root = header.rootKeys.first(where: { $0.version == now.active }),
                !holders(header, root).present.isEmpty
            else { return nil }
            return proof
        }.max { $0.created < $1.created }
    }

    /// Why it can not be destroyed yet; nil when it can.
    var refusal: DiagnosedError? {
        guard newer == nil else { return nil }
        let since = closed.map { "made after \($0) under version \(active)" } ?? "made after a rotation"
        return DiagnosedError(
            .rotationRefused, fault: .client, "no newer backup was proved",
            expected: "a backup \(since), proved, and open to the present master key or escrow",
            found: "none in the folder of backups",
            hint: "hdsctl backup, then hdsctl restore FILE --verify with the master key or shares; its receipt "
                + "FILE\(VerifiedBackups.ending) has to lie beside it")
    }

    func write(_ json: inout JSONWriter) {
        json.member("version", version)
        json.name("backups")
        json.beginArray()
        for backup in affected {
            json.beginObject()
            json.member("file", backup.file)
            json.member("created", backup.created.iso8601)
            json.member("verified", ifPresent: backup.verified?.iso8601)
            json.member("opensWith", backup.opensWith)
            json.member("openedWith", backup.openedWith)
            json.member("dies", backup.dies)
            json.endObject()
        }
        json.endArray()
        if let newer {
            json.name("newer")
            json.beginObject()
            json.member("file", newer.file)
            json.member("created", newer.created.iso8601)
            json.member("verified", newer.verified.iso8601)
            json.endObject()
        }
        json.member("refusal", ifPresent: refusal?.description)
    }
}

extension DestructionReview {
    /// As things stand in the running KMS.
    static func now(of version: Int64, _ kms: RunningKMS) async throws -> DestructionReview {
        try await now(of: version, kms.rootKeys.rotation, escrow: kms.escrow, kms.backups)
    }

    static func now(
        of version: Int64, _ rotation: RootKeyRotation, escrow: EscrowBook, _ backups: KMSBackups
    ) async throws -> DestructionReview {
        let ring = rotation.ring
        let journal = try await rotation.journal()
        let present = Present(
            host: backups.host, active: ring.activeVersion, closed: journal.promotion?.retired,
            keks: Set(ring.records.first { $0.state == .active }?.keks ?? []),
            escrow: try await escrow.state()?.fingerprint)
        return DestructionReview(
            of: version, headers: try await backups.list().map { ($0.file, $0.header) },
            verified: try await backups.verified(), present)
    }
}

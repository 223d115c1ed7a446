package import Diagnostics
package import KeyStore
package import MasterKey
import SecretMemory
import WireText

/// Turns records of the store into contents and back: seals, opens, and compares the sealed part with the row.
///
/// A row whose seal does not open, or whose clear columns differ from what is sealed, was changed by somebody else than
/// the KMS: it is refused with `store-record-forged`, never answered from.
package struct RecordVault: Sendable {
    let ring: SealRing
    let store: any KeyStore
    let heads = HeadCache()

    package init(ring: SealRing, store: any KeyStore) {
        self.ring = ring
        self.store = store
    }

    /// Blind index of an identity on the access list of one resource: equal people show as different on different
    /// resources, so that the database's owner can not see who meets whom (docs/decisions/010-blind-indexes.md).
    func lookup(authID: String, resource: String) -> [UInt8] {
        ring.lookup(authID.canonicalAuthID, purpose: "authorization", scope: resource)
    }
    /// Blind index of a service account, for the name of its sealing key.
    func lookup(service: String) -> [UInt8] { ring.lookup(service, purpose: "sealing-key") }
    /// Blind index of a user, for the number of his sessions.
    /// Blind index of a room, for the name of the setting that says whose it is.
    func lookup(room: String) -> [UInt8] { ring.lookup(room, purpose: "search-room") }

    func lookup(user: String) -> [UInt8] { ring.lookup(user, purpose: "session-user") }

    // MARK: Keys

    /// - Parameter erasable: of the resource that the key is bound to; without one for an unbound key.
    func record(_ content: KeyContent, id: String, version: Int64, erasable: SymmetricKey? = nil) throws -> KeyRecord {
        let fields = content.encoded()
        let sealed = try fields.withUnsafeBytes { plain in
            guard let resource = content.resource else {
                return try ring.seal(plain, kind: .key, id: id, version: version)
            }
            guard let erasable else { throw Self.withoutErasableKey }
            return try ring.seal(key: plain, id: id, version: version, resource: resource, erasable: erasable)
        }
        return KeyRecord(
            id: id, version: version, resource: content.resource, boundAt: content.boundAt, sealed: sealed)
    }

    func content(_ record: KeyRecord) throws -> KeyContent {
        let plain = try ring.open(record)
        guard let content = plain.withUnsafeBytes({ KeyContent($0) }), content.resource == record.resource,
            content.boundAt == record.boundAt
        else { throw Self.forged("key") }
        return content
    }

    /// Nil for a key whose space was erased, as after a restore.
    func contentUnlessErased(_ record: KeyRecord) throws -> KeyContent? {
        do {
            return try content(record)
        } catch let error as DiagnosedError where error.code == .keyErased {
            return nil
        }
    }

    /// What the keys of a resource are sealed under beside the root key (docs/decisions/016-erasable-keys.md); for a
    /// resource of before there were such keys a new one, whose row is added to the writes.
    func erasableKey(of resource: String, _ writes: inout [StoreWrite]) async throws -> SymmetricKey {
        if let sealed = try await store.erasableKey(ofResource: resource) {
            return try ring.erasableKey(sealed, of: resource)
        }
        let made = try ring.makeErasableKey(for: resource)
        writes.append(.insertErasableKey(made.record))
        return made.key
    }

    private static let withoutErasableKey = DiagnosedError(
        .forgedRecord, fault: .internal, "a bound key was to be sealed without its resource's erasable key",
        hint: "this is a defect of the program; nothing was written")

    // MARK: Resources

    func record(_ content: ResourceContent, id: String, version: Int64) throws -> ResourceRecord {
        let fields = content.encoded()
        let sealed = try fields.withUnsafeBytes { try ring.seal($0, kind: .resource, id: id, version: version) }
        return ResourceRecord(id: id, version: version, deletedAt: content.deletedAt, sealed: sealed)
    }

    func content(_ record: ResourceRecord) throws -> ResourceContent {
        let plain = try ring.open(record.sealed, kind: .resource, id: record.id, version: record.version)
        guard let content = plain.withUnsafeBytes({ ResourceContent($0) }), content.deletedAt == record.deletedAt else {
            throw Self.forged("resource")
        }
        return content
    }

    // MARK: Authorizations

    func record(_ content: AuthorizationContent, id: String, version: Int64) throws -> AuthorizationRecord {
        let fields = content.encoded()
        let sealed = try fields.withUnsafeBytes { try ring.seal($0, kind: .authorization, id: id, version: version) }
        return AuthorizationRecord(
            id: id, version: version, resource: content.resource,
            lookup: lookup(authID: content.authID, resource: content.resource),
            order: content.order, removedAt: content.removedAt, sealed: sealed)
    }

    func content(_ record: AuthorizationRecord) throws -> AuthorizationContent {
        let content = try opened(record)
        guard lookup(authID: content.authID, resource: content.resource) == record.lookup else {
            throw Self.forged("authorization")
        }
        return content
    }

    /// The content of a row that was found by the lookup of this identity: equal identities have equal lookups, so a
    /// comparison stands for a second HMAC.
    func content(_ record: AuthorizationRecord, checkedFor authID: String) throws -> AuthorizationContent {
        let content = try opened(record)
        guard content.authID.canonicalAuthID == authID.canonicalAuthID else { throw Self.forged("authorization") }
        return content
    }

    private func opened(_ record: AuthorizationRecord) throws -> AuthorizationContent {
        let plain = try ring.open(record.sealed, kind: .authorization, id: record.id, version: record.version)
        guard let content = plain.withUnsafeBytes({ AuthorizationContent($0) }), content.resource == record.resource,
            content.order == record.order, content.removedAt == record.removedAt
        else { throw Self.forged("authorization") }
        return content
    }

    // MARK: Settings

    /// A setting's value: its version (8 octets, big endian), then the seal that is bound to name and version.
    func sealSetting(_ plain: UnsafeRawBufferPointer, name: String, version: Int64) throws -> [UInt8] {
        let sealed = try ring.seal(plain, kind: .setting, id: name, version: version)
        return withUnsafeBytes(of: version.bigEndian) { Array($0) } + sealed
    }

    func openSetting<R>(
        _ value: [UInt8], name: String, _ read: (UnsafeRawBufferPointer, _ version: Int64) throws -> R
    ) throws -> R {
        guard value.count > 8 else { throw Self.forged("setting") }
        let version = value.prefix(8).reduce(Int64(0)) { $0 << 8 | Int64($1) }
        let plain = try ring.open(Array(value.dropFirst(8)), kind: .setting, id: name, version: version)
        return try plain.withUnsafeBytes { try read($0, version) }
    }

    static func forged(_ what: String) -> DiagnosedError {
        DiagnosedError(
            .forgedRecord, fault: .store, "a \(what) row does not agree with its sealed content",
            expected: "rows that only the KMS writes",
            hint: "somebody changed the database; restore it from a backup and find out who has write access")
    }
}

extension DiagnosedError.Code {
    /// A row of the key store was changed by somebody else than the KMS.
    package static let forgedRecord: Self = "store-record-forged"
}

extension String {
    /// The form under which an authId is compared: UUIDs and hosts without case, everything else exactly.
    var canonicalAuthID: String {
        if UUIDText.isValid(self) {
            return utf8.contains { (0x41...0x5A).contains($0) } ? lowercased() : self
        }
        let scheme = prefix(6)
        guard scheme.lowercased() == "kms://" else { return self }
        let rest = dropFirst(6)
        let host = rest.prefix { $0 != "/" }
        return "kms://" + host.lowercased() + rest[host.endIndex...]
    }
}

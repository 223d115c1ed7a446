import Cryptography
package import Diagnostics
import Encryption
package import KeyStore
package import SecretMemory
import Synchronization
import WireText

extension DiagnosedError.Code {
    /// A key whose resource has no erasable key any more: it was erased, and nothing opens it.
    package static let keyErased: Self = "key-erased"
}

/// The erasable keys that were opened last, by their resource, in locked memory.
///
/// An entry is good for exactly the sealed value that it was opened from, and that value comes with the row that is to be
/// opened, of the same view of the store. So a key that another node has erased is not opened from here: its row is
/// gone. Bounded: two halves, of which the one not used lately is let go, which wipes its keys. Any thread may call.
final class ErasableKeys: Sendable {
    private struct Entry: Sendable {
        let sealed: [UInt8]
        let key: SymmetricKey
    }

    private struct Halves: Sendable {
        var young: [String: Entry] = [:]
        var old: [String: Entry] = [:]
    }

    private let half: Int
    private let halves = Mutex(Halves())

    init(limit: Int = 4096) { half = max(1, limit / 2) }

    var count: Int { halves.withLock { $0.young.count + $0.old.count } }

    func key(
        of resource: String, sealed: [UInt8], open: () throws -> SymmetricKey
    ) throws -> SymmetricKey {
        let known = halves.withLock { halves -> SymmetricKey? in
            if let entry = halves.young[resource] { return entry.sealed == sealed ? entry.key : nil }
            guard let entry = halves.old.removeValue(forKey: resource), entry.sealed == sealed else { return nil }
            put(entry, resource, &halves)
            return entry.key
        }
        if let known { return known }
        let key = try open()
        halves.withLock { put(Entry(sealed: sealed, key: key), resource, &$0) }
        return key
    }

    private func put(_ entry: Entry, _ resource: String, _ halves: inout Halves) {
        if halves.young.count >= half, halves.young[resource] == nil {
            halves.old = halves.young
            halves.young = [:]
        }
        halves.old[resource] = nil
        halves.young[resource] = entry
    }
}

/// The inner seal of a bound key: AES-256-GCM under its resource's erasable key, bound to resource and key.
///
/// Octets: format (2), nonce (12, random), ciphertext, tag (16). It is what the seal under the root key holds, so a
/// rotation of the root key seals the outer layer again and needs no erasable key. The erasable key seals what one
/// resource has of keys, far fewer than the 2^32 values that random nonces allow.
enum ErasableSeal {
    /// Contents that are sealed under the root key alone begin with 1.
    static let format: UInt8 = 2
    private static let head = 1 + AESGCM.nonceByteCount
    private static let purpose = "HDS erasable seal"

    static func isSeal(_ plain: UnsafeRawBufferPointer) -> Bool { plain.first == format }

    static func seal(
        _ plain: UnsafeRawBufferPointer, key: SymmetricKey, resource: String, id: String
    ) throws -> [UInt8] {
        let nonce = try RandomBytes.bytes(AESGCM.nonceByteCount)
        let binding = binding(resource, id)
        let (ciphertext, tag) = try binding.withUnsafeBytes {
            try AESGCM.seal(plain, key: key, nonce: nonce, aad: $0)
        }
        return [format] + nonce + ciphertext + tag
    }

    static func open(
        _ sealed: [UInt8], key: SymmetricKey, resource: String, id: String
    ) throws -> SecretBytes {
        let tag = sealed.count - AESGCM.tagByteCount
        guard tag >= head, sealed[0] == format else { throw RecordSeal.broken(.key) }
        do {
            return try AESGCM.open(
                Array(sealed[head..<tag]), tag: Array(sealed[tag...]), key: key, nonce: Array(sealed[1..<head]),
                aad: binding(resource, id))
        } catch {
            // The layer around it is genuine, and so is the erasable key: then it is another one than it was, made after
            // the first was gone.
            throw SealRing.erased
        }
    }

    private static func binding(_ resource: String, _ id: String) -> [UInt8] {
        var octets: [UInt8] = []
        octets.reserveCapacity(112)
        octets.append(lengthPrefixed: purpose)
        octets.append(lengthPrefixed: resource)
        octets.append(lengthPrefixed: id)
        return octets
    }
}

extension SealRing {
    /// A new erasable key for a resource, with the row that is to stand in the store.
    package func makeErasableKey(for resource: String) throws -> (key: SymmetricKey, record: ErasableKeyRecord) {
        let key = try SymmetricKey.random()
        let sealed = try key.withUnsafeBytes { try seal($0, kind: .erasableKey, id: resource, version: 1) }
        return (key, ErasableKeyRecord(resource: resource, sealed: sealed))
    }

    package func erasableKey(_ sealed: [UInt8], of resource: String) throws -> SymmetricKey {
        try erasable.key(of: resource, sealed: sealed) {
            SymmetricKey(try open(sealed, kind: .erasableKey, id: resource, version: 1))
        }
    }

    /// The content of a bound key as its row has it: under the erasable key, and that under the root key.
    package func seal(
        key content: UnsafeRawBufferPointer, id: String, version: Int64, resource: String, erasable: SymmetricKey
    ) throws -> [UInt8] {
        let inner = try ErasableSeal.seal(content, key: erasable, resource: resource, id: id)
        return try inner.withUnsafeBytes { try seal($0, kind: .key, id: id, version: version) }
    }

    /// The content of a key. Throws `key-erased` when it needs an erasable key and its row came without one.
    package func open(_ record: KeyRecord) throws -> SecretBytes {
        let plain = try open(record.sealed, kind: .key, id: record.id, version: record.version)
        guard plain.withUnsafeBytes({ ErasableSeal.isSeal($0) }) else { return plain }
        guard let resource = record.resource, let sealed = record.erasable else { throw Self.erased }
        let key = try erasableKey(sealed, of: resource)
        // What lies inside is sealed: a copy of it tells nothing.
        return try ErasableSeal.open(
            plain.withUnsafeBytes { Array($0) }, key: key, resource: resource, id: record.id)
    }

    fileprivate static var erased: DiagnosedError {
        DiagnosedError(
            .keyErased, fault: .store, "the erasable key of this key's space is gone, so that nothing opens the key",
            expected: "a row in erasable_keys", hint: "the space was erased; a restore brings back only what was not")
    }
}

package import Diagnostics
package import Escrow
package import MasterKey
import SecretMemory
package import WireText

extension DiagnosedError.Code {
    /// A file that is no backup, or one that was cut off, changed or put together from others.
    package static let backupDamaged: Self = "backup-damaged"
    /// The file can not be read or written.
    package static let backupFile: Self = "backup-file"
    /// What was given does not open this backup.
    package static let backupKey: Self = "backup-key"
}

/// What stands in clear in front of a backup: whose it is, and what is needed to open it.
///
/// It is bound to every chunk behind it. The key of the file is sealed under the active root key, not wrapped by the
/// key-encryption key, which may be a token that is out of reach. The wraps that stand here outlive a destruction of
/// that version in the store: a backup opens until it or what opens it is gone.
package struct BackupHeader: Sendable, Equatable {
    /// A root key with its wraps: all that recovery needs beside shares or the key-encryption key.
    package struct RootKey: Sendable, Equatable {
        package let version: Int64
        package let wrapped: [UInt8]
        package let kek: String
        /// Wrapped to the escrow; nil while there is none.
        package let escrowed: [UInt8]?
    }

    static let format: Int64 = 1

    /// What of a store a backup holds.
    package enum Part: String, Sendable {
        /// Everything but what can be erased. Restored together with a backup of that.
        case main
        /// The same, made before all keys were sealed under erasable keys: it opens keys of spaces that are erased later.
        case carrying
        /// Erasable keys and unbound keys.
        case erasable
    }

    package let id: String
    package let host: String
    package let node: String
    package let created: Timestamp
    /// The version of the root key that the file's key is sealed under.
    package let rootVersion: Int64
    package let rootKeys: [RootKey]
    /// Fingerprint of the escrow.
    package let escrow: String?
    package let sealedKey: [UInt8]
    /// Nil for one of before there were parts: it holds everything, under root keys alone.
    package let part: Part?

    /// Whether shares alone open all of it.
    package var isEscrowed: Bool { escrow != nil && rootKeys.allSatisfy { $0.escrowed != nil } }

    func json() -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("format", Self.format)
        json.member("id", id)
        json.member("host", host)
        json.member("node", node)
        json.member("created", created.iso8601)
        json.member("rootVersion", rootVersion)
        json.member("escrow", ifPresent: escrow)
        json.member("part", ifPresent: part?.rawValue)
        json.member("sealedKey", Base64URL.encode(sealedKey))
        json.name("rootKeys")
        json.beginArray()
        for root in rootKeys {
            json.beginObject()
            json.member("version", root.version)
            json.member("kek", root.kek)
            json.member("wrapped", Base64URL.encode(root.wrapped))
            json.member("escrowed", ifPresent: root.escrowed.map { Base64URL.encode($0) })
            json.endObject()
        }
        json.endArray()
        json.endObject()
        return json.bytes()
    }

    package init(
        id: String, host: String, node: String, created: Timestamp, rootVersion: Int64, rootKeys: [RootKey],
        escrow: String?, sealedKey: [UInt8], part: Part? = nil
    ) {
        self.part = part
        (self.id, self.host, self.node, self.created) = (id, host, node, created)
        (self.rootVersion, self.rootKeys, self.escrow, self.sealedKey) = (rootVersion, rootKeys, escrow, sealedKey)
    }

    /// Nil when it is no header of this format.
    init?(_ octets: [UInt8]) {
        guard let root = try? JSONDocument(octets).root, root["format"]?.integer == Self.format,
            let id = root["id"]?.string, let host = root["host"]?.string, let node = root["node"]?.string,
            let created = root["created"]?.string.flatMap({ Timestamp(iso8601: $0) }),
            let rootVersion = root["rootVersion"]?.integer, let elements = root["rootKeys"]?.elements,
            let sealedKey = root["sealedKey"]?.string.flatMap({ Base64URL.decode($0) })
        else { return nil }
        let part = root["part"]?.string.flatMap { Part(rawValue: $0) }
        // A part that this version does not know is not taken for a whole backup.
        guard part != nil || root["part"] == nil else { return nil }
        var rootKeys: [RootKey] = []
        for element in elements {
            guard let version = element["version"]?.integer, let kek = element["kek"]?.string,
                let wrapped = element["wrapped"]?.string.flatMap({ Base64URL.decode($0) })
            else { return nil }
            rootKeys.append(
                RootKey(
                    version: version, wrapped: wrapped, kek: kek,
                    escrowed: element["escrowed"]?.string.flatMap { Base64URL.decode($0) }))
        }
        self.init(
            id: id, host: host, node: node, created: created, rootVersion: rootVersion, rootKeys: rootKeys,
            escrow: root["escrow"]?.string, sealedKey: sealedKey, part: part)
    }
}

/// What opens a backup: the key-encryption key that the KMS had, or the escrow that enough shares gave.
package enum BackupKey: Sendable {
    case keyEncryptionKey(any RootKeyWrapping)
    case escrow(EscrowPrivateKey)

    /// A root key of the backup. Throws `backup-key` when this is not what it was wrapped to.
    func unwrap(_ root: BackupHeader.RootKey, of header: BackupHeader) throws -> SymmetricKey {
        switch self {
        case .keyEncryptionKey(let kek):
            guard kek.fingerprint == root.kek else {
                throw DiagnosedError(
                    .backupKey, fault: .client, "the master key is not the one that this backup was made under",
                    expected: "fingerprint \(root.kek)", found: kek.fingerprint,
                    hint: "give that key, or the shares of the escrow")
            }
            return try kek.unwrap(root.wrapped, version: root.version)
        case .escrow(let key):
            guard let escrowed = root.escrowed, let escrow = header.escrow else {
                throw DiagnosedError(
                    .backupKey, fault: .client, "this backup was made before there was an escrow",
                    expected: "root key version \(root.version) wrapped to one",
                    hint: "only the master key \(root.kek) opens it")
            }
            guard escrow == key.publicKey.fingerprint else {
                throw DiagnosedError(
                    .backupKey, fault: .client, "the shares are of another escrow than this backup's",
                    expected: "escrow \(escrow)", found: key.publicKey.fingerprint)
            }
            return try key.unwrap(escrowed, version: root.version)
        }
    }
}

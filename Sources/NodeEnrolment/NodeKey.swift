package import Cryptography
import Diagnostics
import Encryption
import KeyStore
import MasterKey
package import NodeList
package import SecretMemory
import WireText

/// A node's own key: P-256, in a file of mode 0600 that the node makes and that is never copied.
///
/// It signs the hello of each link, and opens root keys that were wrapped to its public half until the node's own
/// key-encryption key does (docs/cluster.md).
package struct NodeKey: RootKeyWrapping {
    package static let file = "node.key"
    private static let maximumBytes = 4096

    package let privateKey: PrivateKey
    private let agreement: P256Agreement

    package var publicKey: PublicKey { privateKey.publicKey }
    package var nodeFingerprint: NodeFingerprint { NodeFingerprint(of: publicKey) }
    package var fingerprint: String { nodeFingerprint.digits }
    package var holder: String { RootKeyRecord.holder(node: fingerprint) }

    package init(_ key: PrivateKey) throws {
        guard key.publicKey.kind == .p256 else {
            throw DiagnosedError(
                "node-key", fault: .configuration, "the node's key is of another kind", expected: "P-256")
        }
        privateKey = key
        agreement = try P256Agreement(key)
    }

    /// The key in a data folder; made when there is none.
    package static func open(folder: String) throws -> NodeKey {
        let path = folder + "/" + file
        if let text = try StateFile.read(path, upTo: maximumBytes) { return try NodeKey(try PrivateKey(pem: text)) }
        let key = try PrivateKey.generateP256()
        try StateFile.replace(path, with: try key.pem())
        return try NodeKey(key)
    }

    package func wrap(_ rootKey: SymmetricKey, version: Int64) throws -> [UInt8] {
        try NodePublicKey(publicKey).wrap(rootKey, version: version)
    }

    package func unwrap(_ wrapped: [UInt8], version: Int64) throws -> SymmetricKey {
        guard
            let root = P256Wrap.unwrap(
                wrapped, with: agreement, format: NodePublicKey.format, context: NodePublicKey.context(version))
        else {
            throw DiagnosedError(
                .rootKeyDamaged, fault: .store, "version \(version) of the root key was not wrapped to this node",
                expected: "one wrapped to the node key \(nodeFingerprint)",
                hint: "approve the node anew: hdsctl node approve")
        }
        return root
    }
}

/// The public half: root keys are wrapped to it until the node has started.
package struct NodePublicKey: RootKeyHolder {
    static let format: UInt8 = 1

    private let key: PublicKey

    package init(_ key: PublicKey) { self.key = key }

    package var holder: String { RootKeyRecord.holder(node: NodeFingerprint(of: key).digits) }

    package func wrap(_ rootKey: SymmetricKey, version: Int64) throws -> [UInt8] {
        guard let point = key.p256Coordinates else {
            throw DiagnosedError("node-key", fault: .configuration, "a node's key is no P-256 key")
        }
        return try P256Wrap.wrap(
            rootKey, toX: point.x, y: point.y, format: Self.format, context: Self.context(version))
    }

    static func context(_ version: Int64) -> [UInt8] {
        var octets = [format]
        octets.append(lengthPrefixed: "HDS root key for a node")
        octets.append(bigEndian: version)
        return octets
    }
}

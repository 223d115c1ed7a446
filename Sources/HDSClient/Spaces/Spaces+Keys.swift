import Diagnostics
import KMSClient
import KMSProtocol
package import WireText

/// A key of a space as it may be shown.
package struct SpaceKey: Sendable, Equatable {
    package let uri: String
    package let bound: Timestamp?
    /// Why nothing new is encrypted with it; nil when it may be.
    package let refusal: String?
}

// Keys, for looking at them.
extension Spaces {
    /// All keys of the space, newest first.
    package func keyList(of space: Space) async throws -> [SpaceKey] {
        let resource = try Self.resource(of: space)
        let membership = try await membership(of: space, atMost: 0)
        let memory = try store.current().spaces[space.id] ?? .init(resource: resource)
        guard case .keys(let list) = try await kms.perform(.retrieveKeys(resource: resource)).body else {
            throw DiagnosedError(.kmsMismatch, fault: .peer, "the KMS answered without keys")
        }
        return list.map { key in
            SpaceKey(
                uri: key.uri, bound: key.bindDate,
                refusal: EncryptionKeyRules.judge(key, of: membership, memory: memory, now: now())?.rawValue)
        }
    }

    /// Rotates, and tells the URI of the new key.
    package func newKey(for space: Space) async throws -> String { try await rotate(space).uri }
}

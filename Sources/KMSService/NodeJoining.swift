import Diagnostics
import KeyStore
package import MasterKey
import NodeEnrolment
import NodeList
package import SecretMemory
package import ServiceRuntime
import WireText

/// `hdsctl node join`: a new machine with a configuration, its database and a one-time code becomes a node that an officer
/// can approve.
package struct NodeJoining: Sendable {
    package struct Outcome: Sendable {
        package let node: String
        /// Of this machine's key, to be read to who approves.
        package let fingerprint: String
        /// Of the KMS, as a node that is there says it under the same code.
        package let cluster: String
    }

    private let configuration: KMSServiceConfiguration
    private let credentials: Credentials
    private let key: NodeKey

    package var node: String { configuration.node }
    /// Of this machine's key.
    package var fingerprint: String { key.nodeFingerprint.description }

    /// How this machine stands to the keys in the database.
    package enum Standing: Sendable {
        /// There are none yet.
        case empty
        /// They are wrapped for it.
        case known
        /// They are there, and not for it.
        case stranger
    }

    /// Makes the node's key when there is none yet.
    package init(_ configuration: KMSServiceConfiguration, _ credentials: Credentials) throws {
        guard configuration.store.file == nil else {
            throw DiagnosedError(
                "node-join-store", fault: .configuration, "the store of this configuration is a file for one node",
                expected: "store.postgresql", hint: "name the database of the cluster")
        }
        self.configuration = configuration
        self.credentials = credentials
        key = try NodeKey.open(folder: configuration.dataFolder)
    }

    package func standing(masterKey: any RootKeyHolder) async throws -> Standing {
        try await opened("hdsctl setup") { store in
            let records = try await store.rootKeys().filter { $0.state.isOpen }
            guard !records.isEmpty else { return .empty }
            let isKnown = records.allSatisfy { $0.wraps[masterKey.holder] != nil || $0.wraps[key.holder] != nil }
            return isKnown ? .known : .stranger
        }
    }

    private func opened<R>(_ purpose: String, _ body: (any KeyStore) async throws -> R) async throws -> R {
        let store = try await configuration.store.open(
            credentials, application: "\(purpose) \(node)", observer: StoreObserver())
        do {
            let result = try await body(store)
            await store.close()
            return result
        } catch {
            await store.close()
            throw error
        }
    }

    /// - Parameter patience: until a node that is there has to have answered.
    package func run(code text: consuming SecretBytes, patience: Duration) async throws -> Outcome {
        guard let code = InvitationCode(text) else {
            throw DiagnosedError(
                .joinRefused, fault: .client, "this is no one-time code", expected: "26 letters and digits",
                hint: "type it as hdsctl node invite showed it")
        }
        return try await opened("hdsctl node join") { try await ask($0, code, patience) }
    }

    private func ask(_ store: any KeyStore, _ code: InvitationCode, _ patience: Duration) async throws -> Outcome {
        guard let cluster = store as? any ClusterStore else {
            throw DiagnosedError(.joinRefused, fault: .internal, "this store keeps no cluster")
        }
        let joining = try Joining(
            cluster, node: configuration.node, host: configuration.host, key: key, code: code)
        try await joining.ask(now: .now())
        let end = ContinuousClock.now + patience
        while ContinuousClock.now < end {
            if let fingerprint = try await joining.answer() {
                return Outcome(
                    node: configuration.node, fingerprint: key.nodeFingerprint.description,
                    cluster: ClusterFingerprint.text(fingerprint))
            }
            try await Task.sleep(for: .milliseconds(200))
        }
        throw DiagnosedError(
            .joinRefused, fault: .peer, "no node of the cluster answered", expected: "an answer within \(patience)",
            hint: "see that hds-kms runs on a node that is there and reaches the database; then invite anew")
    }
}

/// The KMS's public key as people compare it: 16 groups of four hexadecimal digits.
package enum ClusterFingerprint {
    package static func text(_ digest: [UInt8]) -> String {
        let digits = Array(Hexadecimal.encode(digest))
        return stride(from: 0, to: digits.count, by: 4).map { String(digits[$0..<min($0 + 4, digits.count)]) }
            .joined(separator: "-")
    }
}

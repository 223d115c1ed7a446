package import KMSClient
import Synchronization

/// The static key of the KMS as the configuration in force pins it. Any thread.
package final class KMSKeyInForce: Sendable {
    private let key: Mutex<VerifiedStaticKey>
    package init(_ key: VerifiedStaticKey) { self.key = Mutex(key) }
    package var current: VerifiedStaticKey { key.withLock { $0 } }
    package func use(_ new: VerifiedStaticKey) { key.withLock { $0 = new } }
}

import Diagnostics
package import KMSProtocol
import Synchronization

/// The static keys that count now: the present one, and earlier ones that clients may still know. Any thread.
///
/// They are replaced as a whole: a request that has begun ends with the keys that it began with.
package final class StaticKeysInForce: Sendable {
    private let keys: Mutex<[KMSStaticKey]>

    /// - Parameter keys: the present one first; at least one.
    package init(_ keys: [KMSStaticKey]) { self.keys = Mutex(keys) }

    package var all: [KMSStaticKey] { keys.withLock { $0 } }
    package var present: KMSStaticKey { keys.withLock { $0[0] } }

    /// An empty list changes nothing.
    package func replace(_ new: [KMSStaticKey]) {
        guard !new.isEmpty else { return }
        keys.withLock { $0 = new }
    }
}

import Diagnostics
import Synchronization

/// By which words the KMS refused the service last; nil while it does not.
package final class LastRefusal: Sendable {
    private let held = Mutex<String?>(nil)

    package init() {}

    package func take(_ state: ServiceConsent.State) {
        switch state {
        case .granted: held.withLock { $0 = nil }
        case .refused(let error): held.withLock { $0 = error.found ?? error.summary }
        case .unknown: break
        }
    }

    package var reason: String? { held.withLock { $0 } }
}

package import CoreLink
import Synchronization

/// The link that answers go to; held weakly, for the link holds the closures that use it.
package final class LinkHolder: Sendable {
    private struct Weak: Sendable {
        weak let link: CoreLink?
    }
    private let held = Mutex<Weak?>(nil)
    package init() {}
    package func hold(_ link: CoreLink) { held.withLock { $0 = Weak(link: link) } }
    package var link: CoreLink? { held.withLock { $0?.link } }
}

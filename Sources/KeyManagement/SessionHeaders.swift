import Introspection
import JOSESignature
import WireText

/// Remembers what the header texts of live sessions say: each request of a session by one client has the same.
///
/// Only headers of strings that were opened are noted, so that nobody without a session's key has a place here. What is
/// remembered follows from the text alone: whether the session lives is asked each time.
struct SessionHeaders: Sendable {
    struct Known: Sendable {
        let header: JOSEHeader
        let session: String
    }

    /// A longer header is read each time: it carries more than its session.
    private static let longest = 512

    private let known = TwoGenerationCache<OctetKey, Known>(capacity: 20_000)

    func session(of text: [UInt8]) -> Known? { Self.header(of: text).flatMap { known[$0] } }

    func note(_ header: JOSEHeader, session: String, of text: [UInt8]) {
        guard let key = Self.header(of: text), known[key] == nil else { return }
        known[key] = Known(header: header, session: session)
    }

    /// The part before the first full stop.
    private static func header(of text: [UInt8]) -> OctetKey? {
        text.withUnsafeBytes { octets in
            let head = UnsafeRawBufferPointer(rebasing: octets.prefix(longest + 1))
            return head.firstIndex(of: UInt8(ascii: ".")).map {
                OctetKey(UnsafeRawBufferPointer(rebasing: head[..<$0]))
            }
        }
    }
}

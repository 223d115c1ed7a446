package import HTTPClient
import WireText

/// The field Retry-After (RFC 9110, section 10.2.3): seconds, or a date, which is held against the server's own clock.
package enum RetryAfter {
    package static func read(_ response: WebResponse) -> Duration? {
        guard let value = response.header("Retry-After") else { return nil }
        if let seconds = Int(value) { return .seconds(max(0, min(seconds, 86_400))) }
        guard let then = HTTPDate.read(value), let now = response.header("Date").flatMap(HTTPDate.read) else {
            return nil
        }
        return .milliseconds(max(0, min(then.milliseconds - now.milliseconds, 86_400_000)))
    }
}

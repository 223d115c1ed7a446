import Cryptography
import JOSESignature
import KMSProtocol
import KeyManagement
import Synchronization
import WireText

/// A clock that stands until the test moves it.
final class TestClock: Sendable {
    let time: Mutex<Timestamp>
    init(_ now: Timestamp) { time = Mutex(now) }
    var now: Timestamp { time.withLock { $0 } }
    func advance(milliseconds: Int64) { time.withLock { $0 = $0.adding(milliseconds: milliseconds) } }
    func advance(seconds: Int64) { time.withLock { $0 = $0.adding(seconds: seconds) } }
}

/// Keeps what the KMS logged.
final class RecordingLog: RequestLog {
    struct Line: Sendable {
        let entry: RequestLogEntry?
        let status: Int?
        let text: String
    }
    let lines = Mutex<[Line]>([])
    /// How often lines were written together.
    let stretches = Mutex(0)

    func together<Result>(_ body: () -> Result) -> Result {
        stretches.withLock { $0 += 1 }
        return body()
    }

    func request(_ entry: RequestLogEntry, status: Int?, reason: String?) {
        lines.withLock {
            $0.append(Line(entry: entry, status: status, text: "\(entry) \(status ?? 0) \(reason ?? "")"))
        }
    }
    func unusual(_ anomaly: Anomaly, user: String, count: Int) {
        lines.withLock { $0.append(Line(entry: nil, status: nil, text: "unusual \(anomaly) \(user) \(count)")) }
    }
    func reset(reason: String, session: String?) {
        lines.withLock { $0.append(Line(entry: nil, status: 499, text: "\(reason) \(session ?? "")")) }
    }
    func failure(_ error: any Error, while doing: String) {
        lines.withLock { $0.append(Line(entry: nil, status: 500, text: "\(doing): \(error)")) }
    }
    var text: String { lines.withLock { $0.map(\.text).joined(separator: "\n") } }
}

/// Takes tokens of the recorded form `tok-<user>_<cluster>_<organisation>`, and with `_<domain>` behind it; the JWT verifier has tests of its own.
struct TestTokens: BearerVerifier {
    func identity(of bearer: String, now: Timestamp) async throws(KMSFailure) -> TokenIdentity {
        guard bearer.hasPrefix("tok-") else {
            throw KMSFailure(KMSStatus.unauthorized, "Failed to authenticate the bearer token")
        }
        let user = String(bearer.dropFirst(4).prefix { $0 != "_" })
        return TokenIdentity(
            userID: user, clientID: nil, scopes: [], issuer: "test", expires: now.adding(seconds: 3600),
            isCustomerControlled: !bearer.hasSuffix("_cloud"), domain: Self.domain(bearer))
    }
    private static func domain(_ bearer: String) -> String? {
        let parts = bearer.split(separator: "_")
        return parts.count > 3 ? String(parts[3]) : nil
    }
    /// - Parameter isCloud: of an issuer that the customer does not run.
    static func token(_ user: String, domain: String, isCloud: Bool = false) -> String {
        token(user) + "_" + domain + (isCloud ? "_cloud" : "")
    }
    static func token(_ user: String) -> String { "tok-\(user)_PF84_0c7d4c1e-0000-4000-8000-00000000000f" }
}

enum People {
    static let alice = "a11ce000-0000-4000-8000-000000000001"
    static let bob = "b0b00000-0000-4000-8000-000000000002"
    static let carol = "ca201000-0000-4000-8000-000000000003"
    static let dan = "da400000-0000-4000-8000-000000000004"
}

/// A value that several tasks of a test change.
final class Shared<Value: Sendable>: Sendable {
    private let mutex: Mutex<Value>
    init(_ value: Value) { mutex = Mutex(value) }
    func withLock<R: Sendable>(_ body: (inout Value) throws -> R) rethrows -> R {
        try mutex.withLock { value in try body(&value) }
    }
    var value: Value { withLock { $0 } }
}

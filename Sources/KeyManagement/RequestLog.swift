package import AuditTrail
package import KMSProtocol
import WireText

/// What one request was about, for the log: names and numbers, never a secret.
package struct RequestLogEntry: Sendable {
    /// When the KMS began with it, on a clock that never jumps.
    package let started: ContinuousClock.Instant
    package var requestID: String?
    package var session: String?
    package var method: String?
    /// Kind of object as operators search for it: `KEY`, `KEY_COLLECTION`, `RESOURCE`, …
    package var type: String?
    package var uri: KMSURI?
    package var user: String?
    package var effectiveUser: String?
    package var clientID: String?
    /// The client that the verified token names, and whether it is an integration.
    var tokenClient: (id: String, isIntegration: Bool)?
    /// For which compliance officer and in which matter a service asks for somebody.
    package var errand: String?
    /// Which space was read, and through which others.
    package var way: String?
    package var isReplay = false
    /// Whether `user` is a person who proved it, whose refusals are counted.
    var isPerson = false
    /// As it was when the request began to be judged.
    let leaseMark: ReleaseLease.Mark?
    /// Under this id the decision stands in the audit trail.
    package private(set) var auditID: AuditID
    /// The rule that decided, once it is known.
    package var rule: String?

    init(at time: Timestamp, lease: ReleaseLease? = nil, started: ContinuousClock.Instant = .now) {
        self.started = started
        leaseMark = lease?.mark
        auditID = AuditID.make(at: time)
    }

    /// The commit's outcome is not known: the change's record may come into the trail from the ledger, so what is told to
    /// the client stands there under another id.
    mutating func renewAuditID(at time: Timestamp) { auditID = AuditID.make(at: time) }

    /// Time taken until now, in microseconds.
    package var elapsedMicroseconds: Int64 {
        let elapsed = started.duration(to: .now).components
        return elapsed.seconds * 1_000_000 + elapsed.attoseconds / 1_000_000_000_000
    }

    mutating func note(_ request: KMSRequest) {
        requestID = request.requestID
        method = request.method.rawValue
        type = request.uri.object.logName
        uri = request.uri
        clientID = request.clientID
    }
}

/// Where the KMS writes what it did; implementations add pseudonyms and format.
package protocol RequestLog: Sendable {
    /// One line per request; `status` is nil for a replay that got its first answer again.
    func request(_ entry: RequestLogEntry, status: Int?, reason: String?)
    /// A user did more of something than is usual by policy.
    func unusual(_ anomaly: Anomaly, user: String, count: Int)
    func reset(reason: String, session: String?)
    func failure(_ error: any Error, while doing: String)
    /// Lines written within `body` may reach the log together, when it returns.
    func together<Result>(_ body: () -> Result) -> Result
}

extension RequestLog {
    package func together<Result>(_ body: () -> Result) -> Result { body() }
}

extension KMSURI.Object {
    var logName: String {
        switch self {
        case .cluster: "CLUSTER"
        case .staticKey: "STATIC_KEY"
        case .sessions: "EPHEMERAL_KEY_COLLECTION"
        case .session: "EPHEMERAL_KEY"
        case .keys: "KEY_COLLECTION"
        case .key: "KEY"
        case .resources: "RESOURCE_COLLECTION"
        case .resource: "RESOURCE"
        case .resourceKeys: "RESOURCE_KEYS"
        case .resourceAuthorizations: "RESOURCE_AUTHORIZATIONS"
        case .resourceSearchKeys: "RESOURCE_SEARCH_KEYS"
        case .memberships: "MEMBERSHIPS"
        case .sealingKey: "SEALING_KEY"
        case .signatures: "SIGNATURE_COLLECTION"
        case .resourceHold: "RESOURCE_HOLD"
        case .authorizations: "AUTHORIZATION_COLLECTION"
        case .authorization: "AUTHORIZATION"
        case .ping: "PING"
        case .other: "UNKNOWN"
        }
    }
}

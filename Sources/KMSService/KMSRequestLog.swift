import AuditTrail
import Diagnostics
import Introspection
import KMSProtocol
import KeyManagement
import MasterKey
import ServiceRuntime
import Synchronization
import WireText

/// Writes what the KMS did as declared events, identifiers as pseudonyms, and counts it.
///
/// A pseudonym is the first 8 octets of the blind index of an identifier: the same one each time, so that an operator
/// can follow a user through the journal, and only the holder of the root key can tell who it is.
struct KMSRequestLog: RequestLog {
    let events: any EventRecorder
    let metrics: MetricRegistry
    let alarms: AlarmBoard
    let ring: SealRing
    let usesPseudonyms: Bool
    /// How long requests took, for work that is to leave them alone.
    let pulse = ServingPulse()
    private let unusual = UnusualReaders()
    private let codes = TwoGenerationCache<String, Loggable>(capacity: 4096)
    /// Found once: finding one costs more than using it.
    private let instruments = TwoGenerationCache<RequestKind, Instruments>(capacity: 2 * MetricRegistry.maximumSeries)

    private struct RequestKind: Hashable {
        let method: String
        let type: String
        let status: Int?
    }

    private struct Instruments {
        let counter: Counter
        let time: Histogram
    }

    private final class UnusualReaders: Sendable {
        let names = Mutex<[Loggable: Timestamp]>([:])
    }

    init(
        events: any EventRecorder, metrics: MetricRegistry, alarms: AlarmBoard, ring: SealRing, usesPseudonyms: Bool
    ) {
        self.events = events
        self.metrics = metrics
        self.alarms = alarms
        self.ring = ring
        self.usesPseudonyms = usesPseudonyms
    }

    func request(_ entry: RequestLogEntry, status: Int?, reason: String?) {
        let duration = entry.elapsedMicroseconds
        pulse.note(Int(duration))
        let instruments = instruments(
            RequestKind(method: entry.method ?? "unknown", type: entry.type ?? "UNKNOWN", status: status))
        instruments.counter.increment()
        instruments.time.observe(Double(duration) / 1_000_000)
        let event: Event =
            switch status {
            case .some(500...): .kmsFailure
            case .some(400...): .kmsRefusal
            default: .kmsRequest
            }
        let user = entry.user.map { pseudonym($0) }
        let effective = entry.effectiveUser == entry.user ? user : entry.effectiveUser.map { pseudonym($0) }
        events.record(
            event,
            [
                .kmsMethod: Loggable(reviewed: entry.method ?? "unknown"),
                .kmsType: Loggable(reviewed: entry.type ?? "UNKNOWN"),
                .kmsURI: entry.uri.map { Loggable(reviewed: shown($0)) },
                .kmsRequestID: entry.requestID.map { Loggable(reviewed: String($0.prefix(64)).printable) },
                .userID: user,
                .effectiveUserID: effective,
                .auditID: Loggable(reviewed: entry.auditID.description),
                .rule: entry.rule.map { Loggable(reviewed: $0) },
                .status: status.map { Loggable($0) } ?? "replayed",
                .durationMicroseconds: Loggable(duration),
                .reason: reason.map { Loggable(reviewed: shown(reason: $0)) },
            ])
    }

    private func instruments(_ kind: RequestKind) -> Instruments {
        if let known = instruments[kind] { return known }
        let labels = [kind.method, kind.type]
        let found = Instruments(
            counter: kind.status.map { metrics.counter(.kmsRequests, labels + [String($0)]) }
                ?? metrics.counter(.kmsReplays),
            time: metrics.histogram(.kmsRequestTime, labels))
        instruments[kind] = found
        return found
    }

    func together<Result>(_ body: () -> Result) -> Result { events.together(body) }

    func unusual(_ anomaly: Anomaly, user: String, count: Int) {
        let name = pseudonym(user)
        let (subject, what): (Loggable, Loggable) =
            switch anomaly {
            case .keyReads: (name, "has read \(count) keys within this hour")
            case .spaces: ("\(name): spaces", "has read from \(count) spaces within this hour")
            case .refusals: ("\(name): refusals", "was refused \(count) requests within this hour")
            case .newDevices: ("\(name): devices", "came with \(count) new devices today")
            case .deletions: ("\(name): deletions", "may delete \(count) keys and spaces and wants to delete more")
            }
        unusual.names.withLock { $0[subject] = Timestamp.now() }
        alarms.raise(.keyReadAnomaly, about: subject, "\(reviewed: anomaly.rawValue): user \(name) \(what)")
    }

    /// Clears what was raised an hour ago.
    func clearUnusualReads(now: Timestamp) {
        let over = unusual.names.withLock { names in
            let over = names.filter { $0.value.adding(seconds: 3600) <= now }.map(\.key)
            for name in over { names[name] = nil }
            return over
        }
        for name in over { alarms.clear(.keyReadAnomaly, about: name, "\(name) is as usual again") }
    }

    func reset(reason: String, session: String?) {
        metrics.counter(.kmsResets, [reason]).increment()
        events.record(
            .kmsReset,
            [
                .reason: Loggable(reviewed: reason),
                .kmsURI: session.flatMap { KMSURI($0) }.map { Loggable(reviewed: shown($0)) },
            ])
    }

    func failure(_ error: any Error, while doing: String) {
        events.record(
            .kmsFailure,
            [
                .kmsMethod: "internal", .kmsType: "NONE", .status: "500",
                .reason: "\(reviewed: doing): \(Loggable(error: error))",
            ])
    }

    func pseudonym(_ text: String) -> Loggable {
        guard usesPseudonyms else { return Loggable(reviewed: text.printable) }
        if let known = codes[text] { return known }
        let code = Loggable(reviewed: Hexadecimal.encode(Array(ring.lookup(text, purpose: "log").prefix(8))))
        codes[text] = code
        return code
    }

    /// The URI with its identifiers as pseudonyms.
    private func shown(_ uri: KMSURI) -> String {
        let host = uri.host.map { "kms://" + $0 } ?? ""
        func named(_ collection: String, _ id: String, _ part: String = "") -> String {
            host + collection + (usesPseudonyms ? pseudonym(id).text : id) + part
        }
        return switch uri.object {
        case .cluster: host + "/"
        case .staticKey(let number): (host + "/statickeys/" + number).printable
        case .sessions: host + "/ecdhe"
        case .session(let id): named("/ecdhe/", id)
        case .keys: host + "/keys"
        case .key(let id): named("/keys/", id)
        case .resources: host + "/resources"
        case .resource(let id): named("/resources/", id)
        case .resourceKeys(let id): named("/resources/", id, "/keys")
        case .resourceAuthorizations(let id): named("/resources/", id, "/authorizations")
        case .resourceSearchKeys(let id): named("/resources/", id, "/searchKeys")
        case .memberships: host + "/memberships"
        case .sealingKey: host + "/sealingKey"
        case .signatures: host + "/signatures"
        case .resourceHold(let id): named("/resources/", id, "/hold")
        case .authorizations: host + "/authorizations"
        case .authorization(let id): named("/authorizations/", id)
        case .ping: host + "/ping"
        case .other(let path): usesPseudonyms ? host + "/?" : (host + path).printable
        }
    }

    /// A reason goes to the client with identifiers in clear; here every UUID in it becomes its pseudonym.
    private func shown(reason: String) -> String {
        guard usesPseudonyms else { return reason.printable }
        var result = ""
        var word = ""
        func flush() {
            result += UUIDText.isValid(word) ? pseudonym(word).text : word
            word = ""
        }
        for character in reason {
            if character.isHexDigit || character == "-" {
                word.append(character)
            } else {
                flush()
                result.append(character)
            }
        }
        flush()
        return result.printable
    }
}

extension String {
    /// Without control characters: the text of a peer must not move the cursor or forge lines.
    fileprivate var printable: String {
        if utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) { return self }
        return String(String.UnicodeScalarView(unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? "?" : $0 }))
    }
}

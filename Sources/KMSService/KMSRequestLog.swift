import Diagnostics
import KMSProtocol
import KeyManagement
import MasterKey
import ServiceRuntime
import WireText

/// Writes what the KMS did as declared events, identifiers as pseudonyms, and counts it.
///
/// A pseudonym is the first 8 octets of the blind index of an identifier: the same one each time, so that an operator
/// can follow a user through the journal, and only the holder of the root key can tell who it is.
struct KMSRequestLog: RequestLog {
    let events: any EventRecorder
    let metrics: MetricRegistry
    let ring: SealRing
    let usesPseudonyms: Bool

    func request(_ entry: RequestLogEntry, status: Int?, reason: String?) {
        let duration = entry.elapsedMicroseconds
        let labels = [entry.method ?? "unknown", entry.type ?? "UNKNOWN"]
        if let status {
            metrics.counter(.kmsRequests, labels + [String(status)]).increment()
        } else {
            metrics.counter(.kmsReplays).increment()
        }
        metrics.histogram(.kmsRequestTime, labels).observe(Double(duration) / 1_000_000)
        let event: Event =
            switch status {
            case .some(500...): .kmsFailure
            case .some(400...): .kmsRefusal
            default: .kmsRequest
            }
        events.record(
            event,
            [
                .kmsMethod: Loggable(reviewed: entry.method ?? "unknown"),
                .kmsType: Loggable(reviewed: entry.type ?? "UNKNOWN"),
                .kmsURI: entry.uri.map { Loggable(reviewed: shown(uri: $0)) },
                .kmsRequestID: entry.requestID.map { Loggable(reviewed: String($0.prefix(64)).printable) },
                .userID: entry.user.map { pseudonym($0) },
                .effectiveUserID: entry.effectiveUser.map { pseudonym($0) },
                .status: status.map { Loggable($0) } ?? "replayed",
                .durationMicroseconds: Loggable(duration),
                .reason: reason.map { Loggable(reviewed: shown(reason: $0)) },
            ])
    }

    func reset(reason: String, session: String?) {
        metrics.counter(.kmsResets, [reason]).increment()
        events.record(
            .kmsReset,
            [.reason: Loggable(reviewed: reason), .kmsURI: session.map { Loggable(reviewed: shown(uri: $0)) }])
    }

    func failure(_ error: any Error, while doing: String) {
        events.record(
            .kmsFailure,
            [
                .kmsMethod: "internal", .kmsType: "NONE", .status: "500",
                .reason: "\(reviewed: doing): \(Loggable(error: error))",
            ])
    }

    private func pseudonym(_ text: String) -> Loggable {
        guard usesPseudonyms else { return Loggable(reviewed: text.printable) }
        return Loggable(reviewed: Hexadecimal.encode(ring.lookup(text, purpose: "log").prefix(8)))
    }

    /// The URI with its identifiers as pseudonyms; whatever is no `kms:` URI is not shown.
    private func shown(uri: String) -> String {
        guard usesPseudonyms else { return uri.printable }
        guard let parsed = KMSURI(uri) else { return "malformed" }
        let path = uri.split(separator: "?")[0].split(separator: "/").dropFirst(parsed.host == nil ? 0 : 2)
        let shown = path.map { UUIDText.isValid($0) ? pseudonym(String($0)).text : String($0) }
        return (parsed.host.map { "kms://" + $0 } ?? "") + "/" + shown.joined(separator: "/").printable
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
        String(String.UnicodeScalarView(unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? "?" : $0 }))
    }
}

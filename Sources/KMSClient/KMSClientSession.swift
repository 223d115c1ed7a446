package import Diagnostics
import JOSEEncryption
import JOSESignature
package import KMSProtocol
package import SecretMemory
import Synchronization
package import WireText

/// A session between a client and its KMS: wraps requests, opens answers, judges resets (protocol, section 5).
///
/// Shared by all calls of a client; any thread. It has no network and no clock: the caller sends what `wrap` gives,
/// brings what came back, and tells the time. Times on the wire are the KMS's, learned from the answer that opened the
/// session, so that a client whose clock is wrong is understood.
package final class KMSClientSession: Sendable {
    /// `kms://HOST/ecdhe/UUID`
    package let uri: String
    package let host: String
    package let userID: String
    package let created: Timestamp
    package let expires: Timestamp
    /// Milliseconds by which the KMS's clock is ahead of the local one: at most its true value, less the way of one answer.
    package let clockOffset: Int64
    let key: SymmetricKey
    private let counter: Mutex<RequestCounter>

    package init(
        uri: String, host: String, userID: String, key: SymmetricKey, created: Timestamp, expires: Timestamp,
        clockOffset: Int64, lastCounter: Int64 = 0
    ) {
        self.uri = uri
        self.host = host
        self.userID = userID
        self.key = key
        self.created = created
        self.expires = expires
        self.clockOffset = clockOffset
        counter = Mutex(RequestCounter(last: lastCounter))
    }

    /// The KMS's clock when the local one shows `local`.
    package func time(at local: Timestamp) -> Timestamp { local.adding(milliseconds: clockOffset) }

    /// Whether requests may still be sent: a minute is kept for their way.
    package func isUsable(at local: Timestamp) -> Bool { time(at: local) < expires.adding(seconds: -60) }

    package var lastCounter: Int64 { counter.withLock { $0.last } }

    /// The KMS found a counter too low: the next ones leap ahead.
    package func raiseCounter() { counter.withLock { $0.raise() } }

    // MARK: - Requests

    /// A request ready to be sent. Requests have to leave in the order in which they were wrapped.
    package func wrap(
        _ operation: KMSOperation, as credential: KMSCredential, at local: Timestamp
    ) throws -> KMSWrappedRequest {
        let time = time(at: local)
        let requestID = UUIDText.random()
        let number = counter.withLock { $0.next(at: time) }
        let json = RequestEnvelope.json(
            requestID: requestID, method: operation.method, uri: operation.uri, credential: credential,
            stamp: .init(counter: number, time: time)
        ) { operation.write(to: &$0) }
        let text = try json.withUnsafeBytes { try JWE.encryptDirect($0, key: key, kid: uri) }
        return KMSWrappedRequest(
            id: requestID, session: uri, operation: operation, counter: number,
            text: String(decoding: text, as: UTF8.self))
    }

    // MARK: - Answers

    /// Opens an encrypted message of this session and reads it as an answer.
    ///
    /// Refused: another algorithm or session in its header, another key, a request that was sent back (it has a
    /// `method` or no `status`), and what is no answer.
    package func open(_ text: String) throws(DiagnosedError) -> KMSAnswer {
        let message: JWECompact
        do {
            message = try JWE.parse(Array(text.utf8))
        } catch {
            throw .foreignAnswer("the message is no compact JWE")
        }
        guard message.header.alg == "dir", message.header.enc == "A256GCM" else {
            throw .foreignAnswer(
                "the answer is encrypted in another way", expected: "alg dir with enc A256GCM",
                found: "alg \(message.header.alg.loggable)")
        }
        guard message.header.kid == uri else {
            throw .foreignAnswer(
                "the answer belongs to another session", expected: uri, found: message.header.kid?.loggable ?? "no kid")
        }
        let plain: SecretBytes
        do {
            plain = try JWE.decryptDirect(message, key: key)
        } catch {
            throw .foreignAnswer("the session's key does not open the answer")
        }
        return try Self.reply(plain)
    }

    private static let answerLimits = JSONDocument.Limits(
        maximumDepth: 12, maximumNodes: 200_000, maximumBytes: 2 << 20)

    private static func reply(_ plain: borrowing SecretBytes) throws(DiagnosedError) -> KMSAnswer {
        let root = try plain.withUnsafeBytes { (bytes) throws(DiagnosedError) in
            try JSONDocument(bytes, limits: answerLimits).root
        }
        return try answer(root)
    }

    static func answer(_ root: JSONNode) throws(DiagnosedError) -> KMSAnswer {
        guard root.kind == .object else { throw .malformedAnswer("the answer is no JSON object") }
        guard root["method"] == nil, root["status"] != nil else {
            throw DiagnosedError(
                .kmsReflected, fault: .peer, "a request came back instead of an answer",
                expected: "a member 'status' and no member 'method'",
                hint: "somebody between client and KMS sends requests back")
        }
        guard let answer = KMSAnswer(root) else { throw .malformedAnswer("the answer does not have the form of one") }
        return answer
    }

    /// Whether a reset ends this session. It has to name the session and to be at most five minutes from the KMS's
    /// clock and not older than the session; its signature was checked before (docs/kms-extensions.md).
    package func accept(_ reset: KMSReset, at local: Timestamp) throws(DiagnosedError) {
        guard let named = reset.session, let time = reset.time else {
            throw .reset("it does not say which session it ends, and when", expected: "members 'session' and 'time'")
        }
        guard named == uri else { throw .reset("it speaks of another session", expected: uri, found: named.loggable) }
        let now = self.time(at: local)
        guard abs(now.milliseconds - time.milliseconds) <= 300_000 else {
            throw .reset("it is not of now", expected: "a time within five minutes of \(now)", found: "\(time)")
        }
        guard time >= created else {
            throw .reset("it is older than the session", expected: "not before \(created)", found: "\(time)")
        }
    }
}

/// A wrapped request with what its answer is held against.
package struct KMSWrappedRequest: Sendable {
    package let id: String
    package let session: String
    package let operation: KMSOperation
    package let counter: Int64
    /// The compact JWE.
    package let text: String

    /// Holds an answer against the request: its id, and for a success the objects it speaks of.
    package func check(_ answer: KMSAnswer, host: String) throws(DiagnosedError) {
        guard answer.requestID == id else {
            throw DiagnosedError(
                .kmsMismatch, fault: .peer, "the answer belongs to another request", expected: "request \(id)",
                found: answer.requestID?.loggable ?? "no requestId")
        }
        guard (200...299).contains(answer.status) else { return }
        guard operation.matches(answer, host: host) else {
            throw DiagnosedError(
                .kmsMismatch, fault: .peer, "the answer speaks of other objects than were asked for",
                expected: "\(operation.method.rawValue) \(operation.uri)")
        }
    }
}

extension DiagnosedError {
    static func foreignAnswer(_ summary: String, expected: String? = nil, found: String? = nil) -> DiagnosedError {
        DiagnosedError(.kmsForeignAnswer, fault: .peer, summary, expected: expected, found: found)
    }
    static func malformedAnswer(_ summary: String) -> DiagnosedError {
        DiagnosedError(.kmsMalformedAnswer, fault: .peer, summary)
    }
    static func reset(_ summary: String, expected: String? = nil, found: String? = nil) -> DiagnosedError {
        DiagnosedError(
            .kmsReset, fault: .peer, "a reset is not followed: \(summary)", expected: expected, found: found)
    }
}

extension String {
    /// Text of a peer for an error: printable ASCII only, and short.
    var loggable: String {
        let clean = String(decoding: utf8.prefix(120).map { (0x20..<0x7F).contains($0) ? $0 : 0x3F }, as: UTF8.self)
        return utf8.count > 120 ? clean + "…" : clean
    }
}

package import Cryptography
import Diagnostics
package import WireText

/// A witness that is a time-stamping authority (RFC 3161): the stamp over a head stands beside it in a file.
///
/// The authority learns a digest and nothing else. What it says is verified before it is kept: a file of this witness
/// holds no stamp that did not hold when it came. Lines are `{"head":"JWS","timestamp":"base64"}`; the stamp is over
/// the SHA-256 of the head's JWS as it stands there.
package struct TimeStampWitness: AuditWitness {
    /// Brings a request (DER) to the authority and answers with what it said.
    package typealias Ask = @Sendable ([UInt8]) async throws -> [UInt8]

    package let name: String
    private let file: FileWitness
    private let roots: [Certificate]
    private let policy: String?
    private let clock: @Sendable () -> Timestamp
    private let ask: Ask

    package init(
        _ name: String, file: String, roots: [Certificate], policy: String? = nil,
        clock: @escaping @Sendable () -> Timestamp = { .now() }, ask: @escaping Ask
    ) {
        self.name = name
        self.file = FileWitness(file)
        self.roots = roots
        self.policy = policy
        self.clock = clock
        self.ask = ask
    }

    package func receive(_ head: SignedHead) async throws {
        let request = try TimeStampRequest(digest: StampedHead.digest(of: head.jws), policy: policy)
        let answer = try await ask(request.der)
        let token = try TimeStampToken.granted(in: answer, to: request, roots: roots, now: clock())
        try await file.append(StampedHead(jws: head.jws, token: token.der).line)
    }
}

/// A head with the time stamp over it, as a line of a witness's file.
struct StampedHead: Equatable {
    let jws: String
    /// DER; nil in the file of a witness that stamps nothing.
    let token: [UInt8]?

    static func digest(of jws: String) -> [UInt8] { SHA256.hash(Array(jws.utf8)) }

    var line: String {
        var json = JSONWriter()
        json.beginObject()
        json.member("head", jws)
        json.member("timestamp", ifPresent: token.map { Base64.encode($0) })
        json.endObject()
        return json.text()
    }

    init(jws: String, token: [UInt8]?) {
        self.jws = jws
        self.token = token
    }

    /// Nil when it is neither a JWS nor such an object, as a crash leaves it.
    init?(_ line: [UInt8]) {
        guard line.first == UInt8(ascii: "{") else {
            self.init(jws: String(decoding: line, as: UTF8.self), token: nil)
            return
        }
        let limits = JSONDocument.Limits(maximumDepth: 2, maximumNodes: 8, maximumBytes: RecordBody.maximumLine)
        guard let root = try? JSONDocument(line, limits: limits).root, let jws = root["head"]?.string,
            let token = root["timestamp"]?.string.flatMap({ Base64.decode($0) })
        else { return nil }
        self.init(jws: jws, token: token)
    }
}

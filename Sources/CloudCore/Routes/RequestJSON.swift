import Diagnostics
import Hummingbird
import LinkProtocol
import NIOCore
import WireText

/// The body of a request as a JSON object, and its members with their checks: what is missing, of another type or too
/// long is refused with 400 and the member's name. Members that are not known are ignored.
struct RequestJSON: Sendable {
    let root: JSONNode

    /// Reads the whole body; a longer one is 413, what is no JSON object 400.
    init(_ request: Request, maximumBytes: Int = 512 << 10) async throws {
        let body: ByteBuffer
        do {
            body = try await request.body.collect(upTo: maximumBytes)
        } catch is NIOTooManyBytesError {
            throw Refusal(.tooLarge, "the body is longer than \(maximumBytes) octets")
        }
        do {
            root = try body.withUnsafeReadableBytes {
                try JSONDocument($0, limits: .init(maximumBytes: maximumBytes))
            }.root
        } catch let error as DiagnosedError {
            throw Refusal(.badRequest, error.description)
        }
        guard root.kind == .object else { throw Refusal(.badRequest, "the body is no JSON object") }
    }

    init(_ node: JSONNode) { root = node }

    func object(_ name: String) throws(Refusal) -> RequestJSON {
        guard let node = root[name], node.kind == .object else { throw wrong(name, "an object") }
        return RequestJSON(node)
    }

    func text(_ name: String, maximum: Int = 1024) throws(Refusal) -> String {
        guard let text = try optionalText(name, maximum: maximum) else { throw wrong(name, "a text") }
        return text
    }

    /// Absent and null are the same; a present one is a text of one octet at least.
    func optionalText(_ name: String, maximum: Int = 1024) throws(Refusal) -> String? {
        guard let node = root[name], !node.isNull else { return nil }
        guard let text = node.string, !text.isEmpty, text.utf8.count <= maximum else {
            throw wrong(name, "a text of 1 to \(maximum) octets")
        }
        return text
    }

    func texts(_ name: String, maximumCount: Int, maximum: Int) throws(Refusal) -> [String] {
        guard let texts = root[name]?.strings, texts.count <= maximumCount,
            texts.allSatisfy({ !$0.isEmpty && $0.utf8.count <= maximum })
        else { throw wrong(name, "a list of at most \(maximumCount) texts of 1 to \(maximum) octets") }
        return texts
    }

    func uuid(_ name: String) throws(Refusal) -> String {
        guard let text = root[name]?.string, UUIDText.isValid(text) else { throw wrong(name, "a UUID") }
        return text.lowercased()
    }

    /// An encrypted text of a client.
    func content(_ name: String, maximum: Int) throws(Refusal) -> String {
        guard let text = try optionalContent(name, maximum: maximum) else { throw wrong(name, "a compact JWE") }
        return text
    }

    func optionalContent(_ name: String, maximum: Int) throws(Refusal) -> String? {
        guard let text = try optionalText(name, maximum: maximum) else { return nil }
        guard OpaqueText.isContent(text) else {
            throw Refusal(
                .badRequest,
                "\(name) is not encrypted: a compact JWE with alg dir and enc A256GCM is due, and plaintext is never taken"
            )
        }
        return text
    }

    func keyURL(_ name: String) throws(Refusal) -> String {
        guard let text = root[name]?.string, OpaqueText.isKMSURI(text, collection: "keys") else {
            throw wrong(name, "kms://HOST/keys/UUID")
        }
        return text
    }

    /// A wrapped string for the KMS.
    func kmsMessage(_ name: String = "kmsMessage") throws(Refusal) -> String {
        try text(name, maximum: LinkFrame.maximumStringBytes)
    }

    private func wrong(_ name: String, _ expected: String) -> Refusal {
        Refusal(.badRequest, "\(name) is missing or malformed: expected \(expected)")
    }
}

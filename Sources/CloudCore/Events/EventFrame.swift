import Diagnostics
import WireText

/// A frame that a device sends on its event socket (section 9 of the KMS protocol), parsed.
///
/// Members and types that are not known are ignored, so that clients of other releases are served.
enum EventFrame: Equatable, Sendable {
    case authorization(token: String)
    case acknowledgement(messageID: String)
    case ping(id: String)
    case other

    static let maximumBytes = 64 << 10

    init(_ text: String) throws(DiagnosedError) {
        let root = try JSONDocument(Array(text.utf8), limits: .init(maximumBytes: Self.maximumBytes)).root
        switch root["type"]?.string {
        case "authorization":
            guard let token = root["data"]?["token"]?.string, let bearer = BearerToken(header: token) else {
                throw DiagnosedError(
                    .badEventFrame, fault: .client, "the authorization frame has no token",
                    expected: "data.token: \"Bearer …\"")
            }
            self = .authorization(token: bearer.text)
        case "ack":
            guard let id = root["messageId"]?.string, id.utf8.count <= 255 else {
                throw DiagnosedError(.badEventFrame, fault: .client, "an ack has no messageId")
            }
            self = .acknowledgement(messageID: id)
        case "ping":
            guard let id = root["id"]?.string, id.utf8.count <= 255 else {
                throw DiagnosedError(.badEventFrame, fault: .client, "a ping has no id")
            }
            self = .ping(id: id)
        default:
            guard root.kind == .object else {
                throw DiagnosedError(.badEventFrame, fault: .client, "a frame is no JSON object")
            }
            self = .other
        }
    }
}

/// The token of an `Authorization` value, `Bearer` and one space before it (RFC 6750, section 2.1).
struct BearerToken: Sendable {
    static let maximumBytes = 16 << 10
    let text: String

    init?(header: String) {
        let prefix = header.prefix(7)
        guard prefix.lowercased() == "bearer " else { return nil }
        let token = header.dropFirst(7)
        guard !token.isEmpty, token.utf8.count <= Self.maximumBytes,
            token.utf8.allSatisfy({ (0x21...0x7e).contains($0) })
        else { return nil }
        text = String(token)
    }
}

extension DiagnosedError.Code {
    static let badEventFrame: Self = "bad-event-frame"
}

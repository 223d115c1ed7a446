import Cryptography
package import Diagnostics
import JOSESignature
package import WireText

/// What an officer asks for: one command with all its arguments, for one service, once and soon.
///
/// The signed payload is canonical JSON of the members below; the signature's `typ` is `hds-officer-request`.
package struct OfficerRequest: Sendable {
    package let command: String
    /// An object.
    package let arguments: JSONNode
    /// DNS name of the KMS.
    package let host: String
    /// Name of the node or of the cluster.
    package let node: String
    package let issued: Timestamp
    package let expires: Timestamp
    package let nonce: String

    /// Longest time between `issued` and `expires`, in seconds.
    package static let maximumLife: Int64 = 300
    /// How far the officer's clock may be ahead, in seconds.
    package static let clockSkew: Int64 = 60
    static let names = ["arguments", "command", "expires", "host", "issued", "node", "nonce"]

    /// The payload to sign.
    package static func payload(
        command: String, arguments: JSONNode, host: String, node: String, issued: Timestamp,
        life: Int64 = maximumLife, nonce: String = UUIDText.random()
    ) throws(DiagnosedError) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.name("arguments")
        try CanonicalJSON.write(arguments, to: &json)
        json.member("command", command)
        json.member("expires", issued.adding(seconds: life).iso8601)
        json.member("host", host)
        json.member("issued", issued.iso8601)
        json.member("node", node)
        json.member("nonce", nonce)
        json.endObject()
        return json.bytes()
    }

    /// What a confirmation by a second officer signs: the digest of the first officer's signed text.
    package static func confirmation(
        of signedRequest: String, host: String, issued: Timestamp, life: Int64 = maximumLife,
        nonce: String = UUIDText.random()
    ) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("expires", issued.adding(seconds: life).iso8601)
        json.member("host", host)
        json.member("issued", issued.iso8601)
        json.member("nonce", nonce)
        json.member("request", digest(of: signedRequest))
        json.endObject()
        return json.bytes()
    }

    /// SHA-256 of a signed request, in base64url.
    package static func digest(of signedRequest: String) -> String {
        Base64URL.encode(SHA256.hash(Array(signedRequest.utf8)))
    }

    /// From a signed text whose signature nobody checked: to show a second officer what he confirms, never to obey it.
    package static func unverified(_ signedRequest: String) throws(DiagnosedError) -> OfficerRequest {
        let parts = signedRequest.split(separator: ".", omittingEmptySubsequences: false)
        guard signedRequest.utf8.count <= JWS.maximumBytes, parts.count == 3, let bytes = Base64URL.decode(parts[1])
        else { throw .request(.requestMalformed, "this is no signed request", expected: "a compact JWS") }
        return try OfficerRequest(payload: bytes)
    }

    init(payload: [UInt8]) throws(DiagnosedError) {
        let members = try SignedMembers(payload, names: Self.names)
        let root = members.root
        guard let arguments = root["arguments"], arguments.kind == .object else {
            throw .request(.requestMalformed, "the signed request has no object 'arguments'")
        }
        self.arguments = arguments
        command = try members.text("command")
        host = try members.text("host")
        node = try members.text("node")
        nonce = try members.nonce()
        (issued, expires) = try members.times()
    }
}

/// A second officer's word for one request.
struct OfficerConfirmation: Sendable {
    let request: String
    let host: String
    let issued: Timestamp
    let expires: Timestamp
    let nonce: String

    init(payload: [UInt8]) throws(DiagnosedError) {
        let members = try SignedMembers(payload, names: ["expires", "host", "issued", "nonce", "request"])
        request = try members.text("request")
        host = try members.text("host")
        nonce = try members.nonce()
        (issued, expires) = try members.times()
    }
}

/// The members of a signed payload: exactly the expected ones, in canonical form.
private struct SignedMembers {
    let root: JSONNode

    init(_ payload: [UInt8], names: [String]) throws(DiagnosedError) {
        do {
            root = try JSONDocument(payload).root
        } catch {
            throw .request(.requestMalformed, "the signed payload is no JSON", found: error.summary)
        }
        guard root.members?.map(\.name) == names, CanonicalJSON.isCanonical(payload, root) else {
            throw .request(
                .requestMalformed, "the signed payload has another form",
                expected: "canonical JSON with \(names.joined(separator: ", "))")
        }
    }

    func text(_ name: String) throws(DiagnosedError) -> String {
        guard let text = root[name]?.string, !text.isEmpty, text.utf8.count <= 256 else {
            throw .request(.requestMalformed, "the signed member '\(name)' is no text")
        }
        return text
    }

    /// At least as many characters as a UUID without its hyphens has: 122 bits when it is random.
    func nonce() throws(DiagnosedError) -> String {
        let nonce = try text("nonce")
        guard (32...128).contains(nonce.utf8.count) else {
            throw .request(.requestMalformed, "the nonce has the wrong length", expected: "32 to 128 characters")
        }
        return nonce
    }

    func times() throws(DiagnosedError) -> (Timestamp, Timestamp) {
        guard let issued = Timestamp(iso8601: try text("issued")), let expires = Timestamp(iso8601: try text("expires"))
        else { throw .request(.requestMalformed, "a signed time is no date") }
        guard issued < expires, expires <= issued.adding(seconds: OfficerRequest.maximumLife) else {
            throw .request(
                .requestMalformed, "the signed request lives too long",
                expected: "at most \(OfficerRequest.maximumLife) s", found: "\(issued) to \(expires)")
        }
        return (issued, expires)
    }
}

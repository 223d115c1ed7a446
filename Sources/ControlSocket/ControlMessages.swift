package import Diagnostics
package import WireText

/// One command that came over the control socket: a line of JSON.
///
/// ```json
/// {"id":"1","command":"ping","arguments":{},"signature":"…","confirmation":"…"}
/// ```
/// `signature` and `confirmation` are officers' signed texts; who needs them checks them.
package struct ControlRequest: Sendable {
    /// Chosen by the client; the answer carries it.
    package let id: String
    package let command: String
    /// Always an object.
    package let arguments: JSONNode
    package let signature: String?
    package let confirmation: String?

    package static let maximumBytes = 1 << 20
    static let names: Set<String> = ["id", "command", "arguments", "signature", "confirmation"]

    package init(
        id: String, command: String, arguments: JSONNode, signature: String? = nil, confirmation: String? = nil
    ) {
        self.id = id
        self.command = command
        self.arguments = arguments
        self.signature = signature
        self.confirmation = confirmation
    }

    package init(line: some Collection<UInt8>) throws(DiagnosedError) {
        let root: JSONNode
        do {
            root = try JSONDocument(line, limits: .init(maximumBytes: Self.maximumBytes)).root
        } catch {
            throw .control(
                .controlMalformed, .client, "the request is not valid JSON", expected: error.expected,
                found: error.found)
        }
        guard let members = root.members else { throw Self.malformed("it is no object") }
        guard let unknown = members.first(where: { !Self.names.contains($0.name) }) else {
            id = try Self.text(root["id"], "id", upTo: 128)
            command = try Self.text(root["command"], "command", upTo: 64)
            guard let arguments = root["arguments"], arguments.kind == .object else {
                throw Self.malformed("'arguments' is no object")
            }
            self.arguments = arguments
            signature = try Self.optional(root["signature"], "signature")
            confirmation = try Self.optional(root["confirmation"], "confirmation")
            return
        }
        throw Self.malformed("it has a member that is not known", found: "\(unknown.name.utf8.count) octets of name")
    }

    /// The line with its line feed.
    package func line() -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("id", id)
        json.member("command", command)
        json.name("arguments")
        // What JSON was read can be written; only fractions have no canonical form, and no command has them.
        if (try? CanonicalJSON.write(arguments, to: &json)) == nil { json.null() }
        json.member("signature", ifPresent: signature)
        json.member("confirmation", ifPresent: confirmation)
        json.endObject()
        return json.bytes() + [UInt8(ascii: "\n")]
    }

    private static func text(_ node: JSONNode?, _ name: String, upTo limit: Int) throws(DiagnosedError) -> String {
        guard let text = node?.string, !text.isEmpty, text.utf8.count <= limit else {
            throw malformed("'\(name)' is no text of 1 to \(limit) octets")
        }
        return text
    }

    private static func optional(_ node: JSONNode?, _ name: String) throws(DiagnosedError) -> String? {
        guard let node else { return nil }
        return try text(node, name, upTo: maximumBytes)
    }

    private static func malformed(_ what: String, found: String? = nil) -> DiagnosedError {
        .control(
            .controlMalformed, .client, "the request is malformed: \(what)",
            expected: #"{"id":…,"command":…,"arguments":{…}}"#, found: found)
    }
}

/// What a command gives back: one JSON object, empty when there is nothing to say.
package struct ControlAnswer: Sendable {
    /// A JSON text in one line.
    package let result: String

    package init(result: String = "{}") { self.result = result }

    package init(_ write: (inout JSONWriter) throws -> Void) rethrows {
        var json = JSONWriter()
        json.beginObject()
        try write(&json)
        json.endObject()
        result = json.text()
    }

    package static let maximumBytes = 8 << 20
}

/// The lines that a service writes: progress, then one answer for each request.
enum ControlLine {
    static func success(_ id: String, _ answer: ControlAnswer) -> [UInt8] {
        line { json in
            json.member("id", id)
            json.member("ok", true)
            json.name("result")
            json.raw(answer.result)
        }
    }

    static func progress(_ id: String, _ text: String) -> [UInt8] {
        line { json in
            json.member("id", id)
            json.member("progress", text)
        }
    }

    /// - Parameter id: nil when the request could not be read that far.
    static func failure(_ id: String?, _ error: DiagnosedError) -> [UInt8] {
        line { json in
            json.member("id", ifPresent: id)
            json.member("ok", false)
            json.name("error")
            json.beginObject()
            json.member("code", error.code.rawValue)
            json.member("fault", error.fault.rawValue)
            json.member("summary", error.summary)
            json.member("expected", ifPresent: error.expected)
            json.member("found", ifPresent: error.found)
            json.member("hint", ifPresent: error.hint)
            json.endObject()
        }
    }

    private static func line(_ write: (inout JSONWriter) -> Void) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        write(&json)
        json.endObject()
        return json.bytes() + [UInt8(ascii: "\n")]
    }
}

extension DiagnosedError.Code {
    /// The control socket can not be set up.
    package static let controlSocket: Self = "control-socket"
    /// Another service listens on the control socket already.
    package static let controlBusy: Self = "control-busy"
    /// Who connected may not use the control socket.
    package static let controlRefused: Self = "control-refused"
    package static let controlMalformed: Self = "control-malformed"
    package static let controlTooMany: Self = "control-too-many"
    /// The peer took too long.
    package static let controlIdle: Self = "control-idle"
    package static let controlStopping: Self = "control-stopping"
    package static let controlUnknownCommand: Self = "control-unknown-command"
    /// A command failed in a way that nobody described: a defect.
    package static let controlFailure: Self = "control-failure"
    /// Nobody listens on the control socket.
    package static let serviceNotRunning: Self = "service-not-running"
    package static let controlPermission: Self = "control-permission"
    /// The service's answer could not be read or did not come.
    package static let controlAnswer: Self = "control-answer"
}

extension DiagnosedError {
    static func control(
        _ code: Code, _ fault: Fault, _ summary: String, expected: String? = nil, found: String? = nil,
        hint: String? = nil
    ) -> DiagnosedError {
        DiagnosedError(code, fault: fault, summary, expected: expected, found: found, hint: hint)
    }
}

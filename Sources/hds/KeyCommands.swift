import ArgumentParser
import Diagnostics
import HDSClient
import WireText

struct RotateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate", abstract: "Give a space a new key; what is written from now on uses it.")

    @Argument(help: "Name, or beginning of the id.") var space: String
    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await common.withClient { client in
            let key = try await client.spaces.newKey(for: try await client.spaces.find(space))
            if common.json {
                var json = JSONWriter()
                json.beginObject()
                json.member("key", key)
                json.endObject()
                Terminal.output.line(json.text())
            } else {
                Terminal.output.line("The space '\(space)' has a new key: \(key)")
            }
        }
    }
}

struct KeysCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keys", abstract: "List the keys of a space, newest first; never their octets.")

    @Argument(help: "Name, or beginning of the id.") var space: String
    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await common.withClient { client in
            let keys = try await client.spaces.keyList(of: try await client.spaces.find(space))
            if common.json {
                var json = JSONWriter()
                json.beginArray()
                for key in keys {
                    json.beginObject()
                    json.member("uri", key.uri)
                    json.member("bound", ifPresent: key.bound?.iso8601)
                    json.member("mayEncrypt", key.refusal == nil)
                    json.member("reason", ifPresent: key.refusal)
                    json.endObject()
                }
                json.endArray()
                Terminal.output.line(json.text())
            } else {
                Terminal.output.table(
                    keys.map { key in
                        [
                            key.uri, key.bound.map { String($0.iso8601.prefix(19)) + "Z" } ?? "-",
                            key.refusal.map { "reading only: \($0)" } ?? "reading and writing",
                        ]
                    }, header: ["KEY", "BOUND", "USE"])
            }
        }
    }
}

struct KeyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "Ask the KMS for one key, and say whether it gives it.",
        discussion: "Ends with 0 when the key is given and with 77 when it is refused. The key itself is never shown.")

    @Argument(help: "URI of the key, kms://HOST/keys/ID.") var uri: String
    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await common.withClient { client in
            let verdict = try await client.verdict(onKey: uri)
            let out = Terminal.output
            switch verdict {
            case .allowed(let resource, let bound, let owner):
                if common.json {
                    var json = JSONWriter()
                    json.beginObject()
                    json.member("uri", uri)
                    json.member("allowed", true)
                    json.member("resource", ifPresent: resource)
                    json.member("bound", ifPresent: bound?.iso8601)
                    json.member("owner", owner)
                    json.endObject()
                    out.line(json.text())
                } else {
                    out.line(out.styled("allowed", .green, .bold) + "  " + uri)
                    out.line("  " + (resource.map { "bound to \($0)" } ?? "not bound to a space yet"))
                }
            case .refused(let status, let reason):
                if common.json {
                    var json = JSONWriter()
                    json.beginObject()
                    json.member("uri", uri)
                    json.member("allowed", false)
                    json.member("status", status)
                    json.member("reason", reason)
                    json.endObject()
                    out.line(json.text())
                } else {
                    out.line(out.styled("refused", .red, .bold) + "  " + uri)
                    out.line("  \(status) \(out.clean(reason))")
                }
                throw ExitCode(77)
            }
        }
    }
}

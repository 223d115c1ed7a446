import ControlSocket
import Diagnostics
import Foundation
import SignedPolicy
import TestServers
import Testing
import WireText

/// A KMS of the tests: freezes when an officer says so, with a second one if it is told to be large.
private struct FreezeHandler: ControlHandler {
    let desk: OfficerDesk

    func perform(
        _ request: ControlRequest, peer: PeerCredentials, progress: ControlProgress
    ) async throws -> ControlAnswer {
        let approval = try await desk.approve(
            command: request.command, arguments: request.arguments, signature: request.signature,
            confirmation: request.confirmation, needsSecond: { request.arguments["large"]?.boolean == true },
            now: { .now() })
        progress("checked")
        return ControlAnswer { json in
            json.member("officer", approval.officer.id)
            json.member("second", ifPresent: approval.second?.id)
        }
    }
}

@Suite("hdsctl with officers, policies and the control socket", .serialized, .timeLimit(.minutes(5)))
struct CommandLineTests {
    private struct Run {
        let status: Int32
        let output: String
        let errors: String
    }
    private let folder = TemporaryFolder()

    /// The program stands beside the test bundle.
    private static let program: String = {
        for path in CommandLine.arguments + ["/proc/self/exe"] {
            let place = URL(fileURLWithPath: path).resolvingSymlinksInPath().deletingLastPathComponent().path
            if FileManager.default.isExecutableFile(atPath: place + "/hdsctl") { return place + "/hdsctl" }
        }
        return "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/") + "/.build/debug/hdsctl"
    }()

    private func hdsctl(_ arguments: String...) async throws -> Run {
        let out = folder.path + "/out-\(UUIDText.random())", err = folder.path + "/err-\(UUIDText.random())"
        let place = folder.path
        return try await apart {
            for file in [out, err] { _ = FileManager.default.createFile(atPath: file, contents: nil) }
            defer { for file in [out, err] { try? FileManager.default.removeItem(atPath: file) } }
            let process = Process()
            process.executableURL = URL(fileURLWithPath: Self.program)
            process.arguments = arguments
            process.currentDirectoryURL = URL(fileURLWithPath: place)
            process.standardInput = FileHandle.nullDevice
            process.standardOutput = FileHandle(forWritingAtPath: out)
            process.standardError = FileHandle(forWritingAtPath: err)
            try process.run()
            process.waitUntilExit()
            return Run(
                status: process.terminationStatus, output: try String(contentsOfFile: out, encoding: .utf8),
                errors: try String(contentsOfFile: err, encoding: .utf8))
        }
    }

    private func write(_ text: String, _ name: String, mode: Int = 0o600) throws {
        _ = FileManager.default.createFile(
            atPath: folder.path + "/" + name, contents: Data(text.utf8), attributes: [.posixPermissions: mode])
    }

    /// A key made by the program, and the officer as it is to be enrolled.
    private func officer(_ id: String, _ duties: String...) async throws -> String {
        try write("the passphrase of \(id)\n", "\(id).pass")
        let run = try await hdsctl(
            "officer", "create", "\(id).pem", "--id", id, "--passphrase-file", "\(id).pass", "--duty", duties[0],
            duties.last!)
        #expect(run.status == 0 && run.errors.hasPrefix("fingerprint "), "\(run)")
        #expect(fileMode(folder.path + "/\(id).pem").map { $0 & 0o777 } == 0o600)
        return run.output
    }

    @Test("ping finds the service, and says what to do when there is none")
    func ping() async throws {
        let stage = try Stage()
        let run = try await hdsctl("control", "ping", "--socket", stage.path)
        #expect(run.status == 0, "\(run.errors)")
        #expect(run.output.contains("hds-kms 1.2.3 answers for kms.example.com, node node-1"))
        let json = try await hdsctl("control", "ping", "--json", "--socket", stage.path)
        #expect(try JSONDocument(text: String(json.output.dropLast())).root["node"]?.string == "node-1")
        await stage.socket.stop()
        let none = try await hdsctl("control", "ping", "--socket", stage.path)
        #expect(none.status == 69 && none.output.isEmpty)
        #expect(none.errors.contains("the service is not running") && none.errors.contains("--socket"))
    }

    @Test("a policy is signed by two officers made here, checked in sentences and compared")
    func policy() async throws {
        let ada = try await officer("ada", "policy", "four-eyes"), bob = try await officer("bob", "policy", "freeze")
        try write("{\"officers\":[\(ada),\(bob)]}", "officers.json")
        let head = "organisation: example-org\nissued: 2026-01-15\n"
        try write("version: 1\n" + head, "policy.yaml")
        func sign(_ id: String, _ more: String...) async throws -> Run {
            try await hdsctl(
                "policy", "sign", "policy.yaml", "--key", "\(id).pem", "--passphrase-file",
                "\(more.first == "wrong" ? "bob" : id).pass", more.last ?? "--out", "policy.signed")
        }
        #expect(try await sign("ada", "wrong", "--out").errors.contains("key-passphrase-wrong"))
        let first = try await sign("ada")
        #expect(first.status == 0 && first.output.contains("No service may get any key."), "\(first)")
        let few = try await hdsctl(
            "policy", "check", "policy.signed", "--officers", "officers.json", "--signatures", "2")
        #expect(few.status == 78 && few.errors.contains("policy-signatures-missing"))
        let appended = try await hdsctl(
            "policy", "sign", "policy.yaml", "--key", "bob.pem", "--passphrase-file", "bob.pass", "--append")
        #expect(appended.status == 0, "\(appended)")
        let both = try await hdsctl(
            "policy", "check", "policy.signed", "--officers", "officers.json", "--signatures", "2")
        #expect(both.status == 0 && both.output.contains("Signed by ada (ada) and bob (bob)."), "\(both)")

        try write("version: 2\n" + head + "agents: [{user: zoe}]\n", "next.yaml")
        let wider = try await hdsctl("policy", "diff", "policy.signed", "next.yaml")
        #expect(wider.status == 1 && wider.output.hasPrefix("widens agents.zoe: "), "\(wider)")
        let narrower = try await hdsctl("policy", "diff", "next.yaml", "policy.signed")
        #expect(narrower.status == 0 && narrower.output.hasPrefix("narrows agents.zoe: "))
        let bad = try await hdsctl("policy", "check", "officers.json")
        #expect(bad.status == 78 && bad.errors.contains("there is no member 'officers'"), "\(bad)")
    }

    @Test("an officer's key shows its fingerprint with the right passphrase only, and is never overwritten")
    func keys() async throws {
        let entry = try await officer("ada", "policy", "freeze")
        try write("another passphrase\n", "wrong.pass")
        let shown = try await hdsctl("officer", "show", "ada.pem", "--passphrase-file", "ada.pass")
        let kid = shown.errors.dropFirst("fingerprint ".count).dropLast()
        #expect(shown.status == 0 && !kid.isEmpty && entry.contains(kid))
        #expect(try await hdsctl("officer", "show", "ada.pem", "--passphrase-file", "wrong.pass").status == 78)
        let again = try await hdsctl("officer", "create", "ada.pem", "--id", "ada", "--passphrase-file", "ada.pass")
        #expect(again.status == 78 && again.errors.contains("never overwritten"))
        let named = try await hdsctl(
            "officer", "create", "x.pem", "--id", "Not A Name", "--passphrase-file", "ada.pass")
        #expect(named.status != 0 && fileMode(folder.path + "/x.pem") == nil)
    }

    @Test("a signed request goes through once, and a large one with the second officer's word")
    func requests() async throws {
        let ada = try await officer("ada", "freeze", "freeze"), bob = try await officer("bob", "four-eyes", "four-eyes")
        let roster = try OfficerRoster(json: Array("{\"officers\":[\(ada),\(bob)]}".utf8))
        let desk = OfficerDesk(
            host: Stage.identity.host, nodes: [Stage.identity.node], duties: ["freeze": .freeze], roster: { roster },
            remembered: [], keep: { _ in })
        let path = Stage.path(in: folder)
        let socket = try ControlSocket(
            .init(path: path, identity: Stage.identity), handler: FreezeHandler(desk: desk))

        func call(_ arguments: String, _ more: String...) async throws -> Run {
            try await hdsctl(
                "control", "call", "freeze", "--arguments", arguments, "--socket", path, "--passphrase-file",
                "ada.pass", more.first ?? "--officer-key", more.last ?? "ada.pem", "--officer-key", "ada.pem")
        }
        let sent = try await call(#"{"user":"u1"}"#)
        #expect(sent.status == 0 && sent.output == "{\"officer\":\"ada\"}\n", "\(sent)")
        #expect(sent.errors == "signing for kms.example.com, node node-1\nchecked\n")
        let unsigned = try await hdsctl("control", "call", "freeze", "--socket", path)
        #expect(unsigned.status == 65 && unsigned.errors.contains("request-unsigned"), "\(unsigned)")

        #expect(try await call(#"{"user":"u1"}"#, "--request-out", "small").status == 0)
        let small = try await hdsctl("control", "send", "small", "--socket", path)
        #expect(small.output == "{\"officer\":\"ada\"}\n", "\(small)")
        let again = try await hdsctl("control", "send", "small", "--socket", path)
        #expect(again.status == 65 && again.errors.contains("request-replayed"), "\(again)")

        #expect(try await call(#"{"large":true,"user":"u1"}"#, "--request-out", "large").status == 0)
        let alone = try await hdsctl("control", "send", "large", "--socket", path)
        #expect(alone.status == 65 && alone.errors.contains("confirmation-missing"), "\(alone)")
        let confirmed = try await hdsctl(
            "officer", "confirm", "large", "--officer-key", "bob.pem", "--out", "word", "--passphrase-file", "bob.pass")
        #expect(confirmed.status == 0 && confirmed.output.contains("The request is freeze for kms.example.com"))
        let both = try await hdsctl("control", "send", "large", "--confirmation", "word", "--socket", path)
        #expect(both.output == "{\"officer\":\"ada\",\"second\":\"bob\"}\n", "\(both)")
        await socket.stop()
    }
}

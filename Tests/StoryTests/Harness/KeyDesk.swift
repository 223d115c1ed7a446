import Foundation
import TestServers
import Testing
import WireText

/// What operators and officers do to master key and root keys, with the real tool.
struct KeyDesk {
    let desk: StoryTests.OversightStoryTests.Desk
    var domain: Domain { desk.deployment.domain }

    static func enrol(_ deployment: Deployment) async throws -> KeyDesk {
        KeyDesk(desk: try await StoryTests.OversightStoryTests.Desk.enrol(deployment))
    }

    /// `hdsctl master-key`, asked of the service.
    @discardableResult
    func ask(_ arguments: String..., socket: String? = nil) async throws -> String {
        try await desk.hdsctl(["master-key"] + arguments + ["--socket", socket ?? desk.socket])
    }

    /// A command that ada signs and ben confirms; what the service answers.
    @discardableResult
    func confirmed(_ arguments: String..., socket: String? = nil) async throws -> String {
        let socket = socket ?? desk.socket
        let mark = UUID().uuidString
        let (request, confirmation) = (desk.path("request-\(mark)"), desk.path("confirmation-\(mark)"))
        _ = try await desk.hdsctl(
            arguments + [
                "--socket", socket, "--officer-key", desk.path("ada.pem"), "--passphrase-file",
                desk.path("passphrase"), "--request-out", request,
            ])
        _ = try await desk.hdsctl([
            "officer", "confirm", request, "--officer-key", desk.path("ben.pem"), "--passphrase-file",
            desk.path("passphrase"), "--out", confirmation,
        ])
        return try await desk.hdsctl(["control", "send", request, "--confirmation", confirmation, "--socket", socket])
    }

    /// What such a command says when it is refused.
    func refusal(_ arguments: String..., socket: String? = nil) async throws -> String {
        let (request, confirmation) = (desk.path("request-r\(UUID())"), desk.path("confirmation-r\(UUID())"))
        let socket = socket ?? desk.socket
        _ = try await desk.hdsctl(
            arguments + [
                "--socket", socket, "--officer-key", desk.path("ada.pem"), "--passphrase-file",
                desk.path("passphrase"), "--request-out", request,
            ])
        _ = try await desk.hdsctl([
            "officer", "confirm", request, "--officer-key", desk.path("ben.pem"), "--passphrase-file",
            desk.path("passphrase"), "--out", confirmation,
        ])
        let (code, text) = try await desk.refused(
            ["control", "send", request, "--confirmation", confirmation], with: ["--socket", socket])
        #expect(code == 65, "\(text)")
        return text
    }

    /// A version of the root key as status tells it.
    struct Version: Equatable {
        let number: Int64
        let state: String
        let values: Int64
    }

    func versions(socket: String? = nil) async throws -> [Version] {
        let text = try await ask("status", "--json", socket: socket)
        let root = try JSONDocument(text: text.trimmingCharacters(in: .whitespacesAndNewlines)).root
        return (root["versions"]?.elements ?? []).map {
            Version(
                number: $0["version"]?.integer ?? 0, state: $0["state"]?.string ?? "",
                values: $0["values"]?.integer ?? 0)
        }
    }

    func destruction() async throws -> Int64? {
        let text = try await ask("status", "--json")
        return try JSONDocument(text: text.trimmingCharacters(in: .whitespacesAndNewlines)).root["destroys"]?.integer
    }

    /// The alarms that stand, as the status command shows them.
    func alarms() async throws -> String { try await desk.ask("status") }

    /// A backup that was restored on trial; its file.
    @discardableResult
    func provedBackup() async throws -> String {
        let file = try #require(try await desk.ask("backup").split(separator: "\n").first).description
        _ = try await desk.hdsctl(
            ["restore", file, "--verify", "--master-key", domain.path("kms/master-key"), "--scratch", domain.folder])
        return file
    }

    static func prepare(_ domain: Domain) throws {
        try StoryTests.OversightStoryTests.enrolling(domain)
        try FileManager.default.createDirectory(
            atPath: domain.path("backups"), withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700])
        try domain.replace(
            "control:\n", with: "backup:\n  folder: \(domain.path("backups"))\ncontrol:\n",
            in: Service.kms.configuration)
    }

    static func useDatabase(_ server: TestPostgreSQL, in file: String, of domain: Domain) throws {
        try domain.replace(
            "  file: kms.sqlite\n",
            with: """
                  postgresql:
                    hosts: ["localhost:\(server.port)"]
                    database: hds
                    user: hds
                    password: \(server.folder)/password
                    ca: \(server.folder)/root.pem
                audit:
                  folder: audit

                """, in: file)
    }
}

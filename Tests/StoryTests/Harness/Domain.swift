import Foundation
import TestServers

/// A customer's domain and a core in a folder, as `deploy/quickstart` makes them: PKI, accounts, keys, configuration.
struct Domain: Sendable {
    let folder: String
    let values: [String: String]

    static let kmsHost = "kms.example.com"

    /// Makes it with the scripts of `deploy/lib`, so that the tests run what users run.
    ///
    /// - Parameters:
    ///   - core: a domain whose core is used; without one a core is made, too.
    ///   - hosts: where authorization service and core run, when not on this machine.
    static func make(
        logLevel: String = "debug", organisation: String = "example", mailDomain: String = "example.com",
        kmsHost: String = kmsHost, core: Domain? = nil,
        hosts: (auth: NetworkPlace, core: NetworkPlace)? = nil
    ) async throws -> Domain {
        let folder = NSTemporaryDirectory() + "hds-story-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        Guardian.shared.removeAtEnd(folder)
        let script = """
            set -euo pipefail
            repository=$1
            . "$repository/deploy/lib/terminal.sh"
            . "$repository/deploy/lib/services.sh"
            . "$repository/deploy/lib/domain.sh"
            organisation=$5 mail_domain=$6 kms_host=$7 core_port=$9 core_url=https://localhost:$9 ports_taken+=${10}
            auth_host=${11} core_host=${12} listen_address=${13}
            make_domain "$2" "$3" "$4" "$8"
            for name in auth_url core_url auth_port core_port auth_health_port core_health_port kms_health_port \\
                mail_domain; do
                printf 'value %s %s\\n' "$name" "${!name:-none}"
            done
            for person in alice bob; do printf 'value %s %s\\n' "$person" "${password[$person]}"; done
            """
        let taken = core?.values.filter { $0.key.hasSuffix("_port") }.values.joined(separator: " ") ?? ""
        let text = try await ChildProcess.run(
            "bash",
            [
                "-c", script, "make-domain", Repository.root, folder, Repository.programs, logLevel, organisation,
                mailDomain, kmsHost, core?.folder ?? "", core?["core_port"] ?? "", taken + " ",
                hosts?.auth.name ?? "localhost", hosts?.core.name ?? "localhost",
                hosts == nil ? "127.0.0.1" : "0.0.0.0",
            ], folder: folder)
        var values: [String: String] = [:]
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: " ")
            if parts.count == 3, parts[0] == "value" { values[String(parts[1])] = String(parts[2]) }
        }
        return Domain(folder: folder, values: values)
    }

    subscript(_ name: String) -> String { values[name] ?? "" }

    func remove() { try? FileManager.default.removeItem(atPath: folder) }

    var coreURL: String { self["core_url"] }
    var authURL: String { self["auth_url"] }
    func password(of person: String) -> String { self[person] }
    func path(_ name: String) -> String { folder + "/" + name }
    func log(of service: Service) -> String { path("log/\(service.rawValue).log") }
    func healthPort(of service: Service) -> Int { Int(self["\(service.part)_health_port"]) ?? 0 }

    /// The bytes of a master key's file: `HDS-KEK-1 FINGERPRINT KEY`.
    func masterKeyText() throws -> String {
        let text = try String(contentsOfFile: path("kms/master-key"), encoding: .utf8)
        return String(text.split(whereSeparator: \.isWhitespace).last ?? "")
    }

    func read(_ name: String) throws -> String { try String(contentsOfFile: path(name), encoding: .utf8) }

    func write(_ text: String, to name: String, mode: Int = 0o600) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path(name)))
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path(name))
    }

    /// Replaces a piece of a file that has to be in it.
    func replace(_ old: String, with new: String, in name: String) throws {
        let text = try read(name)
        guard text.contains(old) else {
            throw NotInTime(what: "'\(old)' in \(name)", limit: .zero, seen: text)
        }
        try write(text.replacingOccurrences(of: old, with: new), to: name)
    }
}

enum Service: String, CaseIterable, Sendable {
    case auth = "hds-auth"
    case core = "hds-core"
    case kms = "hds-kms"

    var part: String { String(rawValue.dropFirst(4)) }
    /// Of the configuration, inside the domain's folder.
    var configuration: String { "\(part)/\(rawValue).yaml" }
}

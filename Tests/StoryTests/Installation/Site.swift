import Foundation
import Glibc
import TestServers
import Testing
import WireText

/// A machine on which `hdsctl setup` works: a folder that stands for `/`, in a domain whose authorization service and core
/// run.
struct Site {
    let deployment: Deployment
    let name: String
    /// Of its health address.
    let port: Int
    var domain: Domain { deployment.domain }
    var root: String { domain.path(name) }
    var answers: String { domain.path("answers-\(name).yaml") }
    var configuration: String { path("etc/hds/hds-kms.yaml") }
    var socket: String { path("run/hds-kms/control.sock") }
    func path(_ place: String) -> String { "\(root)/\(place)" }

    /// - Parameter key: whether the domain's static key and certificate are brought.
    init(
        _ deployment: Deployment, _ name: String = "site", key: Bool = true, port: Int? = nil, more: String = ""
    ) throws {
        (self.deployment, self.name) = (deployment, name)
        self.port = port ?? deployment.domain.healthPort(of: .kms)
        try answer(key: key, more: more)
    }

    /// With the authorization service and the core of a new domain, and without its KMS.
    static func with(
        key: Bool = true, more: (Domain) -> String = { _ in "" }, change: (Domain) async throws -> Void = { _ in },
        _ body: (Site) async throws -> Void
    ) async throws {
        let deployment = Deployment(try await Domain.make())
        do {
            try await change(deployment.domain)
            for service in [Service.auth, .core] {
                try deployment.start(service)
                try await deployment.waitUntilReady(service)
            }
            try await body(try Site(deployment, key: key, more: more(deployment.domain)))
        } catch {
            try? await deployment.end()
            throw error
        }
        try await deployment.end()
    }

    func answer(key: Bool = true, more: String = "") throws {
        let pins = try ["core", "next"].map { try domain.read("pki/core/\($0).pin").split(separator: "\n")[0] }
        let brought = "certificate:\n  private-key: pki/customer/kms.key\n  chain: pki/customer/kms.pem\n"
        try domain.write(
            """
            host: \(Domain.kmsHost)
            node: \(name)
            organisation: example
            core:
              link: wss://localhost:\(domain["core_port"])/link/v1
              ca: pki/core/root.pem
              pins: [\(pins.joined(separator: ", "))]
            authorization:
              issuer: \(domain.authURL)
              ca: pki/customer/root.pem
              client-secret: kms/client-secret
            health-address: 127.0.0.1:\(port)
            \(key ? brought : "")\(more)
            """, to: "answers-\(name).yaml")
    }

    // MARK: Programs

    struct Said {
        let ending: ChildProcess.Ending
        let text: String
        func has(_ piece: String) -> Bool { text.contains(piece) }
    }

    @discardableResult
    func setup(_ more: String..., environment: [String: String] = [:]) async throws -> Said {
        try await hdsctl(["setup", "--answers", answers, "--root", root] + more, environment: environment)
    }

    func doctor(_ more: String...) async throws -> Said { try await hdsctl(["doctor", "--root", root] + more) }

    func hdsctl(_ words: [String], environment: [String: String] = [:]) async throws -> Said {
        let output = domain.path("said-\(UUID().uuidString)")
        defer { unlink(output) }
        let child = try ChildProcess(
            Repository.program("hdsctl"), words, output: output, environment: environment)
        return Said(ending: try await child.end(within: .seconds(120)), text: child.log())
    }

    /// The KMS with what setup has made.
    func begin() throws -> ChildProcess {
        try ChildProcess(
            Repository.program("hds-kms"), ["--config", configuration], output: domain.path("log/\(name).log"))
    }

    func waitUntilReady(_ child: ChildProcess) async throws {
        let address = HealthAddress(port: port, place: nil)
        _ =
            try await eventually("\(name) ready", within: .seconds(60), seen: { child.tail() }) {
                guard child.isRunning else {
                    throw NotInTime(what: "hds-kms has ended", limit: .zero, seen: child.tail())
                }
                return (try? await address.answer("/readyz").status) == 200 ? true : nil
            } as Bool
    }

    func start() async throws -> ChildProcess {
        let child = try begin()
        try await waitUntilReady(child)
        return child
    }

    // MARK: Files

    /// Every file below the root with its octets, but what a running service writes.
    func files() throws -> [String: Data] {
        var files: [String: Data] = [:]
        for file in SecretSearch.files(below: path("etc")) {
            files[file] = try Data(contentsOf: URL(fileURLWithPath: file))
        }
        return files
    }

    func mode(_ place: String) -> String {
        let attributes = try? FileManager.default.attributesOfItem(atPath: path(place))
        return (attributes?[.posixPermissions] as? Int).map { String($0, radix: 8) } ?? "none"
    }

    /// Replaces a piece of a file that has to be in it.
    func replace(_ old: String, with new: String, in place: String) throws {
        try domain.replace(old, with: new, in: "\(name)/\(place)")
    }
}

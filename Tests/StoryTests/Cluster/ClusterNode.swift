import Foundation
import TestServers

/// One node of a KMS with several: a process with a folder of its own, beside those of the others.
final class ClusterNode: Sendable {
    let name: String
    let domain: Domain
    private let process = Running()
    private let port: Int
    let place: NetworkPlace?

    private actor Running {
        var child: ChildProcess?
        /// Its hds-kms is of these.
        var programs = Repository.programs
        func set(_ child: ChildProcess?) { self.child = child }
        func set(programs: String) { self.programs = programs }
    }

    /// Writes its configuration; `servers`: in the order in which it tries them; `place`: the host that it runs on.
    init(_ name: String, _ domain: Domain, servers: [TestPostgreSQL], at place: NetworkPlace? = nil) throws {
        self.name = name
        self.domain = domain
        self.place = place
        port = try LoopbackPort.take()
        try FileManager.default.createDirectory(
            atPath: domain.path(name), withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        try use(servers)
    }

    var configuration: String { domain.path("\(name)/hds-kms.yaml") }
    var socket: String { domain.path("\(name)/control.sock") }

    /// Which databases it works with from its next start on.
    func use(_ servers: [TestPostgreSQL]) throws {
        let text = try domain.read(Service.kms.configuration)
            .replacing("node: trial", with: "node: \(name)")
            .replacing(": master-key\n", with: ": ../kms/master-key\n")
            .replacing(": client-secret\n", with: ": ../kms/client-secret\n")
            .replacing("127.0.0.1:\(domain.healthPort(of: .kms))", with: "127.0.0.1:\(port)")
            .replacing("  file: kms.sqlite\n", with: Self.store(servers))
        try domain.write(text, to: "\(name)/hds-kms.yaml")
    }

    static func store(_ servers: [TestPostgreSQL]) -> String {
        """
          postgresql:
            hosts: [\(servers.map { "\"\($0.host):\($0.port)\"" }.joined(separator: ", "))]
            database: hds
            user: hds
            password: \(servers[0].folder)/password
            ca: \(servers[0].folder)/root.pem
        audit:
          folder: audit

        """
    }

    /// - Parameter programs: the folder of the release that it runs from now on.
    func start(_ programs: String? = nil) async throws {
        if let programs { await process.set(programs: programs) }
        await process.set(
            try ChildProcess(
                await process.programs + "/hds-kms", ["--config", configuration],
                output: domain.path("log/\(name).log"), at: place))
    }

    func send(_ signal: Int32) async { await process.child?.send(signal) }

    /// SIGTERM, and how it ended.
    func stop() async throws -> ChildProcess.Ending? {
        await process.child?.send(SIGTERM)
        return try await process.child?.end()
    }

    func cut() async throws { try await process.child?.cut() }
    func log() async -> String { await process.child?.log() ?? "" }
    func isRunning() async -> Bool { await process.child?.isRunning ?? false }

    func isReady() async -> Bool {
        (try? await answer("/readyz"))?.status == 200
    }

    func waitUntilReady(within limit: Duration = .seconds(60)) async throws {
        let log = await log()
        _ =
            try await eventually("\(name) ready", within: limit, seen: { String(log.suffix(500)) }) {
                await isReady() ? true : nil
            } as Bool
    }

    /// Alarms that stand, as the health address tells them.
    func alarms() async throws -> String { String(decoding: try await answer("/healthz").body, as: UTF8.self) }

    private func answer(_ path: String) async throws -> HealthAddress.Answer {
        try await HealthAddress(port: port, place: place).answer(path)
    }

    func end() async throws {
        await process.child?.send(SIGCONT)
        try await cut()
    }
}

import Cryptography
import Foundation
import Glibc
import HDSClient
import HTTPClient
import Synchronization
import TLSChannel
import TestServers

/// A domain whose three services run as real processes, to be killed and started again on the same ports: on loopback, or
/// each on a host of a drill's network.
final class Deployment: Sendable {
    let domain: Domain
    private let processes = Mutex<[Service: ChildProcess]>([:])

    private let places: [Service: NetworkPlace]

    init(_ domain: Domain, at places: [Service: NetworkPlace] = [:]) {
        (self.domain, self.places) = (domain, places)
    }

    /// A deployment for one test: everything ends with it, also when it throws.
    /// - Parameter change: what is to be different in its files.
    static func with<R>(
        change: (Domain) throws -> Void = { _ in }, _ body: (Deployment) async throws -> R
    ) async throws -> R {
        let deployment = Deployment(try await Domain.make())
        do {
            try change(deployment.domain)
            try await deployment.startAll()
            let result = try await body(deployment)
            try await deployment.end()
            return result
        } catch {
            try? await deployment.end()
            throw error
        }
    }

    /// One deployment for all tests that leave it in good health. The guardian ends it with the process of the tests.
    static func shared() async throws -> Deployment { try await sharedTask.value }
    private static let sharedTask = Task {
        let deployment = Deployment(try await Domain.make())
        try await deployment.startAll()
        return deployment
    }

    // MARK: - Processes

    subscript(_ service: Service) -> ChildProcess? { processes.withLock { $0[service] } }

    func startAll() async throws {
        for service in Service.allCases { try start(service) }
        for service in Service.allCases { try await waitUntilReady(service) }
    }

    /// - Parameter prefix: a program that becomes the service, with its arguments.
    @discardableResult
    func start(
        _ service: Service, environment: [String: String] = [:], through prefix: [String] = []
    ) throws -> ChildProcess {
        let words = prefix + [Repository.program(service.rawValue), "--config", domain.path(service.configuration)]
        let child = try ChildProcess(
            words[0], Array(words.dropFirst()), output: domain.log(of: service), environment: environment,
            at: places[service])
        processes.withLock { $0[service] = child }
        return child
    }

    /// SIGKILL, and the same program again on the same ports.
    func restartAfterKill(_ service: Service) async throws {
        try await self[service]?.cut()
        try start(service)
    }

    func waitUntilReady(_ service: Service, within limit: Duration = .seconds(30)) async throws {
        guard let child = self[service] else { throw NotInTime(what: "\(service)", limit: .zero, seen: "not started") }
        _ =
            try await eventually("\(service.rawValue) ready", within: limit, seen: { child.tail() }) {
                guard child.isRunning else {
                    throw NotInTime(what: "\(service.rawValue) has ended", limit: .zero, seen: child.tail())
                }
                return await status(of: service, "/readyz") == 200 ? true : nil
            } as Bool
    }

    /// The status of a GET on the health address; nil when nobody answers.
    func status(of service: Service, _ path: String) async -> Int? { try? await answer(of: service, path).status }

    func answer(of service: Service, _ path: String) async throws -> HealthAddress.Answer {
        try await HealthAddress(port: domain.healthPort(of: service), place: places[service]).answer(path)
    }

    func pids() -> [Service: pid_t] { processes.withLock { $0.mapValues(\.pid) } }

    /// Ends all processes and removes the folder.
    func end() async throws {
        for service in Service.allCases.reversed() { try await self[service]?.cut() }
        processes.withLock { $0 = [:] }
        domain.remove()
    }

    // MARK: - Clients

    func profile() throws -> DomainProfile { try DomainProfile.read(file: domain.path("domain.json")) }

    /// Trust in the core as a client has it.
    func coreClient() throws -> WebClient {
        let profile = try profile()
        return WebClient(trust: TLSTrust(roots: profile.coreTrust.roots, pins: profile.coreTrust.pins))
    }

    func authClient() throws -> WebClient {
        WebClient(trust: TLSTrust(roots: try profile().issuerTrust.roots))
    }
}

import ControlSocket
import Diagnostics
import JOSESignature
import KeyManagement
import ServiceLifecycle
package import ServiceRuntime
import SignedPolicy
import WireText

/// The control socket as part of the running KMS: listens from the start, closes when the service stops.
struct KMSControl: Service {
    private let socket: ControlSocket

    /// Listens when it returns.
    static func open(
        _ commands: [ControlCommand], of kms: RunningKMS, _ events: any EventRecorder, version: String
    ) async throws -> KMSControl {
        let section = kms.configuration.control
        let nonces = OfficerNonces(store: kms.store, vault: kms.vault)
        let desk = OfficerDesk(
            host: kms.configuration.host,
            nodes: Set([kms.configuration.node] + (section.cluster.map { [$0] } ?? [])),
            duties: ControlDispatcher.duties(of: commands), roster: { kms.officers.roster },
            remembered: try await nonces.remembered(), keep: { try await nonces.keep($0, now: .now()) })
        let socket = try ControlSocket(
            .init(
                path: section.socket.path,
                identity: .init(
                    service: KMSAssembly.identity.name, host: kms.configuration.host, node: kms.configuration.node,
                    version: version),
                access: try section.group.map(ControlAccess.alsoGroup) ?? ControlAccess()),
            handler: ControlDispatcher(commands, desk: desk, audit: kms.audit, events: events))
        return KMSControl(socket: socket)
    }

    func run() async throws {
        try? await gracefulShutdown()
        await socket.stop()
    }
}

/// Where the operators' tool talks to the KMS, and who may.
package struct ControlSection: Decodable, Sendable {
    package let socket: FileLocation
    /// Whose members may use the socket, beside root and the service's own user.
    package let group: String?
    /// A name of the whole cluster, under which officers may sign as well.
    package let cluster: String?

    package enum CodingKeys: String, CodingKey, CaseIterable { case socket, group, cluster }

    package init() {
        (socket, group, cluster) = (FileLocation("/run/hds-kms/control.sock"), nil, nil)
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        socket = try section.value(.socket, default: ControlSection().socket)
        group = try section.optional(.group)
        cluster = try section.optional(.cluster)
        if let cluster, cluster.isEmpty || cluster.utf8.count > 64 {
            throw section.problem(.cluster, "expected 1 to 64 characters")
        }
    }
}

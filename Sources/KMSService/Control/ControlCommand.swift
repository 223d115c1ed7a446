import AuditTrail
package import ControlSocket
import KMSProtocol
import KeyManagement
import KeyStore
import LinkedService
import MasterKey
import Recovery
import ServiceRuntime
package import SignedPolicy
package import WireText

/// One command of the control socket: its name, who may give it, what it does.
///
/// Commands stand in a table (`KMSAssembly.commands`); each part of the KMS brings its own.
package struct ControlCommand: Sendable {
    package let name: String
    /// Whose signature it needs; nil for what only reads: there the operators' group is enough.
    package let duty: Officer.Duty?
    /// Whether these arguments need a second officer. Asked for signed requests of commands with a duty only.
    package let needsSecond: @Sendable (_ arguments: JSONNode) async throws -> Bool
    /// Does it. `approval` is there exactly for commands with a duty: the officers' signatures were checked, their act
    /// stands in the audit trail. What takes longer than a few seconds says how far it is; the dispatcher says every ten
    /// seconds that it goes on.
    package let run:
        @Sendable (
            _ arguments: JSONNode, _ approval: OfficerDesk.Approval?, _ peer: PeerCredentials,
            _ progress: ControlProgress
        ) async throws -> ControlAnswer

    package init(
        _ name: String, duty: Officer.Duty? = nil,
        needsSecond: @escaping @Sendable (_ arguments: JSONNode) async throws -> Bool = { _ in false },
        run:
            @escaping @Sendable (
                _ arguments: JSONNode, _ approval: OfficerDesk.Approval?, _ peer: PeerCredentials,
                _ progress: ControlProgress
            ) async throws -> ControlAnswer
    ) {
        self.name = name
        self.duty = duty
        self.needsSecond = needsSecond
        self.run = run
    }
}

/// What commands may reach of the KMS that runs.
struct RunningKMS: Sendable {
    let configuration: KMSServiceConfiguration
    let names: KMSNames
    let store: any KeyStore
    let vault: RecordVault
    let keyManagement: KeyManagement
    let sessions: SessionTable
    let clients: ClientUsage
    let links: LinkHolder
    let partners: PartnersInForce
    let freezes: FreezeBoard
    let disabled: DisabledKeeper
    let audit: DecisionAudit
    let policy: PolicyInForce
    let officers: EnrolledOfficers
    let escrow: EscrowBook
    let backups: KMSBackups
    let health: HealthRegistry
    let log: KMSRequestLog
    let rootKeys: RootKeyKeeper
    let nodes: NodeKeeper
    let rollback: RollbackDetector
    /// Nil: one process has the store.
    let lease: LeaseKeeper?
    let cluster: (any ClusterStore)?
    let started: Timestamp
    /// Of the public key of the static key, as new machines are shown it.
    let clusterFingerprint: String
    let ring: SealRing
}

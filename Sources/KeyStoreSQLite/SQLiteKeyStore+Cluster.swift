import Diagnostics
import GRDB
package import KeyStore
import WireText

// One process has the file, held by the kernel's lock: it always has the lease, and the epoch is that of the file.
extension SQLiteKeyStore: ClusterStore {
    package func cluster() async throws -> ClusterState {
        let epoch = try read { try Query($0, "SELECT epoch FROM cluster").single() ?? 1 }
        return ClusterState(
            epoch: epoch, site: "", since: Timestamp(milliseconds: 0), promisesSynchronous: false, isOpen: true)
    }

    package func renewLease(_ request: LeaseRequest) async throws -> LeaseAnswer {
        let state = try await cluster()
        var settings: [[UInt8]?] = []
        for name in request.settings { settings.append(try await setting(name)) }
        return LeaseAnswer(
            epoch: state.epoch, refusal: state.epoch == request.epoch ? nil : .epoch, renewals: 1,
            isSynchronous: false, settings: settings)
    }

    /// There are no others to tell of.
    package func leases() async throws -> [NodeLease] { [] }

    package func setRemoved(_ isRemoved: Bool, node: String) async throws { throw Self.isAlone }
    package func invite(_ invitation: NodeInvitation) async throws { throw Self.isAlone }
    package func invitations() async throws -> [NodeInvitation] { [] }
    package func join(_ request: NodeInvitation.Request, node: String) async throws -> Bool { false }
    package func answer(_ answer: [UInt8], to request: NodeInvitation.Request, node: String) async throws -> Bool {
        false
    }

    private static let isAlone = DiagnosedError(
        "cluster-of-one", fault: .configuration, "a key store in a SQLite file has one node",
        expected: "store.postgresql", hint: "move it to PostgreSQL first: hdsctl migrate sqlite-to-postgres")
}

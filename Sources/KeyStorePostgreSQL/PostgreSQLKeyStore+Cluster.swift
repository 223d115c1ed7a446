import Diagnostics
package import KeyStore
import PostgreSQLClient
import WireText

// Epoch and leases, over the connection made for them.
extension PostgreSQLKeyStore: ClusterStore {
    package func cluster() async throws -> ClusterState {
        let rows = try await leaseConnection.run(PostgreSQLCall(LeaseStatements.cluster), within: .seconds(2))
        let state = try decode {
            guard rows.count == 1 else { throw PostgreSQLFailure(.corrupt, "the row of the cluster is gone") }
            return ClusterState(
                epoch: try rows.integer(0, 0), site: rows.text(0, 1),
                since: Timestamp(milliseconds: try rows.integer(0, 2)),
                promisesSynchronous: try rows.integer(0, 3) != 0, isOpen: try rows.integer(0, 4) != 0)
        }
        noteEpoch(state.epoch)
        return state
    }

    /// Also what the store itself goes by: connections to servers of a lower epoch are given up (`StoreConnector`).
    package func renewLease(_ request: LeaseRequest) async throws -> LeaseAnswer {
        precondition(request.settings.count <= LeaseStatements.settings, "a renewal brings no more settings along")
        var call = PostgreSQLCall(LeaseStatements.renew)
        call.bind(request.node)
        call.bind(request.epoch)
        call.bind(request.release)
        for index in 0..<LeaseStatements.settings {
            call.bind(index < request.settings.count ? Array(request.settings[index].utf8) : [])
        }
        let rows = try await leaseConnection.run(call)
        let answer = try decode {
            guard rows.count == 1 else { throw PostgreSQLFailure(.corrupt, "the row of the cluster is gone") }
            func isSet(_ column: Int) throws(PostgreSQLFailure) -> Bool { try rows.integer(0, column) != 0 }
            var answer = LeaseAnswer(
                epoch: try rows.integer(0, 0), refusal: nil, renewals: try rows.integer(0, 1),
                isSynchronous: try isSet(2),
                settings: request.settings.indices.map { rows.isNull(0, 6 + $0) ? nil : rows.bytes(0, 6 + $0) })
            answer.clock = Timestamp(milliseconds: try rows.integer(0, 6 + LeaseStatements.settings))
            guard answer.renewals == 0 else { return answer }
            answer.refusal =
                if answer.epoch != request.epoch {
                    .epoch
                } else if try isSet(3) {
                    .removed
                } else if try !isSet(4) {
                    .closed
                } else if try !isSet(5) {
                    .promoted
                } else {
                    .asynchronous
                }
            return answer
        }
        if answer.refusal == nil || (answer.refusal == .epoch && answer.epoch > request.epoch) {
            noteEpoch(answer.epoch)
        }
        // Of several hosts another one may be the one that counts.
        if answer.refusal == .closed || answer.refusal == .promoted || answer.epoch < request.epoch {
            leaseConnection.drop()
            avoidPresentHost()
        }
        return answer
    }

    package func leases() async throws -> [NodeLease] {
        // Over another connection: no renewal waits behind it.
        let rows = try await reads.read(PostgreSQLCall(LeaseStatements.leases), within: .seconds(2))
        return try decode {
            try rows.all { rows, row in
                NodeLease(
                    node: rows.text(row, 0), epoch: try rows.integer(row, 1), renewals: try rows.integer(row, 2),
                    at: Timestamp(milliseconds: try rows.integer(row, 3)),
                    age: .milliseconds(try rows.integer(row, 4)), isSynchronous: try rows.integer(row, 5) != 0,
                    release: rows.text(row, 6), isRemoved: try rows.integer(row, 7) != 0)
            }
        }
    }

    package func setRemoved(_ isRemoved: Bool, node: String) async throws {
        var call = PostgreSQLCall(LeaseStatements.setRemoved)
        call.bind(node)
        call.bind(isRemoved ? 1 : 0)
        _ = try await leaseConnection.run(call, within: .seconds(2))
    }

    package func invite(_ invitation: NodeInvitation) async throws {
        _ = try await leaseConnection.run(PostgreSQLCall(LeaseStatements.forgetInvitations), within: .seconds(2))
        var call = PostgreSQLCall(LeaseStatements.invite)
        call.bind(invitation.node)
        call.bind(invitation.sealed)
        call.bind(invitation.check)
        call.bind(invitation.expires.milliseconds)
        _ = try await leaseConnection.run(call, within: .seconds(2))
    }

    package func invitations() async throws -> [NodeInvitation] {
        let rows = try await reads.read(PostgreSQLCall(LeaseStatements.invitations), within: .seconds(2))
        return try decode {
            try rows.all { rows, row in
                NodeInvitation(
                    node: rows.text(row, 0), sealed: rows.bytes(row, 1), check: rows.bytes(row, 2),
                    expires: Timestamp(milliseconds: try rows.integer(row, 3)),
                    request: rows.isNull(row, 5)
                        ? nil : NodeInvitation.Request(publicKey: rows.bytes(row, 4), code: rows.bytes(row, 5)),
                    answer: rows.isNull(row, 6) ? nil : rows.bytes(row, 6))
            }
        }
    }

    package func join(_ request: NodeInvitation.Request, node: String) async throws -> Bool {
        var call = PostgreSQLCall(LeaseStatements.join)
        call.bind(node)
        call.bind(request.publicKey)
        call.bind(request.code)
        return try await leaseConnection.run(call, within: .seconds(2)).count == 1
    }

    package func answer(_ answer: [UInt8], to request: NodeInvitation.Request, node: String) async throws -> Bool {
        var call = PostgreSQLCall(LeaseStatements.answer)
        call.bind(node)
        call.bind(answer)
        call.bind(request.publicKey)
        call.bind(request.code)
        return try await leaseConnection.run(call, within: .seconds(2)).count == 1
    }
}

package import Diagnostics
import KeyStore
import MasterKey
package import WireText

/// An officer's step: the store is taken as it is, but for what can be put right.
extension RollbackDetector {
    /// Accepts exactly the findings that make up `gap`: the sums become those of the rows, a new epoch begins for every
    /// node, authorizations that were removed are removed again, root keys get the states of their journal back.
    package func accept(_ gap: String, by officers: String, now: Timestamp) async throws {
        try await inTurn {
            let findings = rollback.findings
            guard let standing = rollback.gap else {
                throw refused("nothing waits to be accepted", expected: "a gap", found: "none")
            }
            guard standing == gap else {
                throw refused(
                    "this is not the gap that stands", expected: standing,
                    found: String(gap.prefix(64)).debugDescription)
            }
            if findings.contains(where: { $0.kind == .roots }) {
                try await RootKeyRotation(store: store, ring: vault.ring).restoreStates()
            }
            // What stands in the own row is what is corrected.
            _ = try await store.adoptRow()
            let (before, value) = try await StoreEpoch.read(store, vault)
            let epoch = StoreEpoch(.accepted, note: "\(gap) by \(officers)", time: now)
            guard try await rebase(epoch, replacing: value) else {
                throw refused("another node began a new epoch meanwhile", expected: before?.id ?? "-", found: "another")
            }
            let (taken, _) = try await StoreEpoch.read(store, vault)
            try await adopt(taken ?? epoch)
            try await removeAgain(now)
        }
        try await look(now: now)
        // Nobody has seen yet whether the rows are whole now.
        try await scan(now: now)
    }

    /// Every authorization that its space calls removed, whether somebody has used it or not.
    private func removeAgain(_ now: Timestamp) async throws {
        var last: String?
        while true {
            let page = try await store.resources(after: last, limit: 200)
            guard let end = page.last else { return }
            for record in page {
                // What does not open is refused at its use, and was accepted as it is.
                guard let head = try? vault.content(record), !head.removed.ranges.isEmpty else { continue }
                for row in try await store.authorizations(ofResource: record.id) {
                    guard var content = try? vault.content(row), head.removed.contains(content.order) else { continue }
                    content.removedAt = now
                    content.removedBy = Freeze.byRollback
                    let change = StoreChange(
                        writes: [.updateAuthorization(try vault.record(content, id: row.id, version: row.version + 1))])
                    _ = try await store.commit(change)
                }
            }
            last = end.id
        }
    }

    private func refused(_ what: String, expected: String, found: String) -> DiagnosedError {
        DiagnosedError(
            .rollbackRefused, fault: .client, what, expected: expected, found: found,
            hint: "hdsctl rollback status shows what stands and its name")
    }
}

extension Freeze {
    /// Who a freeze of a restored store names as its officer.
    package static let byRestore = "restore"
    /// Who removed what had been put back.
    static let byRollback = "rollback"
}

extension DiagnosedError.Code {
    package static let rollbackRefused: Self = "rollback-refused"
}

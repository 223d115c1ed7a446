import AuditTrail
import Diagnostics
import KMSProtocol
import KeyStore
import SecretMemory
import WireText

/// An erasure under way: commits each step together with its progress.
struct ErasureRun {
    private let oversight: Oversight
    private let name: String
    /// Of the subject, as in the audit trail.
    let pseudonym: String
    /// Whether it goes on after an interruption.
    let isResumed: Bool
    var progress: ErasureProgress
    private var value: [UInt8]?
    private var version: Int64

    init(
        _ subject: OversightSubject, order: Erasure.Order, id: AuditID, _ oversight: Oversight, _ audit: DecisionAudit,
        _ now: Timestamp
    ) async throws {
        self.oversight = oversight
        pseudonym = Self.pseudonym(subject, oversight, audit)
        name = "erasure/" + pseudonym
        let standing = try await Self.standing(subject, oversight, audit)
        (value, version) = (standing?.value, standing?.version ?? 0)
        if let open = standing?.progress, open.certificate == nil {
            progress = open
            progress.order.backupsUntil = max(open.order.backupsUntil, order.backupsUntil)
            isResumed = true
        } else {
            progress = ErasureProgress(id: id, order: order, begun: now)
            isResumed = false
        }
    }

    static func standing(
        _ subject: OversightSubject, _ oversight: Oversight, _ audit: DecisionAudit
    ) async throws -> (progress: ErasureProgress, value: [UInt8], version: Int64)? {
        let name = "erasure/" + pseudonym(subject, oversight, audit)
        guard let value = try await oversight.store.setting(name) else { return nil }
        return try oversight.vault.openSetting(value, name: name) { bytes, version in
            guard let progress = ErasureProgress(bytes) else { throw RecordVault.forged("erasure") }
            return (progress, value, version)
        }
    }

    private static func pseudonym(
        _ subject: OversightSubject, _ oversight: Oversight, _ audit: DecisionAudit
    ) -> String {
        switch subject {
        case .space(let id): audit.pseudonym(object: oversight.names.resource(id))
        case .user(let user): audit.pseudonym(user: user)
        }
    }

    /// Whether the step was committed; false when something else changed what it builds on.
    @discardableResult
    mutating func commit(
        _ writes: [StoreWrite], holds: [UInt8]?? = nil, _ note: (inout ErasureProgress) -> Void
    ) async throws -> Bool {
        var next = progress
        note(&next)
        let fields = next.encoded()
        let (name, version) = (name, version + 1)
        let sealed = try fields.withUnsafeBytes {
            try oversight.vault.sealSetting($0, name: name, version: version)
        }
        var change = StoreChange(
            writes: writes + [.putSetting(name: name, value: sealed)],
            expectations: [.setting(name: name, value: value)])
        if let holds { change.expectations.append(.setting(name: HoldList.setting, value: holds)) }
        guard try await oversight.store.commit(change) == .committed else {
            guard try await oversight.store.setting(name) == value else {
                throw DiagnosedError(
                    .erasureBusy, fault: .client, "another run of this erasure is under way",
                    hint: "wait for it, then ask for its certificate")
            }
            return false
        }
        (progress, value, self.version) = (next, sealed, version)
        return true
    }
}

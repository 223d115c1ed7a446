package import DirectoryModel
import Diagnostics
import GRDB
import JOSESignature
package import WireText

/// Cutting a person off and letting him in again: the one way for operators, LDAP and SCIM.
///
/// Order, so that a stop in the middle leaves nobody half inside: first the order is durable and the account disabled (no
/// sign-in, no refresh, no introspection of an opaque token), then logins end and tokens go on the list of revocations.
/// The second part is done again at the next start or within ten minutes when it was not reached (`finishCutOffs`).
extension AuthorizationService {
    /// What was done here, and how long each part took.
    package struct CutOffReport: Sendable {
        package struct Step: Sendable {
            package let what: String
            package let milliseconds: Int64
        }

        package let subject: String
        /// False: this authority had cut him off before; the rest was done again.
        package let isNew: Bool
        package let steps: [Step]
        package let logins: Int
        package let opaqueTokens: Int
        /// Clients that are to erase what they keep.
        package let wipes: Int
        /// When the last JWT that was given out ends by itself, where nobody reads the list of revocations.
        package let tokensEnd: Timestamp
    }

    /// Whom a command names: an id, or the address of an account. An id counts also when there is no account any more.
    package func subject(named text: String) async throws -> String? {
        let accounts = accounts.accounts
        if let user = accounts.user(email: text) ?? accounts.user(id: text.lowercased()) { return user.id }
        // People who have left are no accounts any more.
        let people = try await directory.people()
        let address = Accounts.normalized(text)
        if let person = people.first(where: { $0.id == text.lowercased() || Accounts.normalized($0.email) == address })
        {
            return person.id
        }
        guard UUIDText.isValid(text), accounts.service(id: text.lowercased()) == nil else { return nil }
        return text.lowercased()
    }

    package func cutOff(
        _ subject: String, authority: CutOff.Authority, by: String, reason: String, wipesClients: Bool = true
    ) async throws -> CutOffReport {
        let now = surroundings.now()
        var watch = StepWatch()
        let isNew = try await directory.insert(
            CutOff(subject: subject, authority: authority, since: now, by: by, reason: reason))
        try await refreshAccounts()
        watch.step("account disabled")
        // Before the logins end: their clients hear of it when they ask for new tokens.
        let wipes = wipesClients ? try await grants.orderWipe(of: subject, by: by, now: now) : 0
        if wipesClients { watch.step("wipe of clients ordered: \(wipes)") }
        let (logins, tokens) = try await endLogins(of: subject, now: now, wipedBy: nil)
        watch.step("logins ended, tokens revoked")
        record(wipeOf: subject, wipes)
        if isNew { record(cutOff: subject, authority, reason) }
        return CutOffReport(
            subject: subject, isNew: isNew, steps: watch.steps, logins: logins, opaqueTokens: tokens, wipes: wipes,
            tokensEnd: now.adding(seconds: settings.lifetimes.accessToken))
    }

    /// False: this authority had not cut him off. Whether he can come in says `accounts` then.
    package func letIn(_ subject: String, authority: CutOff.Authority) async throws -> Bool {
        let wasLifted = try await directory.lift(subject, authority: authority)
        try await refreshAccounts()
        if wasLifted { record(letIn: subject, "lifted by \(reviewed: authority.name)") }
        return wasLifted
    }

    /// Takes changes of a directory, and cuts off who left by them.
    ///
    /// - Parameter resource: what a SCIM client wrote, in the same transaction. False: it is of another version.
    @discardableResult
    package func take(
        _ changes: [DirectoryChange], of source: String, writing resource: DirectoryStore.ResourceWrite? = nil
    ) async throws -> Bool {
        guard !changes.isEmpty || resource != nil else { return true }
        let now = surroundings.now()
        guard let touched = try await directory.take(changes, of: source, at: now, writing: resource) else {
            return false
        }
        try await refreshAccounts()
        let disabled = accounts.disabled
        for subject in touched {
            if disabled[subject] != nil {
                _ = try await endLogins(of: subject, now: now, wipedBy: source)
                record(cutOff: subject, .directory(source), "the directory does not have the person any more")
            } else {
                record(letIn: subject, "the directory has the person again")
            }
        }
        return true
    }

    /// Ends what is left of those who are cut off, as after a stop in the middle.
    func finishCutOffs(now: Timestamp) async throws {
        for subject in accounts.disabled.keys.sorted() where try await grants.holdings(of: subject).logins > 0 {
            _ = try await endLogins(of: subject, now: now, wipedBy: "hds-auth")
        }
    }

    /// Makes what the database says of people and cut-offs count.
    package func refreshAccounts() async throws {
        accounts.take(
            AccountOverlay(try await directory.currentSnapshot(), organisation: settings.directoryOrganisation))
    }

    /// Who is listed for the KMS: the newest, where they are too many.
    func disabledSubjects() -> [String: Timestamp] {
        let disabled = accounts.disabled
        guard disabled.count > RevocationDocument.maximumDisabled else { return disabled }
        let newest = disabled.sorted { ($0.value, $0.key) > ($1.value, $1.key) }
        return Dictionary(uniqueKeysWithValues: newest.prefix(RevocationDocument.maximumDisabled).map { ($0, $1) })
    }

    /// - Parameter wipedBy: who orders it to the clients of these logins; nil: it was ordered before, or is not.
    func endLogins(
        of subject: String, now: Timestamp, wipedBy: String?
    ) async throws -> (logins: Int, tokens: Int) {
        if let wipedBy {
            record(wipeOf: subject, try await grants.orderWipe(of: subject, by: wipedBy, now: now))
        }
        let holdings = try await grants.holdings(of: subject)
        try await grants.revoke(subject: subject, lifetime: settings.lifetimes.accessToken, now: now)
        return (holdings.logins, holdings.tokens)
    }

    private func record(cutOff subject: String, _ authority: CutOff.Authority, _ reason: String) {
        metrics.counter(.cutOffs, [authority == .operators ? "operators" : "directory"]).increment()
        events?.record(
            .cutOff, [.subject: Self.pseudonym(subject), .reason: "by \(reviewed: authority.name)"])
    }

    private func record(letIn subject: String, _ reason: Loggable) {
        events?.record(.letIn, [.subject: Self.pseudonym(subject), .reason: reason])
    }

    private struct StepWatch {
        private var last = ContinuousClock.now
        var steps: [CutOffReport.Step] = []

        mutating func step(_ what: String) {
            let now = ContinuousClock.now
            steps.append(.init(what: what, milliseconds: Int64(last.duration(to: now) / .milliseconds(1))))
            last = now
        }
    }
}

extension GrantStore {
    /// How many logins and opaque tokens a subject has.
    package func holdings(of subject: String) async throws -> (logins: Int, tokens: Int) {
        try await read { database in
            (
                try Int.fetchOne(database, sql: "SELECT count(*) FROM family WHERE user = ?", arguments: [subject])
                    ?? 0,
                try Int.fetchOne(database, sql: "SELECT count(*) FROM access WHERE subject = ?", arguments: [subject])
                    ?? 0
            )
        }
    }
}

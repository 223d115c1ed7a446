import Diagnostics

/// Sorts each release of keys under the one who got them, by what its record says in clear. Pure.
///
/// Rules, the first that fits:
/// 1. `partner:…`: a partner's KMS, by the pseudonym of its host.
/// 2. `service-consent:NAME`, `query-key:NAME`, `former-member:NAME`: the service of that consent.
/// 3. Asked by an account that rule 2 knows: the service of its consent, also on behalf of somebody.
/// 4. Asked on behalf of somebody else: an officer.
/// 5. `anonymous-bearer`: an unnamed holder. 6. `partner-decided`: a user got a partner's key. 7. Else: a user.
struct ReleaseFigures: Sendable {
    static let servicePrefixes = ["service-consent:", "query-key:", "former-member:"]

    private(set) var services: [String: Int64] = [:]
    var partners: [String: Int64] = [:]
    private(set) var officers: [String: Int64] = [:]
    private(set) var users: Int64 = 0
    private(set) var unnamed: Int64 = 0
    private(set) var fromPartners: Int64 = 0
    /// Names of services by the pseudonyms of their accounts: told, or by the consent by which each was last seen.
    private var accounts: [String: String]

    /// - Parameter accounts: what is known of services; one that only asks on behalf of others shows in no rule.
    init(accounts: [String: String] = [:]) { self.accounts = accounts }

    /// Whether the record is of an answer that carried keys to somebody who asked for them.
    static func isRelease(_ record: AuditRecord) -> Bool {
        guard record.kind == .decision, let status = record.status, (200..<300).contains(status) else { return false }
        return switch (record.method, record.type) {
        case ("retrieve", "KEY"), ("retrieve", "RESOURCE_KEYS"), (_, "RESOURCE_SEARCH_KEYS"): true
        default: false
        }
    }

    private static func service(of record: AuditRecord) -> String? {
        guard let rule = record.rule, let prefix = servicePrefixes.first(where: { rule.hasPrefix($0) }) else {
            return nil
        }
        return String(rule.dropFirst(prefix.count))
    }

    mutating func learn(_ record: AuditRecord) {
        if let user = record.user, let name = Self.service(of: record) { accounts[user] = name }
    }

    mutating func add(_ record: AuditRecord) throws(DiagnosedError) {
        let user = record.user ?? "?"
        if record.rule?.hasPrefix("partner:") == true {
            try Self.count(user, in: &partners)
        } else if let service = Self.service(of: record) ?? accounts[user] {
            try Self.count(service, in: &services)
        } else if (record.effectiveUser ?? user) != user {
            try Self.count(user, in: &officers)
        } else if record.rule == "anonymous-bearer" {
            unnamed += 1
        } else if record.rule == "partner-decided" {
            fromPartners += 1
        } else {
            users += 1
        }
    }

    private static func count(_ name: String, in figures: inout [String: Int64]) throws(DiagnosedError) {
        guard figures[name] != nil || figures.count < TransparencyReport.maximumReceivers else {
            throw DiagnosedError(
                "transparency-too-many", fault: .client, "the trails name too many services, partners or officers",
                expected: "at most \(TransparencyReport.maximumReceivers) of each", hint: "take a shorter period")
        }
        figures[name, default: 0] += 1
    }

    func exact(_ figures: [String: Int64]) -> [TransparencyReport.Figure] {
        figures.sorted { $0.key < $1.key }.map { TransparencyReport.Figure(name: $0.key, releases: $0.value) }
    }
}

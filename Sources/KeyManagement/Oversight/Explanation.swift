package import AuditTrail
import Diagnostics
import JOSESignature
import KMSProtocol
import KeyStore
package import WireText

/// Why a key was given or refused: one record of the trail in sentences, with what can be done about it.
package struct Explanation: Sendable, Equatable {
    package let id: String
    package let time: Timestamp
    package let kind: String
    package let status: Int?
    package let rule: String
    package var user: String?
    package var effectiveUser: String?
    package var client: String?
    package var object: String?
    package var method: String?
    package var path: String?
    /// Who, what, when and how it ended.
    package var sentence = ""
    package var because: String
    package var advice: String?
    /// How it is now: whether a freeze stands, whether the user could read today.
    package var today: [String] = []

    package func json(into json: inout JSONWriter) {
        json.member("id", id)
        json.member("time", time.iso8601)
        json.member("kind", kind)
        if let status { json.member("status", status) }
        json.member("rule", rule)
        json.member("user", ifPresent: user)
        json.member("effectiveUser", ifPresent: effectiveUser)
        json.member("client", ifPresent: client)
        json.member("object", ifPresent: object)
        json.member("method", ifPresent: method)
        json.member("path", ifPresent: path)
        json.member("sentence", sentence)
        json.member("because", because)
        json.member("advice", ifPresent: advice)
        json.member("today", today)
    }

    /// - Parameter details: the clear part; nil when it is not opened, then the pseudonyms stand.
    init(_ record: AuditRecord, details: Decision.Details?) {
        id = record.id.description
        time = record.time
        kind = record.kind.rawValue
        status = record.status
        rule = record.rule ?? "-"
        user = details?.user ?? record.user
        effectiveUser = details?.effectiveUser ?? record.effectiveUser
        client = details?.client ?? record.client
        object = details?.object ?? record.object
        method = record.method
        path = details?.way ?? record.path
        let entry = RuleCatalogue.entry(rule) ?? RuleCatalogue.entry(status: record.status ?? 500)
        because = entry.because
        advice = entry.advice
        if RuleCatalogue.entry(rule) == nil, let reason = details?.reason, (status ?? 500) >= 400 {
            because += "; the answer said: \(reason)"
        }
        sentence = Self.sentence(self, type: record.type)
    }

    private static func sentence(_ it: Explanation, type: String?) -> String {
        guard it.kind == AuditRecord.Kind.decision.rawValue else {
            let second = it.effectiveUser.flatMap { $0 == it.user ? nil : ", confirmed by \($0)" } ?? ""
            return "At \(it.time): \(type ?? it.kind) by \(it.user ?? "the KMS itself")\(second)."
        }
        var who = it.user ?? "nobody who is known"
        if let effective = it.effectiveUser, effective != it.user { who += " in the name of \(effective)" }
        let what = [it.method, type].compactMap { $0 }.joined(separator: " ")
        let done = what.isEmpty ? "a request" : what
        let on = it.object.map { " at \($0)" } ?? ""
        let with = it.client.map { " with \($0)" } ?? ""
        switch it.status ?? 0 {
        case 200..<300: return "At \(it.time) the KMS granted \(who)\(with): \(done)\(on)."
        default: return "At \(it.time) the KMS refused \(who)\(with): \(done)\(on), status \(it.status ?? 0)."
        }
    }
}

extension Oversight {
    /// Explains the record of that id, which this KMS made.
    ///
    /// - Parameter opening: whether the clear part is opened; else pseudonyms stand, and nothing is said of today.
    package func explain(
        _ id: AuditID, audit: DecisionAudit, opening: Bool = true, now: Timestamp
    ) async throws -> Explanation {
        var query = AuditQuery()
        query.id = id
        guard let record = try await audit.trail.records(query).first?.record else {
            throw DiagnosedError(
                .subjectUnknown, fault: .client,
                "no decision of this id stands in the trail of node \(audit.trail.node)",
                found: id.description,
                hint:
                    "ask the node that decided, or look in the exports: hdsctl audit show FOLDER --id \(id); refusals "
                    + "beyond a few a minute are only counted")
        }
        guard opening else { return Explanation(record, details: nil) }
        var explanation = Explanation(record, details: try audit.details(of: record))
        explanation.today = try await today(explanation, now)
        return explanation
    }

    /// Records with a request id that a client chose: several are usual, newest first, with pseudonyms only.
    package func search(
        requestID: String, audit: DecisionAudit, limit: Int = 20
    ) async throws -> [Explanation] {
        var query = AuditQuery()
        query.requestId = requestID
        query.newestFirst = true
        query.limit = limit
        return try await audit.trail.records(query).map { Explanation($0.record, details: nil) }
    }

    private func today(_ explanation: Explanation, _ now: Timestamp) async throws -> [String] {
        var lines: [String] = []
        if explanation.rule.hasPrefix("frozen:") {
            let id = String(explanation.rule.dropFirst("frozen:".count))
            if let freeze = management.freezes?.standing.first(where: { $0.id == id }) {
                lines.append(
                    "the freeze \(id) stands since \(freeze.since), ordered by \(freeze.orderedBy): \(freeze.reason)")
            } else {
                lines.append("the freeze \(id) was lifted since")
            }
        }
        guard explanation.kind == AuditRecord.Kind.decision.rawValue, let user = explanation.effectiveUser,
            let object = explanation.object.flatMap({ KMSURI($0) }), let space = try await space(of: object)
        else { return lines }
        let uri = names.resource(space)
        guard let record = try await store.resource(space), try !vault.content(record).isGone(now) else {
            return lines + ["the space \(uri) is gone"]
        }
        let moment = Moment(time: now, isPast: false)
        let ways = try await ways(of: user.canonicalAuthID, to: record, at: moment).map { way in
            guard case .nested(let path) = way.path else { return "as a member" }
            return "through " + path.map(names.resource).joined(separator: " and ")
        }
        if ways.isEmpty {
            lines.append("today \(user) is on no list that leads to \(uri)")
        } else {
            lines.append("today \(user) can read \(uri) \(ways.joined(separator: ", and ")), unless a freeze stops it")
        }
        return lines
    }

    /// The space that an object is, or belongs to.
    private func space(of uri: KMSURI) async throws -> String? {
        guard names.owns(uri) else { return nil }
        return switch uri.object {
        case .key(let id): try await store.key(id)?.resource
        case .resource(let id), .resourceKeys(let id), .resourceAuthorizations(let id), .resourceSearchKeys(let id): id
        case .authorization(let id): try await store.authorization(id)?.resource
        default: nil
        }
    }
}

extension Oversight {
    /// Whether the rule has a sentence of its own.
    package static func explains(rule: String) -> Bool { RuleCatalogue.entry(rule) != nil }
}

package import Diagnostics
import JOSESignature
import KMSProtocol
import KeyStore
package import WireText

/// Who can read a space's keys, or which spaces somebody can read: now or at a moment of the past, by every path.
///
/// What is not known is said in `gaps` and never guessed: roles of the past, policies of the past, erased spaces.
package struct AccessReport: Sendable, Equatable {
    /// How somebody comes to a key.
    package enum Means: String, Sendable {
        case member, nested, everybody, unnamed, service, officer
    }

    /// One way of one reader to one space.
    package struct Way: Sendable, Equatable {
        package let means: Means
        /// The space that can be read, as a URI.
        package let space: String
        /// A user's id, a service's name, the URI of an unnamed holder's authorization; `everybody` for `/public`.
        package let reader: String
        /// The partner's host, for a user who is at home there.
        package var partner: String?
        /// URIs of the spaces between, outermost first.
        package var through: [String] = []
        package var since: Timestamp?
        package var until: Timestamp?
        package var addedBy: String?
        package var role: String?
    }

    package let subject: String
    package let moment: Timestamp
    package let isPast: Bool
    package var ways: [Way] = []
    /// What this report can not know.
    package var gaps: [String] = []
    /// Where a report over many spaces goes on; nil when it is complete.
    package var next: String?

    package func json() -> JSONWriter {
        var json = JSONWriter(reserving: 4096)
        json.beginObject()
        json.member("subject", subject)
        json.member("at", moment.iso8601)
        json.member("past", isPast)
        json.name("ways")
        json.beginArray()
        for way in ways {
            json.beginObject()
            json.member("means", way.means.rawValue)
            json.member("reader", way.reader)
            json.member("space", way.space)
            json.member("partner", ifPresent: way.partner)
            if !way.through.isEmpty { json.member("through", way.through) }
            json.member("since", ifPresent: way.since?.iso8601)
            json.member("until", ifPresent: way.until?.iso8601)
            json.member("addedBy", ifPresent: way.addedBy)
            json.member("role", ifPresent: way.role)
            json.endObject()
        }
        json.endArray()
        json.member("gaps", gaps)
        json.member("next", ifPresent: next)
        json.endObject()
        return json
    }
}

extension Oversight {
    /// Ways in one part of a report over all spaces.
    static let reportPart = 500

    /// - Parameters:
    ///   - moment: nil for now.
    ///   - start: the `next` of the part before.
    package func access(
        to subject: OversightSubject, at moment: Timestamp?, after start: String? = nil, now: Timestamp,
        progress: Progress = { _ in true }
    ) async throws -> AccessReport {
        if let moment, moment > now {
            throw DiagnosedError(
                .momentMalformed, fault: .client, "nobody knows who will be able to read then",
                expected: "a time up to \(now)", found: "\(moment)")
        }
        let at = Moment(time: moment ?? now, isPast: moment != nil)
        switch subject {
        case .space(let id): return try await access(toSpace: id, at)
        case .user(let user): return try await access(ofUser: user, at, after: start, progress)
        }
    }

    // MARK: A space

    private func access(toSpace id: String, _ moment: Moment) async throws -> AccessReport {
        let uri = names.resource(id)
        guard let record = try await store.resource(id) else {
            throw DiagnosedError(
                .subjectUnknown, fault: .client, "there is no record of this space", found: uri.quotedForError,
                hint: "it never was here, or it was deleted and erased after its time as a tombstone: "
                    + "search the audit trail with hdsctl audit lookup --object \(uri)")
        }
        var report = AccessReport(subject: uri, moment: moment.time, isPast: moment.isPast)
        if moment.isPast { report.gaps += pastGaps }
        guard let readers = try await readers(of: record, at: moment) else {
            report.gaps.append(try absence(of: record, at: moment))
            return report
        }
        let known = self.readers()
        let head = try vault.content(record)
        for (user, ways) in readers.ways() {
            let host = try await partner(of: user)
            guard try await isShared(head, with: host) else { continue }
            for way in ways where host == nil || mayRead(way, asUserOf: host, known) {
                report.ways.append(entry(way, space: id, reader: user, partner: host, moment))
            }
        }
        if let everybody = readers.everybody {
            report.ways.append(whole(everybody, .everybody, space: id, reader: "everybody"))
        }
        for holder in readers.unnamed {
            report.ways.append(whole(holder, .unnamed, space: id, reader: names.authorization(holder.authorization)))
        }
        for service in known.services where service.covers(uri, at: moment.time) {
            var way = AccessReport.Way(means: .service, space: uri, reader: service.name)
            (way.since, way.until) = (service.notBefore, service.notAfter)
            report.ways.append(way)
        }
        for service in known.services where service.formerMembers && service.covers(uri, at: moment.time) {
            report.gaps.append(
                "for former members, in a matter, the service \(service.name) may read the keys bound before they left")
        }
        for (officer, until) in known.officers.sorted(by: { $0.key < $1.key })
        where until.map({ moment.time < $0 }) ?? true {
            var way = AccessReport.Way(means: .officer, space: uri, reader: officer)
            way.until = until
            report.ways.append(way)
        }
        if readers.isBounded {
            report.gaps.append(
                "nested spaces go deeper than \(policy.nestingDepth) or are more than \(policy.nestingVisits); "
                    + "nobody behind that bound can read")
        }
        return report
    }

    private func absence(of record: ResourceRecord, at moment: Moment) throws -> String {
        let head = try vault.content(record)
        if moment.time < head.created { return "the space was made later, at \(head.created)" }
        if let deleted = head.deletedAt { return "the space was deleted at \(deleted); nobody can read since then" }
        return "the time of the space was over at \(head.expires ?? head.created); nobody can read since then"
    }

    // MARK: A user

    private func access(
        ofUser user: String, _ moment: Moment, after start: String?, _ progress: Progress
    ) async throws -> AccessReport {
        var report = AccessReport(subject: user, moment: moment.time, isPast: moment.isPast)
        if moment.isPast { report.gaps += pastGaps + Self.pastUserGaps }
        let known = readers()
        let host = try await partner(of: user)
        var last: String?
        let isWhole = try await walk(after: start, progress) { record, head in
            guard report.ways.count < Self.reportPart else {
                report.next = last
                return false
            }
            last = record.id
            guard try await isShared(head, with: host) else { return true }
            for way in try await ways(of: user, to: record, at: moment)
            where host == nil || mayRead(way, asUserOf: host, known) {
                report.ways.append(entry(way, space: record.id, reader: user, partner: host, moment))
            }
            if host == nil, try await isPublic(record, head, moment) {
                report.ways.append(
                    AccessReport.Way(means: .everybody, space: names.resource(record.id), reader: "everybody"))
            }
            return true
        }
        if !isWhole { report.next = last }
        if let until = known.officers[user], until.map({ moment.time < $0 }) ?? true {
            report.gaps.append(
                "by policy this user may retrieve on behalf of others, and so reads whatever they can read"
                    + (until.map { ", until \($0)" } ?? ""))
        }
        return report
    }

    private func isPublic(_ record: ResourceRecord, _ head: ResourceContent, _ moment: Moment) async throws -> Bool {
        guard policy.allowsPublic else { return false }
        guard moment.isPast else { return head.isPublic && !head.isGone(moment.time) }
        return try await readers(of: record, at: moment)?.everybody != nil
    }

    // MARK: Ways

    /// A partner's users read by their own entries, and through nested spaces where the partner may.
    func mayRead(_ way: SpaceReaders.Way, asUserOf host: String?, _ known: PolicyReaders) -> Bool {
        guard let host else { return true }
        if case .direct = way.path { return true }
        return known.partners[host] ?? false
    }

    /// Whether the policy lets the domain of who made the space share keys with that partner.
    private func isShared(_ head: ResourceContent, with host: String?) async throws -> Bool {
        guard let host else { return true }
        do {
            try await PartnerRules.judgeDomain(of: head.creator, partner: host, management.inForce.current, homes)
            return true
        } catch is KMSFailure {
            return false
        }
    }

    private func entry(
        _ way: SpaceReaders.Way, space: String, reader: String, partner: String?, _ moment: Moment
    ) -> AccessReport.Way {
        var means = AccessReport.Means.member
        var through: [String] = []
        if case .nested(let path) = way.path {
            means = .nested
            through = path.map(names.resource)
        }
        let content = way.entry.content
        return AccessReport.Way(
            means: means, space: names.resource(space), reader: reader, partner: partner, through: through,
            since: content.created, until: content.removedAt ?? content.expires, addedBy: content.createdBy,
            role: moment.isPast ? nil : content.roleURI)
    }

    private func whole(
        _ entry: SpaceReaders.Entry, _ means: AccessReport.Means, space: String, reader: String
    ) -> AccessReport.Way {
        AccessReport.Way(
            means: means, space: names.resource(space), reader: reader, since: entry.content.created,
            until: entry.content.removedAt ?? entry.content.expires, addedBy: entry.content.createdBy)
    }

    private var pastGaps: [String] {
        [
            "lists of spaces are as they were then; services, officers, partners and whether /public counts are those of "
                + "the policy in force now, for earlier policies are not kept here",
            "roles of the past are not kept",
            "people who were erased since stand under a stand-in (\(ErasedIdentity.prefix)…)",
            "freezes of that time are not taken into account: see the records of kind freeze in the audit trail",
            "entries that ended more than \(policy.intervalLife / 86_400) days ago are erased, and so are missing here",
        ]
    }
    private static let pastUserGaps = [
        "spaces that were deleted then or later and erased after their time as tombstones are not known any more"
    ]
}

extension DiagnosedError.Code {
    package static let momentMalformed: Self = "moment-malformed"
}

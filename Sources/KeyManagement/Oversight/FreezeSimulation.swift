import KMSProtocol
import KeyStore
package import WireText

/// What a freeze would hit: counted over the lists as they stand, by the path that each decision would take.
package struct FreezeImpact: Sendable, Equatable {
    /// Users who would get no key of at least one space that they can read now.
    package var users = 0
    /// Spaces of which at least one reader would get no key.
    package var spaces = 0
    /// Among them spaces that everybody can read through `/public`: those users are not counted.
    package var publicSpaces = 0
    /// Services that would get no key of at least one space.
    package var services: [String] = []
    /// False when counting stopped because it was more than was asked for, or the client went away.
    package var isWhole = true
    package var notes: [String] = []

    /// Whether more are hit than the policy leaves to one officer; what can not be counted counts as more.
    package func exceeds(_ limit: Int) -> Bool { users > limit || spaces > limit || publicSpaces > 0 }

    /// Such as "would hit 214 users in 31 spaces".
    package var sentence: String {
        func many(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }
        var text = "would hit \(isWhole ? "" : "at least ")\(many(users, "user")) in \(many(spaces, "space"))"
        if publicSpaces > 0 { text += ", \(publicSpaces) of them open to everybody" }
        if !services.isEmpty { text += ", and the services \(services.joined(separator: ", "))" }
        return text
    }

    package func json(into json: inout JSONWriter) {
        json.member("users", users)
        json.member("spaces", spaces)
        json.member("publicSpaces", publicSpaces)
        json.member("services", services)
        json.member("complete", isWhole)
        json.member("sentence", sentence)
        json.member("notes", notes)
    }
}

extension Oversight {
    /// Counts what a freeze of that scope would hit now.
    ///
    /// - Parameter limit: counting may stop as soon as it `exceeds` that.
    package func impact(
        of scope: Freeze.Scope, stoppingOver limit: Int? = nil, now: Timestamp, progress: Progress = { _ in true }
    ) async throws -> FreezeImpact {
        var count = ImpactCount(
            freeze: Freeze(id: "simulated", scope: scope, reason: "", orderedBy: "", since: now), known: readers())
        if case .device(let device) = scope {
            count.deviceUsers = try await users(ofDevice: device, now: now)
            count.impact.notes.append("a device's users are those of its open sessions")
        }
        if case .service(let name) = scope {
            count.impact.notes.append("people who come in through the service's client are hit too, and not counted")
            if !count.known.services.contains(where: { $0.name == name || $0.aliases.contains(name) }) {
                count.impact.notes.append("the policy in force names no service \(name)")
            }
        }
        if case .partner(let host) = scope, count.known.partners[host] == nil {
            count.impact.notes.append("no partner \(host) is configured")
        }
        count.impact.isWhole = try await walk(progress) { record, _ in
            guard let readers = try await readers(of: record, at: Moment(time: now, isPast: false)) else { return true }
            try await count.add(readers, bound: try await boundDate(of: record.id, scope), self, now)
            return limit.map { !count.impact.exceeds($0) } ?? true
        }
        count.impact.users = count.users.count
        if case .user = scope, count.users.isEmpty {
            count.impact.notes.append("nobody of this id is on any list: users are named as in tokens, not by address")
        }
        count.impact.services = count.services.sorted()
        if let limit, count.impact.exceeds(limit) { count.impact.isWhole = false }
        return count.impact
    }

    /// A bind date by which the space has a key that the scope covers; any date for scopes without dates.
    private func boundDate(of space: String, _ scope: Freeze.Scope) async throws -> Timestamp? {
        guard case .bound(let from, let until) = scope else { return nil }
        return try await store.keys(ofResource: space, from: from, before: until, limit: 1).first?.boundAt
    }

    private func users(ofDevice device: String, now: Timestamp) async throws -> Set<String> {
        var users: Set<String> = []
        var last: String?
        while true {
            let page = try await store.sessions(ofUser: nil, after: last, limit: Self.page)
            guard let end = page.last else { return users }
            for record in page where now < record.expires {
                guard let content = try await sessions.content(of: record), content.clientID == device else { continue }
                users.insert(content.userID.canonicalAuthID)
            }
            last = end.id
        }
    }
}

/// Adds up, space by space.
private struct ImpactCount {
    let freeze: Freeze
    let known: Oversight.PolicyReaders
    /// For the scope of a device.
    var deviceUsers: Set<String> = []
    var impact = FreezeImpact()
    var users: Set<String> = []
    var services: Set<String> = []
    private var homes: [String: String?] = [:]

    init(freeze: Freeze, known: Oversight.PolicyReaders) {
        self.freeze = freeze
        self.known = known
    }

    mutating func add(
        _ readers: SpaceReaders, bound: Timestamp?, _ oversight: Oversight, _ now: Timestamp
    ) async throws {
        var isHit = false
        for (user, ways) in readers.ways() {
            let host = try await home(of: user, oversight)
            guard let path = decisive(ways, isPublic: readers.everybody != nil, host, oversight) else { continue }
            var release = Freeze.Release(
                users: [host ?? user, user], device: device(of: user, host), partner: host)
            release.spaces = path.spaces(to: readers.space)
            release.bound = bound.map { [$0] } ?? []
            guard freeze.covers(release) else { continue }
            users.insert(user)
            isHit = true
        }
        if readers.everybody != nil, coversPublic(readers.space, bound) {
            impact.publicSpaces += 1
            isHit = true
        }
        let uri = oversight.names.resource(readers.space)
        for service in known.services where service.covers(uri, at: now) {
            var release = Freeze.Release(users: service.aliases, device: "")
            release.services = service.aliases.union([service.name])
            release.spaces = [readers.space]
            release.bound = bound.map { [$0] } ?? []
            guard freeze.covers(release) else { continue }
            services.insert(service.name)
            isHit = true
        }
        if isHit { impact.spaces += 1 }
        impact.users = users.count
    }

    /// The path by which the decision would be made.
    private func decisive(
        _ ways: [SpaceReaders.Way], isPublic: Bool, _ host: String?, _ oversight: Oversight
    ) -> AccessPath? {
        let allowed = ways.filter { oversight.mayRead($0, asUserOf: host, known) }
        if let first = allowed.first, case .direct = first.path { return first.path }
        return isPublic && host == nil ? .everybody : allowed.first?.path
    }

    /// Whether somebody whose only path is `/public` would be hit.
    private func coversPublic(_ space: String, _ bound: Timestamp?) -> Bool {
        var release = Freeze.Release(users: [], device: "")
        release.spaces = [space]
        release.bound = bound.map { [$0] } ?? []
        return freeze.covers(release)
    }

    private func device(of user: String, _ host: String?) -> String {
        if let host { return host }
        guard case .device(let device) = freeze.scope, deviceUsers.contains(user) else { return "" }
        return device
    }

    private mutating func home(of user: String, _ oversight: Oversight) async throws -> String? {
        if known.partners.isEmpty { return nil }
        if let known = homes[user] { return known }
        let home = try await oversight.partner(of: user)
        homes[user] = .some(home)
        return home
    }
}

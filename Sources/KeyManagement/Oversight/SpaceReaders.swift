import KMSProtocol
import KeyStore
import WireText

/// Everybody on whom a space's list bears at one moment, by each path: the decision of `KeyManagement.access`, asked for
/// all instead of one.
///
/// Rules, as there: an own entry counts first, then `/public` for own users, then nested spaces in the order of a walk in
/// breadth that is bounded by depth and visits. A test holds the two against each other.
struct SpaceReaders: Sendable {
    /// One entry of a list that held at the moment.
    struct Entry: Sendable {
        let authorization: String
        let content: AuthorizationContent
    }

    let space: String
    let head: ResourceContent
    /// The space's own entries for persons.
    var members: [Entry] = []
    var unnamed: [Entry] = []
    /// `/public`, when it holds and the policy lets it count.
    var everybody: Entry?
    /// Nested spaces in the order of the walk, each with the path to it and its own entries for persons.
    var nested: [(path: [String], members: [Entry])] = []
    /// The walk was ended by a bound: whoever is behind it gets nothing.
    var isBounded = false

    struct Way: Sendable {
        let path: AccessPath
        let entry: Entry
    }

    /// All ways of each person; the first one of each is the one that decides.
    func ways() -> [(user: String, ways: [Way])] {
        var order: [String] = []
        var ways: [String: [Way]] = [:]
        func add(_ entry: Entry, _ path: AccessPath) {
            let user = entry.content.authID.canonicalAuthID
            if ways[user] == nil { order.append(user) }
            ways[user, default: []].append(Way(path: path, entry: entry))
        }
        for entry in members { add(entry, .direct(authorization: entry.authorization)) }
        for (path, entries) in nested {
            for entry in entries { add(entry, .nested(path)) }
        }
        return order.map { ($0, ways[$0] ?? []) }
    }
}

extension Oversight {
    /// A moment to look at a space. In the past the list is taken from its entries, which are kept when they are removed;
    /// now it is what the decisions use.
    struct Moment: Sendable {
        let time: Timestamp
        let isPast: Bool
    }

    /// Nil when the space was not there at that moment.
    func readers(of record: ResourceRecord, at moment: Moment) async throws -> SpaceReaders? {
        guard let (head, own) = try await list(record, at: moment) else { return nil }
        var readers = SpaceReaders(space: record.id, head: head)
        var inner: [String] = []
        for entry in own {
            switch kind(of: entry) {
            case .person: readers.members.append(entry)
            case .unnamed: readers.unnamed.append(entry)
            case .everybody: if policy.allowsPublic { readers.everybody = entry }
            case .space(let id): inner.append(id)
            }
        }
        try await walkNested(moment.isPast ? inner : head.nested, of: record.id, moment) { path, entries in
            readers.nested.append((path, entries.filter { kind(of: $0) == .person }))
        } bounded: {
            readers.isBounded = true
        }
        return readers
    }

    /// All ways of one person to one space, without reading the whole list now; the first one decides.
    func ways(
        of user: String, to record: ResourceRecord, at moment: Moment
    ) async throws -> [SpaceReaders.Way] {
        guard try await isThere(record, at: moment) != nil else { return [] }
        if moment.isPast {
            return try await readers(of: record, at: moment)?.ways().first { $0.user == user }?.ways ?? []
        }
        var ways: [SpaceReaders.Way] = []
        if let (row, content) = try await management.directAuthorization(
            of: user, resource: record.id, now: moment.time)
        {
            let entry = SpaceReaders.Entry(authorization: row.id, content: content)
            ways.append(SpaceReaders.Way(path: .direct(authorization: row.id), entry: entry))
        }
        let head = try vault.content(record)
        guard !head.nested.isEmpty else { return ways }
        for path in try await nestedPaths(head.nested, of: record.id, moment).paths {
            guard let inner = path.last,
                let (row, content) = try await management.directAuthorization(
                    of: user, resource: inner, now: moment.time)
            else { continue }
            let entry = SpaceReaders.Entry(authorization: row.id, content: content)
            ways.append(SpaceReaders.Way(path: .nested(path), entry: entry))
        }
        return ways
    }

    // MARK: Lists

    enum EntryKind: Equatable { case person, unnamed, everybody, space(String) }

    func kind(of entry: SpaceReaders.Entry) -> EntryKind {
        if entry.content.isAnonymous { return .unnamed }
        if entry.content.authID == KeyManagement.publicAuthID { return .everybody }
        guard entry.content.authID.prefix(6).lowercased() == "kms://" else { return .person }
        guard let uri = KMSURI(entry.content.authID), case .resource(let id) = uri.object else { return .person }
        return .space(id)
    }

    private func isThere(_ record: ResourceRecord, at moment: Moment) async throws -> ResourceContent? {
        let head = try vault.content(record)
        guard moment.isPast else { return head.isGone(moment.time) ? nil : head }
        let wasDeleted = head.deletedAt.map { $0 <= moment.time } ?? false
        let wasOver = head.expires.map { $0 <= moment.time } ?? false
        return head.created <= moment.time && !wasDeleted && !wasOver ? head : nil
    }

    private func list(
        _ record: ResourceRecord, at moment: Moment
    ) async throws -> (head: ResourceContent, entries: [SpaceReaders.Entry])? {
        guard let head = try await isThere(record, at: moment) else { return nil }
        let rows = try await store.authorizations(ofResource: record.id, includingRemoved: moment.isPast)
        var entries: [SpaceReaders.Entry] = []
        for row in rows {
            let content = try vault.content(row)
            guard content.held(at: moment.time) else { continue }
            entries.append(SpaceReaders.Entry(authorization: row.id, content: content))
        }
        return (head, entries)
    }

    private func walkNested(
        _ inner: [String], of space: String, _ moment: Moment,
        _ body: ([String], [SpaceReaders.Entry]) -> Void, bounded: () -> Void
    ) async throws {
        let (paths, isBounded) = try await nestedPaths(inner, of: space, moment)
        for path in paths {
            guard let id = path.last, let record = try await store.resource(id),
                let (_, entries) = try await list(record, at: moment)
            else { continue }
            body(path, entries)
        }
        if isBounded { bounded() }
    }

    /// The paths to nested spaces in the order in which `KeyManagement.nestedAccess` looks at them.
    private func nestedPaths(
        _ inner: [String], of space: String, _ moment: Moment
    ) async throws -> (paths: [[String]], isBounded: Bool) {
        var visits = 0
        var seen: Set<String> = [space]
        var paths: [[String]] = []
        var level = inner.map { [$0] }
        for _ in 0..<policy.nestingDepth {
            var next: [[String]] = []
            for path in level {
                guard let id = path.last, seen.insert(id).inserted else { continue }
                visits += 1
                guard visits <= policy.nestingVisits else { return (paths, true) }
                guard let record = try await store.resource(id), let head = try await isThere(record, at: moment) else {
                    continue
                }
                paths.append(path)
                for deeper in try await nested(in: record, head, moment) { next.append(path + [deeper]) }
            }
            if next.isEmpty { return (paths, false) }
            level = next
        }
        return (paths, level.contains { $0.last.map { !seen.contains($0) } ?? false })
    }

    private func nested(
        in record: ResourceRecord, _ head: ResourceContent, _ moment: Moment
    ) async throws -> [String] {
        guard moment.isPast else { return head.nested }
        return try await list(record, at: moment)?.entries.compactMap { entry in
            if case .space(let id) = kind(of: entry) { id } else { nil }
        } ?? []
    }
}

extension AuthorizationContent {
    /// Whether it granted something at that moment, as far as its own dates tell.
    func held(at moment: Timestamp) -> Bool {
        created <= moment && removedAt.map { moment < $0 } ?? true && expires.map { moment < $0 } ?? true
    }
}

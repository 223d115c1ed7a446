import WireText

/// What the KMS has to answer, in plain values: written from the protocol document (sections 5 to 8), the security
/// model's rules 7, 8, 11 to 15 and docs/kms-extensions.md, and from nothing else.
///
/// The documents do not say in which order faults of one request are found: a refusal may name any fault that the request
/// has, and a request without a fault must be granted, with exactly the content predicted.
struct ReferenceModel: Sendable {
    /// Lives in seconds, as the KMS under test is configured.
    struct Policy: Sendable {
        var unboundKeyLife: Int64 = 86_400
        var boundKeyLife: Int64 = 365 * 86_400
        var sessionLife: Int64 = 86_400
        var holderLife: Int64 = 6 * 3600
        var nestingDepth = 4
        var officers: Set<Int> = [0]
        var window: Int64 = 60
    }

    struct Key: Sendable {
        let owner: Int
        let device: String
        let created: Timestamp
        var expires: Timestamp
        var space: Ref?
        var bound: Timestamp?
    }

    struct Entry: Sendable {
        let ref: Ref
        /// As it was first written; nil for an unnamed holder.
        let identity: Identity?
        var role: Role?
        let created: Timestamp
        /// Of an unnamed holder.
        let end: Timestamp?

        /// Only somebody who can act moderates: `/public` and nested resources only give reading (rule 12).
        var isModerator: Bool {
            switch identity {
            case .user, .stranger: role == .moderator
            default: false
            }
        }
    }

    struct Creation: Sendable, Equatable {
        let user: Int
        let device: String
        let keys: Set<Ref>
        let ids: Set<Identity>
        let ttl: Int64?
        let unnamed: Int
    }

    struct Space: Sendable {
        let created: Timestamp
        let end: Timestamp?
        let creation: Creation
        var keys: [Ref] = []
        var entries: [Entry] = []
        var isDeleted = false
        var isUntouched = true
        var lastRemoval: Timestamp?
        var lastBound: Timestamp?
    }

    struct Session: Sendable {
        let actor: Actor
        let isCounted: Bool
        let device: String
        let created: Timestamp
        let expires: Timestamp
        /// The node that ended it.
        var endedOn: Int?
        /// Highest counter of a change that was made, and of any request by the node that saw it.
        var changed: Int64 = 0
        var seen: [Int: Int64] = [:]
    }

    enum Content: Sendable {
        case nothing
        case newKeys([Ref])
        case key(Ref)
        /// Newest first; those of one moment in any order, so many of them altogether.
        case keys([Ref], limit: Int)
        case space(Ref, holders: [Entry], isNew: Bool)
        case entries([Entry], isOrdered: Bool)
        /// With the paths that remain, any of which may be named.
        case removed([Entry], remaining: [Set<String>])
    }

    enum Prediction: Sendable {
        case refused(Set<Int>)
        case granted(Int, Content)
    }

    struct Caller: Sendable {
        let actor: Actor
        /// Whose rights count.
        let user: Int
        let device: String
        let isOfficer: Bool
        let step: Int
    }

    let policy: Policy
    var keys: [Ref: Key] = [:]
    var spaces: [Ref: Space] = [:]
    var sessions: [Ref: Session] = [:]
    /// Every entry that there ever was.
    var spaceOfEntry: [Ref: Ref] = [:]

    init(policy: Policy = Policy()) { self.policy = policy }

    // MARK: Who may

    func isGone(_ space: Ref, _ now: Timestamp) -> Bool {
        guard let space = spaces[space] else { return true }
        return space.isDeleted || space.end.map { $0 <= now } ?? false
    }

    /// The list as it stands: an unnamed holder's entry ends by itself.
    func list(_ space: Ref, _ now: Timestamp) -> [Entry] {
        guard !isGone(space, now), let space = spaces[space] else { return [] }
        return space.entries.filter { $0.end.map { now < $0 } ?? true }
    }

    func entry(_ identity: Identity, on space: Ref, _ now: Timestamp) -> Entry? {
        list(space, now).first { $0.identity?.canonical == identity.canonical }
    }

    func liveHolder(_ entry: Ref, _ now: Timestamp) -> Bool {
        guard let space = spaceOfEntry[entry] else { return false }
        return list(space, now).contains { $0.ref == entry }
    }

    /// The ways by which an identity reads a space, by the names that an answer may give them.
    func paths(_ identity: Identity, to space: Ref, _ now: Timestamp) -> Set<String> {
        guard !isGone(space, now) else { return [] }
        var paths: Set<String> = []
        if entry(identity, on: space, now) != nil { paths.insert("direct") }
        if entry(.everybody, on: space, now) != nil { paths.insert("public") }
        var reached: Set<Ref> = [space]
        for _ in 0..<policy.nestingDepth {
            for inner in reached.flatMap({ list($0, now) }).compactMap({ $0.identity?.spaceRef }) {
                guard !isGone(inner, now) else { continue }
                reached.insert(inner)
                if inner != space && entry(identity, on: inner, now) != nil { paths.insert("nested") }
            }
        }
        return paths
    }

    func mayRead(_ caller: Caller, _ space: Ref, _ now: Timestamp) -> Bool {
        if case .holder(let entry) = caller.actor { return spaceOfEntry[entry] == space && liveHolder(entry, now) }
        // `/public` is not for those who ask in somebody else's name (rule 12).
        return !paths(.user(caller.user), to: space, now).subtracting(caller.isOfficer ? ["public"] : []).isEmpty
    }

    func mayChange(_ caller: Caller, _ space: Ref, _ now: Timestamp) -> Bool {
        guard case .user = caller.actor, !caller.isOfficer else { return false }
        return entry(.user(caller.user), on: space, now) != nil
    }

    func mayManage(_ caller: Caller, _ space: Ref, _ now: Timestamp) -> Bool {
        guard mayChange(caller, space, now) else { return false }
        let moderators = list(space, now).filter(\.isModerator)
        return moderators.isEmpty || moderators.contains { $0.identity?.canonical == .user(caller.user) }
    }

    // MARK: Envelope

    mutating func open(_ actor: Actor, isCounted: Bool, device: String, step: Int, now: Timestamp) -> Prediction {
        if case .holder(let entry) = actor, !liveHolder(entry, now) { return .refused([401]) }
        sessions[Ref(step: step)] = Session(
            actor: actor, isCounted: isCounted, device: device, created: now,
            expires: now.adding(seconds: policy.sessionLife))
        return .granted(201, .nothing)
    }

    func isDead(_ session: Ref, _ now: Timestamp) -> Bool {
        guard let session = sessions[session] else { return true }
        return session.endedOn != nil || session.expires <= now
    }

    /// How a string is judged that was not judged before; its session lives.
    mutating func judge(
        _ request: Request, _ claim: Claim, session ref: Ref, step: Int, counter: Int64?, time: Timestamp, node: Int,
        now: Timestamp
    ) -> Prediction {
        guard let session = sessions[ref] else { return .refused([499]) }
        if case .odd(let odd) = request, odd.isMalformed { return .refused(odd.statuses) }
        var faults: Set<Int> = []
        let caller: Caller
        switch session.actor {
        case .holder(let entry):
            guard liveHolder(entry, now) else { return .refused([401]) }
            caller = Caller(actor: session.actor, user: -1, device: session.device, isOfficer: false, step: step)
            switch request {
            case .ping, .deleteSession, .retrieveKey, .retrieveKeys: break
            default: faults.insert(403)
            }
        case .user(let own):
            let user = claim.effectiveUser(of: own)
            if user != own && !(policy.officers.contains(own) && request.isRetrieving) { faults.insert(403) }
            caller = Caller(
                actor: session.actor, user: user, device: session.device, isOfficer: user != own, step: step)
        }
        if let counter, faults.isEmpty {
            if abs(now.milliseconds - time.milliseconds) > policy.window * 1000 {
                faults.insert(409)
            } else {
                if request.isMutating && counter <= max(session.changed, session.seen[node] ?? 0) {
                    faults.insert(409)
                }
                sessions[ref]?.seen[node] = max(counter, session.seen[node] ?? 0)
            }
        }
        let prediction = decide(request, caller, &faults, ref, node, now)
        if case .granted = prediction, request.isMutating, let counter { sessions[ref]?.changed = counter }
        return prediction
    }

    mutating func restart(node: Int) {
        for ref in sessions.keys { sessions[ref]?.seen[node] = nil }
    }

    // MARK: Operations

    private mutating func decide(
        _ request: Request, _ caller: Caller, _ faults: inout Set<Int>, _ session: Ref, _ node: Int, _ now: Timestamp
    ) -> Prediction {
        switch request {
        case .ping: return faults.isEmpty ? .granted(200, .nothing) : .refused(faults)
        case .odd(let odd): return .refused(faults.union(odd.statuses))
        case .createKeys(let count): return createKeys(count, caller, faults, now)
        case .retrieveKey(let key): return retrieveKey(key, caller, faults, now)
        case .bindKey(let key, let space): return bind(key, to: space, caller, faults, now)
        case .bindKeyAbroad(let key):
            // The resource is of another KMS: a feature that is absent (section 5), whatever else is wrong.
            return .refused(faults.union([501]).union(keyFaults(key, caller, now)))
        case .retrieveKeys(let space, let from, let before, let count):
            if let count, count < 1 { faults.insert(400) }
            faults.formUnion(readFaults(space, caller, now))
            guard faults.isEmpty, let space = spaces[space] else { return .refused(faults) }
            let matching = space.keys.filter { ref in
                guard let bound = keys[ref]?.bound else { return false }
                return (from.map { bound >= $0 } ?? true) && (before.map { bound < $0 } ?? true)
            }
            let ordered = matching.sorted { bound(of: $0) > bound(of: $1) }
            return .granted(200, .keys(ordered, limit: min(ordered.count, count ?? .max)))
        case .createSpace: return createSpace(request, caller, faults, now)
        case .retrieveSpace(let space):
            faults.formUnion(readFaults(space, caller, now))
            return faults.isEmpty ? .granted(200, .space(space, holders: [], isNew: false)) : .refused(faults)
        case .deleteSpace(let ref):
            faults.formUnion(manageFaults(ref, caller, now))
            guard faults.isEmpty else { return .refused(faults) }
            spaces[ref]?.isDeleted = true
            return .granted(200, .nothing)
        case .authorize: return authorize(request, caller, faults, now)
        case .list(let space, let only):
            faults.formUnion(readFaults(space, caller, now))
            guard faults.isEmpty else { return .refused(faults) }
            let entries = list(space, now).filter { entry in
                only.map { entry.identity?.canonical == $0.canonical } ?? true
            }
            return .granted(200, .entries(entries, isOrdered: false))
        case .remove(let space, let ids, _): return remove(ids, from: space, caller, faults, now)
        case .removeEntry(let ref):
            guard let space = spaceOfEntry[ref], let entry = list(space, now).first(where: { $0.ref == ref }) else {
                return .refused(faults.union([404]))
            }
            return remove([entry], from: space, caller, faults, now)
        case .deleteSession(let ref):
            if isDead(ref, now) { return .refused(faults.union([404])) }
            if sessions[ref]?.actor != caller.actor { faults.insert(403) }
            guard faults.isEmpty else { return .refused(faults) }
            sessions[ref]?.endedOn = node
            return .granted(204, .nothing)
        }
    }

    func bound(of key: Ref) -> Timestamp { keys[key]?.bound ?? Timestamp(milliseconds: 0) }

    func readFaults(_ space: Ref, _ caller: Caller, _ now: Timestamp) -> Set<Int> {
        isGone(space, now) ? [404] : mayRead(caller, space, now) ? [] : [403]
    }

    func manageFaults(_ space: Ref, _ caller: Caller, _ now: Timestamp) -> Set<Int> {
        isGone(space, now) ? [404] : mayManage(caller, space, now) ? [] : [403]
    }
}

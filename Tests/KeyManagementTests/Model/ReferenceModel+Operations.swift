import WireText

// The operations that change something, and those on single keys (protocol, section 8).
extension ReferenceModel {
    func createKeys(count: Int) -> Set<Int> { (1...100).contains(count) ? [] : [400] }

    mutating func createKeys(_ count: Int, _ caller: Caller, _ faults: Set<Int>, _ now: Timestamp) -> Prediction {
        let faults = faults.union(createKeys(count: count))
        guard faults.isEmpty else { return .refused(faults) }
        let made = (0..<count).map { Ref(step: caller.step, index: $0) }
        for ref in made {
            keys[ref] = Key(
                owner: caller.user, device: caller.device, created: now,
                expires: now.adding(seconds: policy.unboundKeyLife))
        }
        return .granted(201, .newKeys(made))
    }

    func retrieveKey(_ ref: Ref, _ caller: Caller, _ faults: Set<Int>, _ now: Timestamp) -> Prediction {
        var faults = faults
        if let key = keys[ref] {
            if let space = key.space {
                faults.formUnion(readFaults(space, caller, now))
            } else if key.owner != caller.user || caller.isOfficer {
                // Only its creating user reads an unbound key (section 7).
                faults.insert(403)
            }
        } else {
            faults.insert(404)
        }
        return faults.isEmpty ? .granted(200, .key(ref)) : .refused(faults)
    }

    /// What stands against binding this key anywhere.
    func keyFaults(_ ref: Ref, _ caller: Caller, _ now: Timestamp) -> Set<Int> {
        guard let key = keys[ref] else { return [404] }
        var faults: Set<Int> = key.owner == caller.user ? [] : [403]
        if let space = key.space {
            faults.insert(409)
            if isGone(space, now) { faults.insert(404) }
        } else if key.expires <= now {
            faults.insert(409)
        }
        return faults
    }

    mutating func bind(
        _ ref: Ref, to space: Ref, _ caller: Caller, _ faults: Set<Int>, _ now: Timestamp
    ) -> Prediction {
        var faults = faults
        if isGone(space, now) {
            faults.insert(404)
        } else if !mayChange(caller, space, now) {
            faults.insert(403)
        }
        if keys[ref]?.space == space {
            // A repeat is harmless: the key is where it was to go (section 5).
            if keys[ref]?.owner != caller.user { faults.insert(403) }
            return faults.isEmpty ? .granted(200, .key(ref)) : .refused(faults)
        }
        faults.formUnion(keyFaults(ref, caller, now))
        guard faults.isEmpty, var target = spaces[space] else { return .refused(faults) }
        // Later than every earlier binding and removal, whatever the clock says; dates have milliseconds.
        let date = [target.lastBound, target.lastRemoval].compactMap { $0?.adding(milliseconds: 1) }.reduce(now, max)
        bind(ref, to: space, date)
        target.keys.append(ref)
        target.lastBound = date
        target.isUntouched = false
        spaces[space] = target
        return .granted(200, .key(ref))
    }

    private mutating func bind(_ ref: Ref, to space: Ref, _ date: Timestamp) {
        keys[ref]?.space = space
        keys[ref]?.bound = date
        keys[ref]?.expires = date.adding(seconds: policy.boundKeyLife)
    }

    mutating func createSpace(
        _ request: Request, _ caller: Caller, _ faults: Set<Int>, _ now: Timestamp
    ) -> Prediction {
        guard case .createSpace(let listed, let ids, let ttl, let unnamed) = request else { return .refused([]) }
        var faults = faults
        let creation = Creation(
            user: caller.user, device: caller.device, keys: Set(listed), ids: Set(ids.map(\.canonical)), ttl: ttl,
            unnamed: unnamed)
        if faults.isEmpty, !listed.isEmpty,
            let (ref, space) = spaces.first(where: { $0.value.creation == creation && isRepeatable($0.key, now) })
        {
            return .granted(201, .space(ref, holders: space.entries.filter { $0.identity == nil }, isNew: false))
        }
        if let ttl, !(1...10 * 366 * 86_400).contains(ttl) { faults.insert(400) }
        if !(0...20).contains(unnamed) { faults.insert(400) }
        for key in listed { faults.formUnion(keyFaults(key, caller, now)) }
        for id in ids { faults.formUnion(idFaults(id, on: nil, now)) }
        guard faults.isEmpty else { return .refused(faults) }
        let ref = Ref(step: caller.step)
        var space = Space(created: now, end: ttl.map { now.adding(seconds: $0) }, creation: creation)
        for key in listed where keys[key]?.space == nil {
            bind(key, to: ref, now)
            space.keys.append(key)
            space.lastBound = now
        }
        spaces[ref] = space
        let creator = Identity.user(caller.user)
        let everybody = ids.contains { $0.canonical == creator } ? ids : [creator] + ids
        _ = admit(everybody, role: nil, to: ref, caller, now)
        let holders = admitUnnamed(unnamed, to: ref, caller, now)
        spaces[ref]?.isUntouched = true
        return .granted(201, .space(ref, holders: holders, isNew: true))
    }

    /// Whether a repeat of its creation gives this one: five minutes, unchanged, never without keys (rule 14).
    private func isRepeatable(_ ref: Ref, _ now: Timestamp) -> Bool {
        guard let space = spaces[ref], !isGone(ref, now), space.isUntouched else { return false }
        return now < space.created.adding(seconds: 300)
    }

    /// What stands against an id that is not on the list yet.
    private func idFaults(_ id: Identity, on space: Ref?, _ now: Timestamp) -> Set<Int> {
        switch id {
        case .user, .stranger, .everybody: []
        case .foreignSpace: [403]
        case .key: [400]
        case .space(let ref, _): ref == space ? [400] : isGone(ref, now) ? [404] : []
        }
    }

    mutating func authorize(_ request: Request, _ caller: Caller, _ faults: Set<Int>, _ now: Timestamp) -> Prediction {
        guard case .authorize(let ref, let ids, let role, let unnamed, let details) = request else {
            return .refused([])
        }
        var faults = faults.union(manageFaults(ref, caller, now))
        if ids.isEmpty && unnamed == 0 || !(0...20).contains(unnamed) { faults.insert(400) }
        for id in ids where entry(id, on: ref, now) == nil { faults.formUnion(idFaults(id, on: ref, now)) }
        guard faults.isEmpty else { return .refused(faults) }
        let entries = admit(ids, role: role, to: ref, caller, now) + admitUnnamed(unnamed, to: ref, caller, now)
        return .granted(201, details ? .entries(entries, isOrdered: true) : .nothing)
    }

    /// One entry for each id, in the order asked, without duplicates; who is there already stays and takes the role.
    private mutating func admit(
        _ ids: [Identity], role: Role?, to ref: Ref, _ caller: Caller, _ now: Timestamp
    ) -> [Entry] {
        var seen: Set<Identity> = []
        var entries: [Entry] = []
        for id in ids where seen.insert(id.canonical).inserted {
            if let index = spaces[ref]?.entries.firstIndex(where: { $0.identity?.canonical == id.canonical }) {
                if let role, spaces[ref]?.entries[index].role != role {
                    spaces[ref]?.entries[index].role = role
                    spaces[ref]?.isUntouched = false
                }
                if let entry = spaces[ref]?.entries[index] { entries.append(entry) }
            } else {
                entries.append(append(id, role: role, end: nil, to: ref, caller, now))
            }
        }
        return entries
    }

    private mutating func admitUnnamed(_ count: Int, to ref: Ref, _ caller: Caller, _ now: Timestamp) -> [Entry] {
        let end = [spaces[ref]?.end, now.adding(seconds: policy.holderLife)].compactMap { $0 }.min()
        return (0..<count).map { _ in append(nil, role: nil, end: end, to: ref, caller, now) }
    }

    private mutating func append(
        _ identity: Identity?, role: Role?, end: Timestamp?, to ref: Ref, _ caller: Caller, _ now: Timestamp
    ) -> Entry {
        let index = spaces[ref]?.entries.count(where: { $0.ref.step == caller.step }) ?? 0
        let entry = Entry(
            ref: Ref(step: caller.step, index: index), identity: identity, role: role, created: now, end: end)
        spaces[ref]?.entries.append(entry)
        spaces[ref]?.isUntouched = false
        spaceOfEntry[entry.ref] = ref
        return entry
    }

    mutating func remove(
        _ ids: [Identity], from ref: Ref, _ caller: Caller, _ faults: Set<Int>, _ now: Timestamp
    ) -> Prediction {
        var faults = faults
        if ids.isEmpty { faults.insert(400) }
        var entries: [Entry] = []
        for id in ids {
            guard let entry = entry(id, on: ref, now) else {
                faults.insert(404)
                continue
            }
            if !entries.contains(where: { $0.ref == entry.ref }) { entries.append(entry) }
        }
        return remove(entries, from: ref, caller, faults, now)
    }

    mutating func remove(
        _ entries: [Entry], from ref: Ref, _ caller: Caller, _ faults: Set<Int>, _ now: Timestamp
    ) -> Prediction {
        var faults = faults
        let isLeaving = entries.allSatisfy { $0.identity?.canonical == .user(caller.user) }
        if isGone(ref, now) {
            faults.insert(404)
        } else if !(isLeaving ? mayChange(caller, ref, now) : mayManage(caller, ref, now)) {
            faults.insert(403)
        }
        guard faults.isEmpty, var space = spaces[ref] else { return .refused(faults) }
        space.entries.removeAll { entry in entries.contains { $0.ref == entry.ref } }
        space.lastRemoval = [now, space.lastBound, space.lastRemoval].compactMap { $0 }.max()
        space.isUntouched = false
        spaces[ref] = space
        let remaining = entries.map { entry -> Set<String> in
            switch entry.identity {
            case .user, .stranger: paths(entry.identity ?? .everybody, to: ref, now)
            default: []
            }
        }
        return .granted(200, .removed(entries, remaining: remaining))
    }
}

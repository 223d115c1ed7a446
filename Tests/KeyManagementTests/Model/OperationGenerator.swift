import TestServers
import WireText

/// Chooses the next step: few people and spaces, so that steps meet, and more of what is interesting than of what is
/// usual. The same seed gives the same steps; it looks at the model only, never at answers.
struct OperationGenerator {
    private static let people = ModelWorld.users.count
    private static let spaceLimit = 9

    private var random: SeededGenerator
    private var nextID = 0
    private var now = ModelWorld.start
    private var keys: [Ref] = []
    private var spaces: [Ref] = []
    private var entries: [Ref] = []
    private var sessions: [Actor: [Ref]] = [:]
    private var holders: [Ref] = []
    /// Who was taken off a list, and a key that he had read until then.
    private var removed: [(actor: Actor, key: Ref)] = []
    private var asked: [(step: Int, session: Ref, request: Request, isDelivered: Bool)] = []

    init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    mutating func next(_ model: ReferenceModel) -> Step {
        let id = nextID
        nextID += 1
        now = now.adding(milliseconds: pause())
        // What is gone is asked for once in a while.
        if chance(1, 12) { spaces = spaces.filter { !model.isGone($0, now) } }
        // Nobody can do anything with a space that has nobody to manage it.
        if chance(1, 30) {
            for space in spaces where manager(of: space, model) == nil { spaces.removeAll { $0 == space } }
        }
        let act = act(model, id)
        note(act, id, model)
        return Step(id: id, at: now, node: Int.random(in: 0...1, using: &random), act: act)
    }

    /// Mostly moments, so that windows matter; sometimes none at all, sometimes hours, so that ends come.
    private mutating func pause() -> Int64 {
        switch Int.random(in: 0..<1000, using: &random) {
        case 0..<150: 0
        case 150..<900: Int64.random(in: 1...1500, using: &random)
        case 900..<990: Int64.random(in: 10_000...90_000, using: &random)
        case 990..<998: Int64.random(in: 200_000...4_000_000, using: &random)
        default: Int64.random(in: 20_000_000...90_000_000, using: &random)
        }
    }

    private mutating func chance(_ part: Int, _ whole: Int) -> Bool {
        Int.random(in: 0..<whole, using: &random) < part
    }
    private mutating func one<C: RandomAccessCollection>(_ list: C) -> C.Element? {
        list.randomElement(using: &random)
    }

    // MARK: Which act

    private mutating func act(_ model: ReferenceModel, _ id: Int) -> Step.Act {
        switch Int.random(in: 0..<1000, using: &random) {
        case 0..<4: return .restart
        case 4..<7: return .sweep
        case 7..<80:
            let recent = asked.suffix(chance(1, 2) ? 6 : 60)
            let withheld = asked.suffix(12).filter { !$0.isDelivered }
            if let earlier = chance(2, 3) ? one(withheld) ?? one(recent) : one(recent) {
                return .deliver(step: earlier.step)
            }
        case 80..<92:
            // A client that got no answer asks again for the space that it has made.
            let made = asked.suffix(60).filter { ask in
                if case .createSpace(let keys, _, _, _) = ask.request, !keys.isEmpty {
                    return model.spaces[Ref(step: ask.step)] != nil
                }
                return false
            }
            if let earlier = one(made) {
                let spelling = Int.random(in: 0...2, using: &random)
                return .ask(
                    session: earlier.session, earlier.request, .oneself, spelling: spelling, isWithheld: false)
            }
        case 92..<102:
            let actor = actor()
            return .open(actor, isCounted: isCounted(actor))
        default: break
        }
        var (actor, request) = wish(model)
        var again: Ref?
        if chance(1, 10), let earlier = one(asked.suffix(8)) {
            // What was asked already: by whoever, or by the same session, as a client that got no answer does.
            request = earlier.request
            if chance(1, 2), let session = model.sessions[earlier.session] {
                (actor, again) = (session.actor, earlier.session)
            }
        }
        let live = (sessions[actor] ?? []).filter { !model.isDead($0, now) }
        guard let session = again ?? (chance(1, 60) ? one(sessions[actor] ?? []) ?? one(live) : one(live.suffix(4)))
        else {
            return .open(actor, isCounted: isCounted(actor))
        }
        let counted = model.sessions[session]?.isCounted ?? false
        let claim = claim(actor, request, isCounted: counted, model)
        // Of a session with a counter only what is well formed: what can not be read does not count.
        if case .odd(let odd) = request, counted, odd.isMalformed { request = .ping }
        return .ask(
            session: session, request, claim, spelling: chance(2, 3) ? 0 : Int.random(in: 1...2, using: &random),
            isWithheld: chance(1, 20))
    }

    /// An officer speaks for others often, others try it.
    private mutating func claim(
        _ actor: Actor, _ request: Request, isCounted: Bool, _ model: ReferenceModel
    ) -> Claim {
        guard case .user(let own) = actor, !isCounted else { return .oneself }
        let isOfficer = model.policy.officers.contains(own)
        guard chance(isOfficer ? (request.isRetrieving ? 8 : 2) : 1, 12) else { return .oneself }
        if chance(1, 5) { return .onBehalfOf(own) }
        var other = person()
        if chance(1, 2), case .retrieveKey(let key) = request, case .user(let reader) = reader(of: key, model) {
            other = reader
        }
        return chance(1, 2) ? .onBehalfOf(other) : .foreignUserID(other)
    }

    private mutating func isCounted(_ actor: Actor) -> Bool {
        switch actor {
        case .holder: return false
        // An officer's claims are for sessions without.
        case .user(0): return chance(1, 5)
        case .user: return chance(1, 2)
        }
    }

    private mutating func person() -> Int { Int.random(in: 0..<Self.people, using: &random) }
    private mutating func actor() -> Actor {
        if chance(1, 20), let holder = one(holders.suffix(6)) { return .holder(holder) }
        return .user(person())
    }

    /// Who wants what.
    private mutating func wish(_ model: ReferenceModel) -> (Actor, Request) {
        let actor = actor()
        switch Int.random(in: 0..<1000, using: &random) {
        case 0..<10: return (actor, .ping)
        case 10..<90:
            let count = chance(1, 30) ? one([0, -1, 101, 100])! : Int.random(in: 1...3, using: &random)
            return (actor, .createKeys(count: count))
        case 90..<250:
            let key = key(model)
            if case .holder(let entry) = actor, chance(2, 3), let space = model.spaceOfEntry[entry],
                let key = one(model.spaces[space]?.keys ?? [])
            {
                return (actor, .retrieveKey(key))
            }
            if chance(1, 5) {
                let open = spaces.filter { model.entry(.everybody, on: $0, now) != nil }
                let inOpen = one(open).flatMap { one(model.spaces[$0]?.keys ?? []) }
                return (.user(0), .retrieveKey(chance(1, 2) ? inOpen ?? key : key))
            }
            return (chance(3, 5) ? reader(of: key, model) ?? actor : actor, .retrieveKey(key))
        case 250..<370:
            // Who was removed asks for what he had.
            guard let (actor, key) = one(removed.suffix(10)) else { return (actor, .retrieveKey(key(model))) }
            return (actor, .retrieveKey(key))
        case 370..<450:
            let space = space(model)
            let free = keys.suffix(60).filter { key in
                model.keys[key].map { $0.space == nil && mayBind($0.owner, space, model) } ?? false
            }
            let key = chance(1, 2) ? one(free) ?? key(model) : key(model)
            if chance(1, 20) { return (actor, .bindKeyAbroad(key)) }
            if chance(2, 3), let owner = model.keys[key]?.owner { return (.user(owner), .bindKey(key, to: space)) }
            return (actor, .bindKey(key, to: space))
        case 450..<530:
            let request = keysOfSpace(model)
            guard case .retrieveKeys(let space, _, _, _) = request, chance(3, 5) else { return (actor, request) }
            return (member(of: space, model) ?? actor, request)
        case 530..<590:
            let request = newSpace(model, actor)
            guard case .deleteSpace(let space) = request else { return (actor, request) }
            return (manager(of: space, model) ?? actor, request)
        case 590..<640:
            let space = space(model)
            return (chance(3, 5) ? member(of: space, model) ?? actor : actor, .retrieveSpace(space))
        case 640..<650:
            let space = space(model)
            return (member(of: space, model) ?? actor, .deleteSpace(space))
        case 650..<790:
            let space = space(model)
            return (chance(4, 5) ? manager(of: space, model) ?? actor : actor, authorize(space, model))
        case 790..<840:
            let space = space(model)
            let only = chance(1, 2) ? identity(model) : nil
            return (chance(3, 5) ? member(of: space, model) ?? actor : actor, .list(space, only: only))
        case 840..<940:
            let space = space(model)
            let by = chance(1, 2) ? manager(of: space, model) : chance(2, 3) ? member(of: space, model) : actor
            var ids: [Identity] = []
            for _ in 0..<(chance(3, 4) ? 1 : Int.random(in: 0...3, using: &random)) {
                let listed = model.spaces[space]?.entries.compactMap(\.identity) ?? []
                ids.append(chance(3, 4) ? one(listed) ?? identity(model) : identity(model))
            }
            return (by ?? actor, .remove(space, ids, byQuery: chance(1, 2)))
        case 940..<970:
            let entry = chance(9, 10) ? one(entries.suffix(40)) ?? .absent(3) : .absent(3)
            // An unnamed holder's entry that has ended by itself is nowhere described.
            let space = model.spaceOfEntry[entry]
            if let space, model.spaces[space]?.entries.contains(where: { $0.ref == entry }) == true,
                !model.isGone(space, now), !model.list(space, now).contains(where: { $0.ref == entry })
            {
                return (actor, .ping)
            }
            return (space.flatMap { member(of: $0, model) } ?? actor, .removeEntry(entry))
        case 970..<980:
            let all = sessions[chance(3, 4) ? actor : self.actor()] ?? []
            return (actor, .deleteSession(chance(1, 10) ? .absent(4) : one(all.suffix(6)) ?? .absent(4)))
        default: return (actor, .odd(one(Oddity.allCases)!))
        }
    }

    // MARK: Of what

    private mutating func key(_ model: ReferenceModel) -> Ref {
        if chance(1, 40) { return .absent(1) }
        if chance(1, 2), let space = one(spaces), let key = one(model.spaces[space]?.keys ?? []) { return key }
        return one(keys.suffix(chance(1, 2) ? 8 : 60)) ?? .absent(1)
    }
    private mutating func space(_ model: ReferenceModel) -> Ref {
        chance(1, 60) ? .absent(2) : one(spaces) ?? .absent(2)
    }

    private func mayBind(_ user: Int, _ space: Ref, _ model: ReferenceModel) -> Bool {
        model.entry(.user(user), on: space, now) != nil
    }

    /// Somebody who has it, or is on the list of its space or of one inside.
    private mutating func reader(of key: Ref, _ model: ReferenceModel) -> Actor? {
        guard let space = model.keys[key]?.space else { return model.keys[key].map { .user($0.owner) } }
        let entries = model.list(space, now)
        if chance(1, 2), let inner = one(entries.compactMap { $0.identity?.spaceRef }) {
            return member(of: inner, model)
        }
        if chance(1, 4), let holder = one(entries.filter { $0.identity == nil }) { return .holder(holder.ref) }
        return member(of: space, model)
    }

    /// Somebody who may change the list.
    private mutating func manager(of space: Ref, _ model: ReferenceModel) -> Actor? {
        let managers = (0..<Self.people).filter { user in
            model.mayManage(
                .init(actor: .user(user), user: user, device: "", isOfficer: false, step: -1), space, now)
        }
        return one(managers).map { .user($0) }
    }

    /// Somebody on the list who may act.
    private mutating func member(of space: Ref, _ model: ReferenceModel) -> Actor? {
        let members = model.list(space, now).compactMap { entry -> Int? in
            if case .user(let number, _) = entry.identity { return number }
            return nil
        }
        return one(members).map { .user($0) }
    }

    private mutating func identity(_ model: ReferenceModel) -> Identity {
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<60: .user(person(), isUpperCase: chance(1, 8))
        case 60..<68: .stranger(Int.random(in: 1...3, using: &random))
        case 68..<92: .space(space(model), isUpperCase: chance(1, 8))
        case 92..<97: .everybody
        case 97: .foreignSpace
        default: .key(key(model))
        }
    }

    private mutating func keysOfSpace(_ model: ReferenceModel) -> Request {
        let space = space(model)
        let dates = (model.spaces[space]?.keys ?? []).map { model.bound(of: $0) }
        func moment(_ generator: inout OperationGenerator) -> Timestamp? {
            guard generator.chance(1, 3), let date = generator.one(dates) else { return nil }
            return date.adding(milliseconds: Int64.random(in: -1...1, using: &generator.random))
        }
        let from = moment(&self)
        let before = moment(&self)
        return .retrieveKeys(
            space, from: from, before: before, count: chance(1, 3) ? Int.random(in: 0...4, using: &random) : nil)
    }

    private mutating func newSpace(_ model: ReferenceModel, _ actor: Actor) -> Request {
        let live = spaces.filter { !model.isGone($0, now) }
        if live.count >= Self.spaceLimit, let space = one(live) { return .deleteSpace(space) }
        var chosen: [Ref] = []
        if case .user(let user) = actor, chance(5, 6) {
            let own = keys.suffix(60).filter { model.keys[$0]?.owner == user && model.keys[$0]?.space == nil }
            chosen = Array(own.suffix(Int.random(in: 0...3, using: &random)))
        } else {
            chosen = [key(model)]
        }
        let ids = (0..<Int.random(in: 0...3, using: &random)).map { _ in identity(model) }
        let ttl: Int64? = chance(1, 5) ? one([0, 1, 30, 3600, 86_400]) : nil
        let unnamed = chance(1, 8) ? one([1, 2, 21, -1])! : 0
        return .createSpace(keys: chosen, ids: ids, ttl: ttl, unnamed: unnamed)
    }

    private mutating func authorize(_ space: Ref, _ model: ReferenceModel) -> Request {
        let ids = (0..<(chance(1, 30) ? 0 : Int.random(in: 1...3, using: &random))).map { _ in identity(model) }
        let role: Role? = chance(1, 12) ? .moderator : chance(1, 8) ? .guest : nil
        let held = model.spaces[space]?.entries.count(where: { $0.identity == nil }) ?? 0
        let unnamed = held < 6 && chance(1, 10) ? one([1, 1, 2, 21])! : 0
        return .authorize(space, ids, role: role, unnamed: unnamed, details: chance(5, 6))
    }

    // MARK: What came of it

    private mutating func note(_ act: Step.Act, _ id: Int, _ model: ReferenceModel) {
        if spaces.count > 24 { spaces.removeFirst() }
        if keys.count > 400 { keys.removeFirst(200) }
        if entries.count > 400 { entries.removeFirst(200) }
        if holders.count > 400 { holders.removeFirst(200) }
        if asked.count > 400 { asked.removeFirst(200) }
        if removed.count > 100 { removed.removeFirst(50) }
        switch act {
        case .open(let actor, _):
            sessions[actor] = (sessions[actor] ?? []).suffix(12) + [Ref(step: id)]
        case .deliver(let step):
            if let index = asked.firstIndex(where: { $0.step == step }) { asked[index].isDelivered = true }
        case .ask(let session, let request, _, _, let isWithheld):
            if case .odd(let odd) = request, odd.isMalformed { return }
            asked.append((id, session, request, !isWithheld))
        case .restart, .sweep: break
        }
    }

    /// Takes note of what a step made or took away, by the model as it stands after it.
    mutating func learn(_ step: Step, before: ReferenceModel.Space?, _ model: ReferenceModel) {
        let id: Int
        switch step.act {
        case .ask: id = step.id
        case .deliver(let earlier): id = earlier
        default: return
        }
        var index = 0
        while index < 3, model.keys[Ref(step: id, index: index)] != nil, !keys.contains(Ref(step: id, index: index)) {
            keys.append(Ref(step: id, index: index))
            index += 1
        }
        let made = Ref(step: id)
        if model.spaces[made] != nil, !spaces.contains(made), !model.isGone(made, now) { spaces.append(made) }
        index = 0
        while let space = model.spaceOfEntry[Ref(step: id, index: index)] {
            let ref = Ref(step: id, index: index)
            index += 1
            guard !entries.contains(ref) else { continue }
            entries.append(ref)
            if model.spaces[space]?.entries.first(where: { $0.ref == ref })?.identity == nil { holders.append(ref) }
        }
        guard let before, case .ask(_, let request, _, _, _) = step.act, let space = request.shrinking,
            let key = one(before.keys)
        else { return }
        let after = Set(model.list(space, now).map(\.ref))
        for entry in before.entries where !after.contains(entry.ref) {
            switch entry.identity {
            case .user(let number, _): removed.append((.user(number), key))
            case nil: removed.append((.holder(entry.ref), key))
            case .space(let inner, _):
                if case .user(let number) = member(of: inner, model) { removed.append((.user(number), key)) }
            default: break
            }
        }
    }
}

extension Request {
    /// The space whose list it makes shorter.
    var shrinking: Ref? {
        switch self {
        case .remove(let space, _, _), .deleteSpace(let space): space
        default: nil
        }
    }
}

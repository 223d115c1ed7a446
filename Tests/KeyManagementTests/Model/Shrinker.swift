/// Makes a failing sequence shorter by leaving steps out, as long as it still fails in the same way.
enum Shrinker {
    static func report(
        _ steps: [Step], seed: UInt64, policy: ReferenceModel.Policy = .init(), failure: any Error, runs: Int = 100
    ) async -> String {
        let short = await shrink(steps, policy: policy, runs: runs)
        let shown = short.suffix(60)
        return """
            seed \(seed), step \(steps.count - 1): \(failure)
            again: HDS_SEED=\(seed); the shortest sequence found has \(short.count) of \(steps.count) steps:
            \(shown.map(\.description).joined(separator: "\n"))
            """
    }

    /// - Parameter budget: how many runs are spent on it.
    static func shrink(_ steps: [Step], policy: ReferenceModel.Policy, runs budget: Int) async -> [Step] {
        // What failed is seldom far from what caused it: the end of a long history first.
        var best = steps
        for length in [300, 1500, 6000] where length < steps.count {
            let end = Array(steps.suffix(length))
            guard await fails(end, policy) else { continue }
            best = end
            break
        }
        guard best.count <= 6000 else { return best }
        let close = related(best)
        if await fails(close, policy) { best = close }
        var runs = 0
        var size = max(1, best.count / 2)
        while runs < budget {
            var start = 0
            var isShorter = false
            while start < best.count - 1, runs < budget {
                // The last step stays: it is the one that fails.
                let end = min(start + size, best.count - 1)
                let candidate = Array(best[..<start] + best[end...])
                runs += 1
                if await fails(candidate, policy) {
                    best = candidate
                    isShorter = true
                } else {
                    start = end
                }
            }
            if size == 1 && !isShorter { break }
            size = max(1, size / 2)
        }
        return best
    }

    /// What made the things that the last step speaks of, and what changed them; most of a history is about others.
    private static func related(_ steps: [Step]) -> [Step] {
        guard let last = steps.last else { return [] }
        let byID = Dictionary(uniqueKeysWithValues: steps.map { ($0.id, $0) })
        func refs(_ step: Step) -> Set<Ref> {
            switch step.act {
            case .open(.holder(let entry), _): [entry]
            case .ask(let session, let request, _, _, _): Set([session] + request.refs)
            case .deliver(let earlier): (byID[earlier].map(refs) ?? []).union([Ref(step: earlier)])
            case .open, .restart, .sweep: []
            }
        }
        var kept: Set<Int> = [last.id]
        var wanted = refs(last)
        var makers = Set(wanted.map(\.step))
        var count = 0
        while kept.count > count {
            count = kept.count
            for step in steps where !kept.contains(step.id) {
                var isRelated = makers.contains(step.id)
                if case .ask(_, let request, _, _, _) = step.act {
                    isRelated = isRelated || !wanted.isDisjoint(with: request.changed)
                }
                guard isRelated else { continue }
                kept.insert(step.id)
                wanted.formUnion(refs(step))
                makers.formUnion(refs(step).map(\.step))
                // What it made may have been changed before it is spoken of.
                wanted.insert(Ref(step: step.id))
            }
        }
        return steps.filter { kept.contains($0.id) }
    }

    private static func fails(_ steps: [Step], _ policy: ReferenceModel.Policy) async -> Bool {
        guard let run = try? await ModelRun(policy: policy) else { return false }
        for step in steps {
            do {
                try await run.take(step)
            } catch {
                return step.id == steps.last?.id
            }
        }
        return false
    }
}

extension Request {
    /// Everything that it names.
    fileprivate var refs: [Ref] {
        switch self {
        case .ping, .createKeys, .odd: []
        case .retrieveKey(let ref), .bindKeyAbroad(let ref), .retrieveSpace(let ref), .deleteSpace(let ref),
            .removeEntry(let ref), .deleteSession(let ref), .retrieveKeys(let ref, _, _, _):
            [ref]
        case .bindKey(let key, let space): [key, space]
        case .createSpace(let keys, let ids, _, _): keys + ids.compactMap(\.spaceRef)
        case .authorize(let space, let ids, _, _, _), .remove(let space, let ids, _):
            [space] + ids.compactMap(\.spaceRef)
        case .list(let space, let only): [space] + [only].compactMap { $0?.spaceRef }
        }
    }

    /// The keys and the space that it changes.
    fileprivate var changed: [Ref] {
        switch self {
        case .bindKey(let key, let space): [key, space]
        case .createSpace(let keys, _, _, _): keys
        case .authorize(let space, _, _, _, _): [space]
        default: shrinking.map { [$0] } ?? []
        }
    }
}

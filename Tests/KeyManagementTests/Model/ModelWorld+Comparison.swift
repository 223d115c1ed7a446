@testable import KMSClient
import KMSProtocol
import SecretMemory
import WireText

// Each answer against what the model says; names that the KMS gave are learned on the way.
extension ModelWorld {
    func compare(_ answer: KMSAnswer, _ prediction: ReferenceModel.Prediction, _ model: ReferenceModel) throws {
        switch prediction {
        case .refused(let statuses):
            guard statuses.contains(answer.status) else {
                throw Difference(
                    "expected \(statuses.sorted()), came \(answer.status) \(answer.reason ?? "") \(answer.body)")
            }
            guard answer.reason?.isEmpty == false else { throw Difference("a refusal without a reason") }
            guard case .none = answer.body else { throw Difference("a refusal with content: \(answer.body)") }
        case .granted(let status, let content):
            guard answer.status == status else {
                throw Difference("expected \(status) \(content), came \(answer.status) \(answer.reason ?? "")")
            }
            try compare(answer.body, content, model)
        }
    }

    private func compare(
        _ body: KMSAnswer.Body, _ content: ReferenceModel.Content, _ model: ReferenceModel
    ) throws {
        switch (content, body) {
        case (.nothing, .none): break
        case (.newKeys(let refs), .keys(let keys)):
            try require(refs.count == keys.count, "\(refs.count) keys", "\(keys.count)")
            for (ref, key) in zip(refs, keys) {
                keyURIs[ref] = key.uri
                try compare(key, ref, model)
            }
            try require(Set(keys.map(\.uri)).count == keys.count, "URIs of their own", "one twice")
        case (.key(let ref), .key(let key)): try compare(key, ref, model)
        case (.keys(let refs, let limit), .keys(let keys)):
            try require(keys.count == limit, "\(limit) keys", "\(keys.count)")
            let byURI = Dictionary(uniqueKeysWithValues: refs.map { (key($0), $0) })
            for (ref, key) in zip(refs, keys) {
                guard let named = byURI[key.uri] else { throw Difference("a key that is not asked for: \(key.uri)") }
                // Of one moment: any order.
                try require(
                    model.bound(of: ref) == model.bound(of: named), "\(ref) of \(model.bound(of: ref))", "\(named)")
                try compare(key, named, model)
            }
            try require(Set(keys.map(\.uri)).count == keys.count, "each key once", "one twice")
        case (.space(let ref, let holders, let isNew), .resource(let space)):
            try require(holders.isEmpty, "\(holders.count) holders", "none")
            try compare(space, ref, isNew, model)
        case (.space(let ref, let holders, let isNew), .resourceWithHolders(let space, let entries)):
            try learn(holders, entries, model)
            try compare(space, ref, isNew, model)
        case (.entries(let expected, let isOrdered), .authorizations(let entries)):
            try compare(entries, expected, isOrdered: isOrdered, model)
        case (.removed(let expected, let remaining), .removed(let entries)):
            try compare(entries, expected, isOrdered: true, model)
            for (entry, paths) in zip(entries, remaining) {
                let isRight = entry.remainingAccess.map { paths.contains($0) } ?? paths.isEmpty
                try require(isRight, "remaining access \(paths.sorted())", entry.remainingAccess ?? "none")
            }
        default: throw Difference("expected \(content), came \(body)")
        }
    }

    private func compare(_ key: KMSKey, _ ref: Ref, _ model: ReferenceModel) throws {
        guard let expected = model.keys[ref] else { throw Difference("a key that nobody made: \(key.uri)") }
        try require(key.uri == self.key(ref), self.key(ref), key.uri)
        if let known = keyOctets[ref] {
            try require(key.key.isEqual(to: known), "the octets of \(ref)", "others")
        } else {
            keyOctets[ref] = key.key
        }
        try require(key.userID == Self.users[expected.owner], "owner \(expected.owner)", key.userID)
        try require(key.clientID == expected.device, expected.device, key.clientID)
        try require(key.createDate == expected.created, "made \(expected.created)", "\(key.createDate)")
        try require(key.expirationDate == expected.expires, "until \(expected.expires)", "\(key.expirationDate)")
        try require(key.resourceURI == expected.space.map { space($0) }, "\(expected.space as Any)", "\(key)")
        try require(key.bindDate == expected.bound, "bound \(expected.bound as Any)", "\(key.bindDate as Any)")
    }

    private func compare(_ space: KMSResource, _ ref: Ref, _ isNew: Bool, _ model: ReferenceModel) throws {
        guard let expected = model.spaces[ref] else { throw Difference("a space that nobody made: \(space.uri)") }
        if isNew { spaceURIs[ref] = space.uri }
        try require(space.uri == self.space(ref), self.space(ref), space.uri)
        try require(space.expirationDate == expected.end, "end \(expected.end as Any)", "\(space)")
        try require(space.lastRemovalDate == expected.lastRemoval, "\(expected.lastRemoval as Any)", "\(space)")
        try require(space.keyURIs.count == expected.keys.count, "\(expected.keys.count) keys", "\(space.keyURIs)")
        try require(Set(space.keyURIs) == Set(expected.keys.map { key($0) }), "\(expected.keys)", "\(space.keyURIs)")
        let entries = model.list(ref, clock.now)
        try require(
            space.authorizationURIs.count == entries.count && Set(space.authorizationURIs).count == entries.count,
            "\(entries.count) entries", "\(space.authorizationURIs.count)")
        // Whose they are comes to light when the list is asked for; what is known has to be there.
        let known = entries.compactMap { entryURIs[$0.ref] }
        try require(Set(space.authorizationURIs).isSuperset(of: known), "\(known)", "\(space.authorizationURIs)")
    }

    private func compare(
        _ entries: [KMSAuthorization], _ expected: [ReferenceModel.Entry], isOrdered: Bool, _ model: ReferenceModel
    ) throws {
        try require(entries.count == expected.count, "\(expected.count) entries", "\(entries)")
        if isOrdered {
            for (entry, expected) in zip(entries, expected) { try compare(entry, expected, model) }
            return
        }
        // Members are known by their id, unnamed holders by their URI.
        for expected in expected {
            let found = entries.filter { entry in
                expected.identity.map { text($0) == entry.authID }
                    ?? (entryURIs[expected.ref].map { $0 == entry.uri } ?? false)
            }
            if found.isEmpty, expected.identity == nil, entryURIs[expected.ref] == nil { continue }
            try require(found.count == 1, "one entry of \(expected)", "\(entries)")
            try compare(found[0], expected, model)
        }
    }

    private func compare(
        _ entry: KMSAuthorization, _ expected: ReferenceModel.Entry, _ model: ReferenceModel
    ) throws {
        if let known = entryURIs[expected.ref] {
            try require(entry.uri == known, known, entry.uri)
        } else {
            try require(takenEntryURIs.insert(entry.uri).inserted, "a new entry", entry.uri)
            entryURIs[expected.ref] = entry.uri
        }
        if let bearer = entry.bearer {
            try require(expected.identity == nil, "no bearer for a member", "one")
            if bearers[expected.ref] == nil { bearers[expected.ref] = bearer }
        }
        try require(entry.authID == expected.identity.map { text($0) } ?? "", "\(expected)", "\(entry)")
        try require(entry.roleURI == expected.role?.rawValue, "role of \(expected)", entry.roleURI ?? "none")
        try require(entry.createDate == expected.created, "\(expected.created)", "\(entry)")
        let home = model.spaceOfEntry[expected.ref].map { space($0) }
        try require(entry.resourceURI == home, home ?? "-", entry.resourceURI)
    }

    private func learn(
        _ holders: [ReferenceModel.Entry], _ entries: [KMSAuthorization], _ model: ReferenceModel
    ) throws {
        try require(
            entries.allSatisfy { $0.bearer != nil && $0.authID.isEmpty }, "bearers without authId", "\(entries)")
        // Space names are learned after this.
        try require(entries.count == holders.count, "\(holders.count) holders", "\(entries.count)")
        for (holder, entry) in zip(holders, entries) {
            if entryURIs[holder.ref] == nil {
                try require(takenEntryURIs.insert(entry.uri).inserted, "a new entry", entry.uri)
                entryURIs[holder.ref] = entry.uri
            }
            try require(entryURIs[holder.ref] == entry.uri, entryURIs[holder.ref] ?? "-", entry.uri)
            if bearers[holder.ref] == nil { bearers[holder.ref] = entry.bearer }
        }
    }

    private func require(_ holds: Bool, _ expected: @autoclosure () -> String, _ found: @autoclosure () -> String)
        throws
    {
        if !holds { throw Difference("expected \(expected()), came \(found())") }
    }
}

package import WireText

/// What a whole reading of a directory means for the people who are kept of it. Pure.
///
/// Rules:
/// 1. Who is read and not kept has joined; who is kept and read otherwise has changed; who is kept and not read any more, or
///    is read as disabled, has left; who had left and is read as active has returned.
/// 2. A reading is believed about who joins, changes and returns. About leavers it is believed up to a limit: more of them at
///    once (a half-read directory, a wrong base or filter, a server that was set up anew) wait for somebody who says that it
///    is so (`hdsctl directory accept`). An empty reading is never believed while anybody active is kept.
/// 3. An acceptance counts for the very people that it names and for nobody else.
/// 4. Of two entries with one address the one that is kept already has it, else the first by its external name; the other is
///    left out and counted. A disabled entry that is new has no address that anybody else has: an old account beside the one
///    in use must not end that.
/// 5. Who is disabled at first sight counts as a leaver where an account outside the directory has his address: a wrong
///    attribute map must not end them all.
package struct DirectoryComparison: Sendable, Equatable {
    /// How many may leave in one round without a question.
    package struct Limit: Sendable, Equatable {
        /// Percent of those active.
        package var share: Int
        /// So many always may.
        package var least: Int

        package init(share: Int = 10, least: Int = 5) { (self.share, self.least) = (share, least) }

        package func allows(_ leavers: Int, of active: Int) -> Bool {
            leavers <= least || leavers * 100 <= active * share
        }
    }

    /// In the order of their external names; leavers that wait are not among them.
    package var changes: [DirectoryChange] = []
    /// Who would leave and waits for an acceptance, as he was.
    package var waiting: [Person] = []
    package var active = 0
    package var contested = 0

    /// - Parameters:
    ///   - accounts: addresses, in lower case, of accounts that are active and come from elsewhere.
    ///   - newID: gives a person his id at first sight.
    package static func compare(
        kept: [Person], with reading: DirectoryReading, of source: String, limit: Limit, accepted: Set<String> = [],
        accounts: Set<String> = [], at now: Timestamp, newID: (DirectoryEntry) -> String
    ) -> DirectoryComparison {
        var result = DirectoryComparison()
        let known = Dictionary(kept.map { ($0.external, $0) }) { first, _ in first }
        result.active = kept.count(where: \.isActive)
        var others = 0
        var addresses: [String: String] = [:]
        for person in kept.sorted(by: { $0.external < $1.external }) where person.isActive {
            addresses[person.email.lowercased()] = addresses[person.email.lowercased()] ?? person.external
        }
        let inUse = Set(reading.people.filter { !$0.isDisabled }.map { $0.email.lowercased() })
        var disabledAddresses: Set<String> = []
        var read: Set<String> = []
        var leavers: [(before: Person, after: Person)] = []
        for entry in reading.people.sorted(by: { $0.external < $1.external }) {
            guard read.insert(entry.external).inserted else { continue }
            let address = entry.email.lowercased()
            let before = known[entry.external]
            if !entry.isDisabled, let owner = addresses[address], owner != entry.external {
                result.contested += 1
                // A person who is kept stays as he is; who is new does not come in.
                continue
            }
            if !entry.isDisabled { addresses[address] = entry.external }
            guard let before else {
                if entry.isDisabled,
                    inUse.contains(address) || addresses[address] != nil
                        || !disabledAddresses.insert(address).inserted
                {
                    result.contested += 1
                    continue
                }
                // Somebody who is disabled at first sight is kept, so that the accounts file can not let him in.
                let person = Person(
                    source: source, external: entry.external, id: newID(entry), userName: entry.userName,
                    email: entry.email, name: entry.name, standing: entry.isDisabled ? .disabled : .active,
                    changed: now)
                if !person.isActive, accounts.contains(address) {
                    leavers.append((person, person))
                    others += 1
                } else {
                    result.changes.append(person.isActive ? .joined(person) : .left(person))
                }
                continue
            }
            let after = before.updated(by: entry, at: now)
            guard after != before else { continue }
            switch (before.isActive, after.isActive) {
            case (true, false): leavers.append((before, after))
            case (false, true): result.changes.append(.returned(after))
            default: result.changes.append(.changed(after))
            }
        }
        for person in kept.sorted(by: { $0.external < $1.external }) where !read.contains(person.external) {
            guard person.standing != .gone else { continue }
            var after = person
            (after.standing, after.changed) = (.gone, now)
            if person.isActive { leavers.append((person, after)) } else { result.changes.append(.changed(after)) }
        }
        let unasked = leavers.filter { !accepted.contains($0.before.external) }
        let isEmpty = reading.people.isEmpty && result.active > 0
        if unasked.isEmpty || (!isEmpty && limit.allows(unasked.count, of: result.active + others)) {
            result.changes += leavers.map { .left($0.after) }
        } else {
            result.changes += leavers.filter { accepted.contains($0.before.external) }.map { .left($0.after) }
            result.waiting = unasked.map(\.before)
        }
        return result
    }
}

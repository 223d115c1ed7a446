import DirectoryModel
import Testing
import WireText

@Suite("What a reading of a directory means")
struct DirectoryComparisonTests {
    private let now = Timestamp(seconds: 1_800_000_000)

    private func entry(_ number: Int, email: String? = nil, disabled: Bool = false) -> DirectoryEntry {
        DirectoryEntry(
            external: "entry-\(number)", userName: "user\(number)", email: email ?? "user\(number)@example.com",
            name: "User \(number)", isDisabled: disabled)
    }

    private func kept(_ number: Int, _ standing: Person.Standing = .active) -> Person {
        Person(
            source: "ldap:test", external: "entry-\(number)", id: "id-\(number)", userName: "user\(number)",
            email: "user\(number)@example.com", name: "User \(number)", standing: standing,
            changed: Timestamp(seconds: 1))
    }

    private func compare(
        _ kept: [Person], _ entries: [DirectoryEntry], accepted: Set<String> = [], accounts: Set<String> = []
    ) -> DirectoryComparison {
        .compare(
            kept: kept, with: DirectoryReading(people: entries), of: "ldap:test", limit: .init(share: 10, least: 2),
            accepted: accepted, accounts: accounts, at: now, newID: { "new-" + $0.external })
    }

    @Test("who is new joins, who is gone or disabled leaves, who is back returns, and the rest is left alone")
    func changes() {
        let result = compare(
            [kept(1), kept(2), kept(3), kept(4, .gone), kept(5)],
            [entry(1), entry(3, disabled: true), entry(4), entry(5, email: "other@example.com"), entry(6)])
        let said = result.changes.map { change in
            switch change {
            case .joined(let person): "joined \(person.id)"
            case .changed(let person): "changed \(person.id) \(person.email)"
            case .left(let person): "left \(person.id) \(person.standing)"
            case .returned(let person): "returned \(person.id)"
            }
        }
        #expect(
            said.sorted() == [
                "changed id-5 other@example.com", "joined new-entry-6", "left id-2 gone", "left id-3 disabled",
                "returned id-4",
            ])
        #expect(result.waiting.isEmpty && result.active == 4)
    }

    @Test("an empty reading ends nobody, not even the only one")
    func empty() {
        for count in 1...3 {
            let result = compare((1...count).map { kept($0) }, [])
            #expect(result.changes.isEmpty && result.waiting.count == count)
        }
        #expect(compare([kept(1, .gone)], []).waiting.isEmpty)
    }

    @Test("more leavers than the share wait for an acceptance, and everything else goes on")
    func limit() {
        let people = (1...40).map { kept($0) }
        let four = compare(people, (5...40).map { entry($0) })
        #expect(four.changes.count == 4 && four.waiting.isEmpty, "a tenth")
        let five = compare(people, (6...41).map { entry($0) })
        #expect(five.waiting.map(\.id) == ["id-1", "id-2", "id-3", "id-4", "id-5"])
        #expect(five.changes.count == 1, "somebody joined all the same")
    }

    @Test("an acceptance counts for those whom it names, and for nobody who leaves besides")
    func acceptance() {
        let people = (1...20).map { kept($0) }
        let accepted = Set((1...10).map { "entry-\($0)" })
        #expect(compare(people, (11...20).map { entry($0) }, accepted: accepted).changes.count == 10)
        let more = compare(people, [], accepted: accepted)
        #expect(more.changes.count == 10 && more.waiting.count == 10)
    }

    @Test("of two entries with one address the one that is kept has it")
    func contested() {
        let result = compare([kept(2)], [entry(1, email: "USER2@example.com"), entry(2)])
        #expect(result.changes.isEmpty && result.contested == 1)
        let fresh = compare([], [entry(2, email: "a@example.com"), entry(1, email: "A@example.com")])
        #expect(fresh.changes.map(\.person.external) == ["entry-1"] && fresh.contested == 1)
    }

    @Test("an old, disabled entry beside the one in use does not end that, whichever comes first")
    func oldAccount() {
        for (old, new) in [(1, 2), (2, 1)] {
            let entries = [entry(old, email: "a@example.com", disabled: true), entry(new, email: "A@example.com")]
            let first = compare([], entries, accounts: ["a@example.com"])
            #expect(first.changes.map(\.person.external) == ["entry-\(new)"] && first.contested == 1)
            #expect(first.waiting.isEmpty)
            let again = compare([first.changes[0].person], entries, accounts: ["a@example.com"])
            #expect(again.changes.isEmpty && again.waiting.isEmpty)
        }
        let two = compare(
            [], [entry(1, email: "a@example.com", disabled: true), entry(2, email: "a@example.com", disabled: true)])
        #expect(two.changes.count == 1 && two.contested == 1)
    }

    @Test("a wrong attribute map at the first reading does not end the accounts that are there already")
    func firstReading() {
        let entries = (1...30).map { entry($0, disabled: true) }
        let result = compare([], entries, accounts: Set((1...10).map { "user\($0)@example.com" }))
        #expect(result.waiting.count == 10)
        #expect(result.changes.count == 20, "the others have no account, and are kept as disabled")
    }
}

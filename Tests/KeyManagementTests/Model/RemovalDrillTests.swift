import KMSProtocol
import KeyManagement
import KeyStoreSQLite
import MasterKey
import SecretMemory
import TestServers
import Testing
import WireText

/// Eight clients on two nodes of one SQLite file: removals race with reads. Whatever a read finds, one that was started
/// after the acknowledgement of a removal is refused, on either node, and one that nothing disturbs is answered.
@Suite("Removal drill", .serialized)
struct RemovalDrillTests {
    /// What stands about one person and one key. `epoch` rises with each change: a read that saw the same mark before it
    /// was sent and after it was answered was disturbed by nothing.
    private struct Mark: Sendable, Equatable {
        enum Standing: Sendable { case allowed, refused, changing }
        var standing: Standing
        var epoch: Int
    }

    private struct Seen: Sendable {
        var marks: [String: Mark] = [:]
        var keys: [String] = []
        var octets: [String: SymmetricKey] = [:]
        var undisturbed: [Mark.Standing: Int] = [:]
        var violations: [String] = []
        var isOver = false
    }

    private final class Drill: Sendable {
        let nodes: [TestKMS]
        let boards: [FreezeBoard]
        let people: [[TestClient]]
        let seen = Shared(Seen())
        private let folder: TemporaryFolder

        init() async throws {
            folder = TemporaryFolder()
            let store = try SQLiteKeyStore(path: folder.path + "/keys.db")
            let kek = try KeyEncryptionKey.create()
            let clock = TestClock(Timestamp.now())
            var boards: [FreezeBoard] = []
            var nodes: [TestKMS] = []
            var policy = TestKMS.testPolicy()
            policy.requestsPerUserAndMinute = 1_000_000_000
            policy.requestsPerDeviceAndMinute = 1_000_000_000
            policy.deletionsPerUserAndHour = 1_000_000
            for _ in 0..<2 {
                let ring = try await SealRing.open(kek: kek, store: store, now: clock.now)
                let board = try await FreezeBoard(store: store, vault: RecordVault(ring: ring, store: store))
                boards.append(board)
                nodes.append(
                    try await TestKMS.start(store: store, kek: kek, policy: policy, freezes: board, clock: clock))
            }
            var people: [[TestClient]] = []
            for number in 0..<8 {
                // One session, used at both nodes; each node has its own memory of it.
                let client = try await TestClient.open(nodes[number % 2], ModelPeople.user(number))
                people.append(
                    nodes.map {
                        TestClient(
                            kms: $0, user: client.user, session: client.session, key: client.key, token: client.token)
                    })
            }
            (self.boards, self.nodes, self.people) = (boards, nodes, people)
        }

        private static func pair(_ person: Int, _ key: String) -> String { "\(person) \(key)" }

        func mark(_ people: some Sequence<Int>, _ keys: [String], _ standing: Mark.Standing) {
            seen.withLock { seen in
                for person in people {
                    for key in keys {
                        let epoch = seen.marks[Self.pair(person, key)]?.epoch ?? 0
                        seen.marks[Self.pair(person, key)] = Mark(standing: standing, epoch: epoch + 1)
                    }
                }
            }
        }

        /// Changes something, and marks before it is sent and after it was acknowledged.
        func change(
            _ people: some Sequence<Int>, _ keys: [String], to standing: Mark.Standing, _ status: Int,
            _ send: () async throws -> Int
        ) async throws {
            mark(people, keys, .changing)
            var found = 429
            while found == 429 { found = try await send() }
            #expect(found == status)
            mark(people, keys, standing)
        }

        /// One read of one person at one node, held against the marks.
        func read(_ person: Int, _ key: String, node: Int) async throws {
            let before = seen.withLock { $0.marks[Self.pair(person, key)] }
            let answer = try await people[person][node].ask("retrieve", key)
            seen.withLock { seen in
                if case .key(let content) = answer.body {
                    if let known = seen.octets[key] {
                        if !content.key.isEqual(to: known) { seen.violations.append("\(key) has two values") }
                    } else {
                        seen.octets[key] = content.key
                    }
                }
                guard let before, before == seen.marks[Self.pair(person, key)] else { return }
                seen.undisturbed[before.standing, default: 0] += 1
                switch (before.standing, answer.status) {
                case (.refused, 403), (.refused, 404), (.allowed, 200), (.changing, _): break
                default:
                    seen.violations.append(
                        "person \(person) at node \(node), \(before.standing): \(answer.status) for \(key)")
                }
            }
        }

        /// Everybody reads everything that there is, over and over, at either node; some bind keys meanwhile.
        func keepReading(_ person: Int, space: String, seed: UInt64) async throws {
            var random = SeededGenerator(seed: seed &+ UInt64(person))
            while !seen.withLock({ $0.isOver }) {
                let node = Int.random(in: 0...1, using: &random)
                if Int.random(in: 0..<20, using: &random) == 0 {
                    let client = people[person][node]
                    guard let key = try await client.createKeys(1).first else { continue }
                    _ = try await client.ask("update", key.uri) { $0.member("resourceUri", space) }
                } else if let key = seen.withLock({ $0.keys.randomElement(using: &random) }) {
                    try await read(person, key, node: node)
                }
            }
        }
    }

    @Test("after a removal was acknowledged no key of that space goes to that user, on any node")
    func drill() async throws {
        let seed = UInt64.random(in: .min ... .max)
        let drill = try await Drill()
        let owner = drill.people[0]
        let keys = try await owner[0].createKeys(3)
        let uris = keys.map(\.uri)
        let names = (0..<8).map(ModelPeople.user)
        let space = try await owner[0].createSpace(keys, with: Array(names[1...4]))
        let team = try await owner[1].createSpace([], with: Array(names[5...7]))
        #expect(try await owner[1].add([team.uri], to: space.uri).status == 201)
        drill.mark(0..<8, uris, .allowed)
        drill.seen.withLock { $0.keys = uris }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for person in 1..<8 {
                group.addTask { try await drill.keepReading(person, space: space.uri, seed: seed) }
            }
            group.addTask {
                defer { drill.seen.withLock { $0.isOver = true } }
                for round in 0..<60 {
                    try await Self.round(round, drill, space: space.uri, team: team.uri, uris)
                }
            }
            try await group.waitForAll()
        }
        drill.seen.withLock { seen in
            #expect(seen.violations.isEmpty, "seed \(seed)")
            let (refused, allowed) = (seen.undisturbed[.refused, default: 0], seen.undisturbed[.allowed, default: 0])
            print("removal drill: \(refused) undisturbed reads refused, \(allowed) answered")
            #expect(refused > 300 && allowed > 300)
            #expect(seen.octets.count > uris.count)
        }
    }

    /// One way of taking access away and giving it back; whoever is concerned reads at both nodes in between.
    private static func round(
        _ round: Int, _ drill: Drill, space: String, team: String, _ keys: [String]
    ) async throws {
        let owner = drill.people[0][round % 2]
        let name = ModelPeople.user
        func everywhere(_ people: some Sequence<Int>, _ keys: [String]) async throws {
            for person in people {
                for key in keys { for node in 0...1 { try await drill.read(person, key, node: node) } }
            }
        }
        switch round % 6 {
        case 0:
            let person = 1 + round / 6 % 4
            try await drill.change([person], keys, to: .refused, 200) {
                try await owner.remove(name(person), from: space).status
            }
            try await everywhere([person], keys)
            try await drill.change([person], keys, to: .allowed, 201) {
                try await owner.add([name(person)], to: space).status
            }
            try await everywhere([person], keys)
        case 1:
            let person = 5 + round / 6 % 3
            try await drill.change([person], keys, to: .refused, 200) {
                try await owner.remove(name(person), from: team).status
            }
            try await everywhere([person], keys)
            try await drill.change([person], keys, to: .allowed, 201) {
                try await owner.add([name(person)], to: team).status
            }
        case 2:
            try await drill.change(5...7, keys, to: .refused, 200) { try await owner.remove(team, from: space).status }
            try await everywhere(5...7, keys)
            try await drill.change(5...7, keys, to: .allowed, 201) { try await owner.add([team], to: space).status }
        case 3:
            try await drill.change(1...4, keys, to: .refused, 200) {
                try await owner.ask("delete", space + "/authorizations") {
                    $0.member("authIds", (1...4).map(name))
                }.status
            }
            try await everywhere(1...4, keys)
            try await drill.change(1...4, keys, to: .allowed, 201) {
                try await owner.add((1...4).map(name), to: space).status
            }
        case 4:
            let freeze = Freeze(
                scope: .space(String(space.suffix(36))), reason: "drill", orderedBy: "officer",
                since: owner.kms.clock.now)
            try await drill.change(0..<8, keys, to: .refused, 0) {
                try await drill.boards[round / 6 % 2].order(freeze)
                for board in drill.boards { try await board.refresh() }
                return 0
            }
            try await everywhere(0..<8, keys)
            try await drill.change(0..<8, keys, to: .allowed, 0) {
                _ = try await drill.boards[0].lift(freeze.id)
                for board in drill.boards { try await board.refresh() }
                return 0
            }
        default:
            let fresh = try await owner.createKeys(1)
            let short = try await owner.createSpace(fresh, with: [name(1), name(2), team])
            let uris = fresh.map(\.uri)
            let readers = [0, 1, 2, 5, 6, 7]
            drill.mark(readers, uris, .allowed)
            drill.seen.withLock { $0.keys += uris }
            try await everywhere(readers, uris)
            try await drill.change(readers, uris, to: .refused, 200) {
                try await owner.ask("delete", short.uri).status
            }
            try await everywhere(readers, uris)
        }
    }
}

/// The people of the drills.
enum ModelPeople {
    static func user(_ number: Int) -> String { "d2111000-0000-4000-8000-00000000000\(number)" }
}

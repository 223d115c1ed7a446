import TestServers
import Diagnostics
import Synchronization
import Testing
import WireText

@testable import CloudCore

@Suite("Store of the core")
struct CloudStoreTests {
    static let alice = UserKey(organisation: "acme", user: "aaaaaaaa-0000-4000-8000-000000000001")
    static let bob = UserKey(organisation: "acme", user: "bbbbbbbb-0000-4000-8000-000000000002")
    static let eve = UserKey(organisation: "other", user: alice.user)
    static let now = Timestamp(milliseconds: 1_700_000_000_000)
    static let key = "kms://kms.acme.example.com/keys/31f0a1b2-0000-4000-8000-0123456789ab"
    let folder = TemporaryFolder()

    private var path: String { folder.path + "/core.sqlite" }

    private func register(_ user: UserKey, _ email: String, in store: CloudStore) async throws -> String {
        let id = UUIDText.random()
        try await store.register(
            DeviceRecord(id: id, owner: user, name: "laptop", type: "DESKTOP", created: Self.now), email: email,
            name: "Name of \(email)")
        return id
    }

    private func open() async throws -> CloudStore {
        let store = try CloudStore(path: path)
        for (user, email) in [
            (Self.alice, "alice@acme.example.com"), (Self.bob, "bob@acme.example.com"),
            (Self.eve, "eve@other.example.com"),
        ] {
            _ = try await register(user, email, in: store)
        }
        return store
    }

    private func conversation(
        _ store: CloudStore, by creator: UserKey = alice, with others: [String] = [bob.user], tempID: String? = nil
    ) async throws -> ConversationRecord {
        try await store.create(
            .init(
                id: UUIDText.random(), creator: creator, displayName: "opaque", encryptionKeyURL: Self.key,
                others: others, clientTempID: tempID), kmsAnswer: "wrapped", now: Self.now
        ).0
    }

    private func draft(
        _ verb: Verb, in conversation: String, by actor: UserKey = alice, person: String? = nil, key: String? = nil,
        files: [String] = [], tempID: String? = nil
    ) -> ActivityDraft {
        ActivityDraft(
            conversation: conversation, actor: actor, verb: verb, person: person, encryptionKeyURL: key, files: files,
            objectJSON: "{}", clientTempID: tempID)
    }

    private func append(
        _ draft: ActivityDraft, to store: CloudStore, answer: String? = nil
    ) async throws -> (AppendOutcome, readers: [String]) {
        let readers = Mutex<[String]>([])
        let outcome = try await store.append(draft, id: UUIDText.random(), url: "u", kmsAnswer: answer, now: Self.now) {
            _, who in readers.withLock { $0 = who.map(\.user) }
        }
        return (outcome, readers.withLock { $0 })
    }

    @Test("the store proves that what it acknowledges is on the disk")
    func durability() async throws {
        let store = try await open()
        try await store.check()
        #expect(folder.names(in: "").contains("core.sqlite-wal"))
    }

    @Test("everything is there after a restart, also one without a good-bye")
    func restart() async throws {
        let id: String
        let device: String
        do {
            let store = try await open()
            device = try await register(Self.alice, "alice@acme.example.com", in: store)
            id = try await conversation(store).id
            _ = try await append(draft(.post, in: id, key: Self.key, tempID: "t1"), to: store)
            try await store.setDetails("{\"a\":1}", of: "kms://kms.acme.example.com", now: Self.now)
            try await store.createFile("f", owner: Self.alice, now: Self.now)
            try await store.completeFile("f", size: 12)
        }
        let again = try CloudStore(path: path)
        #expect(try await again.conversation(id, for: Self.bob).participants == [Self.alice.user, Self.bob.user])
        #expect(try await again.activities(in: id, for: Self.bob, since: 0, limit: 10).items.count == 1)
        #expect(try await again.details(of: "kms://kms.acme.example.com") == "{\"a\":1}")
        #expect(try await again.device(device)?.owner == Self.alice)
        #expect(try await again.fileForDownload("f", by: Self.alice).size == 12)
        #expect(try await again.user(organisation: "acme", email: "BOB@acme.example.com")?.id == Self.bob.user)
    }

    @Test("a user of another organisation with the same id sees nothing")
    func organisations() async throws {
        let store = try await open()
        let id = try await conversation(store).id
        await #expect(throws: Refusal.self) { try await store.conversation(id, for: Self.eve) }
        #expect(try await store.conversations(of: Self.eve).isEmpty)
        await #expect(throws: Refusal.self) { try await append(draft(.post, in: id, by: Self.eve), to: store) }
        #expect(try await store.user(organisation: "other", email: "bob@acme.example.com") == nil)
        try await store.createFile("f", owner: Self.alice, now: Self.now)
        try await store.completeFile("f", size: 1)
        await #expect(throws: Refusal.self) { try await store.fileForDownload("f", by: Self.eve) }
    }

    @Test("an address that moves to another account is found under the new one only")
    func movedAddress() async throws {
        let store = try await open()
        let new = UserKey(organisation: "acme", user: UUIDText.random())
        _ = try await register(new, "Alice@Acme.Example.com", in: store)
        #expect(try await store.user(organisation: "acme", email: "alice@acme.example.com")?.id == new.user)
        #expect(try await store.user(Self.alice)?.email == "")
    }

    @Test("the same clientTempId stores one activity and gives its author the first answer again")
    func duplicates() async throws {
        let store = try await open()
        let id = try await conversation(store).id
        let first = draft(.updateKey, in: id, key: Self.key, tempID: "t")
        guard case .stored(let stored) = try await append(first, to: store, answer: "A1").0 else {
            Issue.record("not stored")
            return
        }
        #expect(try await append(first, to: store, answer: "A2").0 == .duplicate(stored))
        #expect(stored.kmsAnswer == "A1")
        #expect(try await store.prepare(first) == stored)
        let other = try await append(draft(.updateKey, in: id, by: Self.bob, key: Self.key, tempID: "t"), to: store).0
        guard case .stored = other else {
            Issue.record("another user's id is another activity")
            return
        }
        #expect(try await store.activities(in: id, for: Self.alice, since: 0, limit: 10).items.count == 2)
    }

    @Test("the same clientTempId creates one conversation")
    func duplicateConversation() async throws {
        let store = try await open()
        let first = try await conversation(store, tempID: "t")
        #expect(try await conversation(store, tempID: "t").id == first.id)
        #expect(try await store.createdConversation(by: Self.alice, clientTempID: "t")?.0.id == first.id)
        #expect(try await store.createdConversation(by: Self.bob, clientTempID: "t") == nil)
        #expect(try await store.conversations(of: Self.alice).count == 1)
    }

    @Test("members see what happens, leavers their own leaving and nothing after it")
    func membership() async throws {
        let store = try await open()
        let id = try await conversation(store, with: []).id
        await #expect(throws: Refusal(.notFound, "there is no such conversation, or it is not yours")) {
            try await store.conversation(id, for: Self.bob)
        }
        #expect(
            try await append(draft(.add, in: id, person: Self.bob.user), to: store).readers == [
                Self.alice.user, Self.bob.user,
            ])
        #expect(try await store.conversation(id, for: Self.bob).participants == [Self.alice.user, Self.bob.user])
        #expect(
            try await append(draft(.leave, in: id, person: Self.bob.user), to: store).readers == [
                Self.alice.user, Self.bob.user,
            ])
        await #expect(throws: Refusal(.forbidden, "you have left this conversation")) {
            try await store.conversation(id, for: Self.bob)
        }
        #expect(try await append(draft(.post, in: id), to: store).readers == [Self.alice.user])
        _ = try await append(draft(.leave, in: id, person: Self.bob.user), to: store)
        _ = try await append(draft(.add, in: id, person: Self.bob.user), to: store)
        #expect(try await store.activities(in: id, for: Self.bob, since: 2, limit: 2).items.count == 2)
        #expect(try await store.activities(in: id, for: Self.bob, since: 2, limit: 2).next == 4)
        #expect(try await store.activities(in: id, for: Self.bob, since: 5, limit: 2).next == 5)
        await #expect(throws: Refusal.self) {
            try await append(draft(.leave, in: id, person: UUIDText.random()), to: store)
        }
        await #expect(throws: Refusal.self) {
            try await append(draft(.add, in: id, person: UUIDText.random()), to: store)
        }
        await #expect(throws: Refusal.self) {
            try await append(draft(.add, in: id, person: Self.eve.user + "x"), to: store)
        }
    }

    @Test("sequence numbers have no gaps and no doubles under many writers, and commits are told in their order")
    func sequences() async throws {
        let store = try await open()
        let id = try await conversation(store).id
        let told = Told()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<50 {
                let draft = draft(.post, in: id, key: Self.key, tempID: "t\(number % 40)")
                group.addTask {
                    _ = try await store.append(draft, id: UUIDText.random(), url: "u", kmsAnswer: nil, now: Self.now) {
                        json, _ in
                        let sequence = (try? JSONDocument(text: json))?.root["sequence"]?.integer ?? 0
                        told.append(sequence)
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(told.sequences == Array(1...40))
        #expect(try await store.conversation(id, for: Self.alice).lastSequence == 40)
    }

    @Test("a page of activities is bounded in octets, and the next one goes on behind it")
    func pages() async throws {
        let store = try await open()
        let id = try await conversation(store).id
        for _ in 0..<6 {
            var large = draft(.post, in: id, key: Self.key)
            large.objectJSON = "{\"displayName\":\"\(String(repeating: "x", count: 1 << 20))\"}"
            _ = try await append(large, to: store)
        }
        let first = try await store.activities(in: id, for: Self.alice, since: 0, limit: 500)
        #expect(first.items.count == 4 && first.next == 4)
        let second = try await store.activities(in: id, for: Self.alice, since: first.next, limit: 500)
        #expect(second.items.count == 2 && second.next == 6)
    }

    @Test("the resource object is named once, by the creator")
    func resource() async throws {
        let store = try await open()
        let id = try await conversation(store).id
        await #expect(throws: Refusal(.forbidden, "only the creator of a conversation names its resource object")) {
            try await store.setResource("r1", of: id, by: Self.bob, now: .now())
        }
        #expect(try await store.setResource("r1", of: id, by: Self.alice, now: .now()).resourceURL == "r1")
        #expect(try await store.setResource("r1", of: id, by: Self.bob, now: .now()).resourceURL == "r1")
        await #expect(throws: Refusal(.conflict, "this conversation has another resource object")) {
            try await store.setResource("r2", of: id, by: Self.alice, now: .now())
        }
    }

    @Test("a file is read by its owner and by those it was shared with, for as long as they take part")
    func files() async throws {
        let store = try await open()
        let id = try await conversation(store).id
        try await store.createFile("f", owner: Self.alice, now: Self.now)
        await #expect(throws: Refusal.self) { try await store.fileForUpload("f", by: Self.bob) }
        await #expect(throws: Refusal.self) { try await store.fileForDownload("f", by: Self.alice) }
        await #expect(throws: Refusal.self) {
            try await append(draft(.share, in: id, key: Self.key, files: ["f"]), to: store)
        }
        try await store.completeFile("f", size: 3)
        await #expect(throws: Refusal.self) { try await store.completeFile("f", size: 4) }
        await #expect(throws: Refusal.self) { try await store.fileForDownload("f", by: Self.bob) }
        await #expect(throws: Refusal.self) {
            try await append(draft(.share, in: id, by: Self.bob, key: Self.key, files: ["f"]), to: store)
        }
        _ = try await append(draft(.share, in: id, key: Self.key, files: ["f"]), to: store)
        #expect(try await store.fileForDownload("f", by: Self.bob).size == 3)
        await #expect(throws: Refusal(.forbidden, "only the owner of a file uploads it")) {
            try await store.fileForUpload("f", by: Self.bob)
        }
        _ = try await append(draft(.leave, in: id, person: Self.bob.user), to: store)
        await #expect(throws: Refusal.self) { try await store.fileForDownload("f", by: Self.bob) }
    }

    @Test("a user without a device, and devices without end, are refused")
    func devices() async throws {
        let store = try await open()
        let stranger = UserKey(organisation: "acme", user: UUIDText.random())
        await #expect(throws: Refusal(.forbidden, "register a device first")) {
            try await conversation(store, by: stranger)
        }
        await #expect(throws: Refusal(.forbidden, "register a device first")) {
            try await store.createFile("x", owner: stranger, now: Self.now)
        }
        for _ in 1..<CloudStore.maximumDevicesPerUser {
            _ = try await register(Self.bob, "bob@acme.example.com", in: store)
        }
        await #expect(throws: Refusal.self) { try await register(Self.bob, "bob@acme.example.com", in: store) }
        let one = try #require(try await store.devices(of: Self.bob).first)
        try await store.deleteDevice(one.id)
        #expect(try await store.device(one.id) == nil)
        _ = try await register(Self.bob, "bob@acme.example.com", in: store)
    }

    @Test("wrapped answers are forgotten after a time")
    func answers() async throws {
        let store = try await open()
        let id = try await conversation(store, tempID: "c").id
        let draft = draft(.updateKey, in: id, key: Self.key, tempID: "t")
        _ = try await append(draft, to: store, answer: "A")
        try await store.forgetAnswers(before: Self.now)
        #expect(try await store.prepare(draft)?.kmsAnswer == "A")
        try await store.forgetAnswers(before: Self.now.adding(milliseconds: 1))
        #expect(try await store.prepare(draft)?.kmsAnswer == nil)
        let created = try #require(try await store.createdConversation(by: Self.alice, clientTempID: "c"))
        #expect(created.kmsAnswer == nil)
    }

    @Test("a path that can not be opened is an error with what to do")
    func unusable() {
        #expect(throws: DiagnosedError(.storeUnusable, fault: .store, "")) {
            try CloudStore(path: "/proc/nowhere/core.sqlite")
        }
    }
}

/// What was told, in order.
private final class Told: Sendable {
    private let state = Mutex<[Int64]>([])
    var sequences: [Int64] { state.withLock { $0 } }
    func append(_ sequence: Int64) { state.withLock { $0.append(sequence) } }
}

import Cryptography
import Diagnostics
import PolicyFiles
import SignedPolicy
import TestServers
import Testing
import WireText

@Suite("The policy in force")
struct PolicyHolderTests {
    private let cast: Cast
    private let store = SeenStore()

    init() throws { cast = try Cast() }

    private func signed(
        version: Int = 1, organisation: String = "example-org", _ lines: String = ""
    ) throws -> String {
        try SignedPolicyText.sign(
            try Cast.canonical(version: version, organisation: organisation, lines), with: cast.ada.key)
    }

    private func code(_ holder: PolicyHolder, _ text: String, now: Timestamp = Cast.noon) async
        -> DiagnosedError.Code?
    {
        await Cast.error { try await holder.load(text: text, officers: cast.roster, now: now) }?.code
    }

    @Test("before anything is loaded nothing is allowed")
    func atFirst() async throws {
        let holder = store.holder()
        #expect(holder.current == Policy.none(organisation: "example-org"))
        try await holder.loadNothing()
        #expect(store.seen == nil)
    }

    @Test("a new version takes the place of the old one at once and is written down before")
    func loads() async throws {
        let holder = store.holder()
        let first = try await holder.load(text: signed(), officers: cast.roster, now: Cast.noon)
        #expect(first.isNew && first.signers.map(\.id) == ["ada"] && first.previous.version == 0)
        let second = try await holder.load(
            text: signed(version: 7, "agents: [{user: zoe}]"), officers: cast.roster, now: Cast.noon)
        #expect(second.widens && second.previous.version == 1)
        #expect(holder.current.version == 7 && holder.current.agents.map(\.user) == ["zoe"])
        #expect(store.seen == .init(version: 7, digest: holder.current.digest))
    }

    @Test("the same file again is no decision, neither in the same run nor after a restart")
    func again() async throws {
        let text = try signed(version: 3, "agents: [{user: zoe}]")
        let holder = store.holder()
        #expect(try await holder.load(text: text, officers: cast.roster, now: Cast.noon).widens)
        #expect(try await !holder.load(text: text, officers: cast.roster, now: Cast.noon).isNew)
        let restarted = store.holder()
        let outcome = try await restarted.load(text: text, officers: cast.roster, now: Cast.noon)
        #expect(!outcome.isNew && !outcome.widens && restarted.current.version == 3)
    }

    @Test("an older version never comes back, not even after a restart, and the newer one stays")
    func rollback() async throws {
        let holder = store.holder()
        _ = try await holder.load(text: signed(version: 5), officers: cast.roster, now: Cast.noon)
        #expect(await code(holder, try signed(version: 4)) == .policyRollback)
        #expect(holder.current.version == 5)
        let restarted = store.holder()
        #expect(await code(restarted, try signed(version: 4)) == .policyRollback)
        #expect(restarted.current.version == 0)
    }

    @Test("another policy of the same version is refused")
    func sameVersion() async throws {
        let holder = store.holder()
        _ = try await holder.load(text: signed(version: 5), officers: cast.roster, now: Cast.noon)
        #expect(await code(holder, try signed(version: 5, "agents: [{user: eve}]")) == .policyRollback)
        #expect(holder.current.agents.isEmpty)
    }

    @Test("a policy that once was in force can not be taken away by removing its file")
    func removedFile() async throws {
        _ = try await store.holder().load(text: signed(), officers: cast.roster, now: Cast.noon)
        let restarted = store.holder()
        #expect(await Cast.error { try await restarted.loadNothing() }?.code == .policyMissing)
        #expect(
            await Cast.error {
                try await restarted.load(file: "/nowhere/policy.signed", officers: cast.roster, now: Cast.noon)
            }?.code == .policyUnreadable)
    }

    @Test("what is for others, from the future, unsigned or too little signed changes nothing")
    func refused() async throws {
        let holder = store.holder(signaturesNeeded: 2)
        let payload = try Cast.canonical()
        let ada = try SignedPolicyText.sign(payload, with: cast.ada.key)
        let bob = try SignedPolicyText.sign(payload, with: cast.bob.key)
        _ = try await holder.load(text: ada + bob, officers: cast.roster, now: Cast.noon)
        let before = holder.current
        #expect(await code(holder, try signed(version: 2)) == .policySignaturesMissing)
        let foreign = try Cast.canonical(version: 2, organisation: "other-org")
        let both = try [cast.ada.key, cast.bob.key].map { try SignedPolicyText.sign(foreign, with: $0) }.joined()
        #expect(await code(holder, both) == .policyOrganisation)
        let early = Timestamp(iso8601: "2027-01-15T08:54:59Z")!
        let next = try Cast.canonical(version: 2)
        let good = try [cast.ada.key, cast.bob.key].map { try SignedPolicyText.sign(next, with: $0) }.joined()
        #expect(await code(holder, good, now: early) == .policyNotYetValid)
        #expect(await code(holder, "version: 2") == .policySignature)
        #expect(holder.current == before && store.seen?.version == 1)
        #expect(await code(holder, good) == nil)
    }

    @Test("a version that can not be read or written down is not taken")
    func brokenStore() async throws {
        let holder = store.holder()
        _ = try await holder.load(text: signed(), officers: cast.roster, now: Cast.noon)
        store.breakDown()
        let error = await Cast.error {
            try await holder.load(text: try signed(version: 2), officers: cast.roster, now: Cast.noon)
        }
        #expect(error?.fault == .store && holder.current.version == 1)
        store.breakDown(false)
        #expect(await code(holder, try signed(version: 2)) == nil)
        #expect(holder.current.version == 2)
    }

    @Test("loads that come together end with the highest version, in force and written down", arguments: 0..<5)
    func together(round: Int) async throws {
        let holder = store.holder()
        let texts = try (1...12).map { try signed(version: $0) }.shuffled()
        let roster = cast.roster
        await withTaskGroup { group in
            for text in texts {
                group.addTask { _ = try? await holder.load(text: text, officers: roster, now: Cast.noon) }
            }
        }
        #expect(holder.current.version == 12)
        #expect(store.seen == .init(version: 12, digest: holder.current.digest))
    }

    @Test("a signed file on the disk is read, a folder is not")
    func files() async throws {
        let folder = TemporaryFolder()
        let path = folder.path + "/policy.signed"
        try OwnFile.write(Array(try signed(version: 9).utf8), toNew: path)
        let holder = store.holder()
        #expect(try await holder.load(file: path, officers: cast.roster, now: Cast.noon).current.version == 9)
        #expect(
            await Cast.error {
                try await holder.load(file: folder.path, officers: cast.roster, now: Cast.noon)
            }?.code == .policyUnreadable)
    }
}

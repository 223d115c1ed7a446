import Cryptography
import Encryption
import JOSEEncryption
import KMSProtocol
import KeyStore
import MasterKey
import SecretMemory
import Synchronization
import Testing
import WireText

@testable import KeyManagement

/// What lies between KMSs, as hostile as a test wants it.
final class TestNetwork: FederationCarrier {
    enum Mode: Sendable {
        case up, away, silent
        /// Asks and gives back something else.
        case changing(@Sendable ([UInt8]) throws -> [UInt8])
    }
    struct Passed: Sendable {
        let host: String
        let text: [UInt8]
        let answer: [UInt8]?
        var isOpening: Bool { text.count(where: { $0 == UInt8(ascii: ".") }) == 2 }
    }
    private struct State {
        var kms: [String: TestKMS] = [:]
        var mode = Mode.up
        var passed: [Passed] = []
    }
    private let state = Mutex(State())

    func connect(_ kms: TestKMS) { state.withLock { $0.kms[kms.names.host] = kms } }
    func set(_ mode: Mode) { state.withLock { $0.mode = mode } }
    var passed: [Passed] { state.withLock { $0.passed } }
    var openings: Int { passed.count(where: \.isOpening) }

    func send(
        _ text: [UInt8], to host: String, within milliseconds: Int64
    ) async throws(FederationCarrierFailure) -> [UInt8] {
        let (kms, mode) = state.withLock { ($0.kms[host], $0.mode) }
        var reply: [UInt8]?
        defer { state.withLock { $0.passed.append(Passed(host: host, text: text, answer: reply)) } }
        #expect(milliseconds > 0 && milliseconds <= FederationClient.patience)
        switch mode {
        case .away: throw .away("switched off by the test")
        case .silent: throw .timeout
        case .up, .changing: break
        }
        guard let kms, case .answer(let answer) = await kms.handler.reply(to: text, source: "service/b/n1") else {
            throw .timeout
        }
        reply = answer
        guard case .changing(let change) = mode else { return answer }
        guard let changed = try? change(answer) else { throw .timeout }
        return changed
    }
}

/// What the KMSs told their administrators.
final class TestObserver: Sendable {
    let contested = Shared<[String]>([])
    let partners = Shared<[String]>([])
    var observer: FederationObserver {
        FederationObserver(
            contested: { [contested] user, sides in
                contested.withLock { $0.append("\(user) " + sides.joined(separator: ",")) }
            },
            partner: { [partners] host, problem in
                partners.withLock { $0.append(host + (problem == nil ? " back" : " away")) }
            })
    }
}

/// Three organisations with a KMS each: A holds, B and C ask.
final class FederationWorld: Sendable {
    enum Host {
        static let a = "kms.a.example.com"
        static let b = "kms.b.example.org"
        static let c = "kms.c.example.net"
    }

    let network = TestNetwork()
    let observer = TestObserver()
    let clock = TestClock(Timestamp.now())
    /// Milliseconds by which the asking side's clock is ahead.
    let skew = Shared<Int64>(0)
    let a: TestKMS
    let b: TestKMS
    let c: TestKMS
    let storeOfA: any KeyStore
    let kekOfA: KeyEncryptionKey
    /// How B asks.
    var clientOfB: FederationClient { get throws { try #require(b.handler.federation).client } }

    static func identity(_ host: String) throws -> TestIdentity {
        try identities.withLock { made in
            if let known = made[host] { return known }
            let fresh = try TestIdentity.make(commonName: host, names: "DNS:\(host)")
            made[host] = fresh
            return fresh
        }
    }
    private static let identities = Mutex<[String: TestIdentity]>([:])

    /// The partner as everybody has it, by its pinned key.
    static func partner(
        _ host: String, mayAskUs: Bool = true, weMayAsk: Bool = true, users: Set<String>? = [People.bob],
        assertions: (any BearerVerifier)? = nil, allowsNested: Bool = false, cacheSeconds: Int64 = 0
    ) throws -> FederationPartner {
        FederationPartner(
            trust: try FederationTrust(host: host, roots: [], pins: [identity(host).chain[0].spkiSHA256]),
            organisation: host, mayAskUs: mayAskUs, weMayAsk: weMayAsk, users: users, assertions: assertions,
            allowsNested: allowsNested, cacheSeconds: cacheSeconds)
    }

    /// - Parameters:
    ///   - atA: A's partners; nil for both by their lists: Bob is of B, Dan of C.
    ///   - atB: B's partners.
    static func make(
        atA: [FederationPartner]? = nil, atB: [FederationPartner]? = nil, ownUsersOfA: Set<String> = [],
        policy: KMSPolicy = TestKMS.testPolicy()
    ) async throws -> FederationWorld {
        // Before the clock is read: a certificate of the next second is not valid yet.
        for host in [Host.a, Host.b, Host.c] { _ = try identity(host) }
        return try await FederationWorld(
            atA: atA ?? [partner(Host.b), partner(Host.c, users: [People.dan])], atB: atB ?? [partner(Host.a)],
            ownUsersOfA: ownUsersOfA, policy: policy)
    }

    private init(
        atA: [FederationPartner], atB: [FederationPartner], ownUsersOfA: Set<String>, policy: KMSPolicy
    ) async throws {
        let (network, observer, clock, skew) = (network, observer, clock, skew)
        storeOfA = MemoryKeyStore()
        kekOfA = try KeyEncryptionKey.create()
        a = try await Self.start(
            Host.a, atA, network, observer, clock, ownUsers: ownUsersOfA, policy: policy, store: storeOfA, kek: kekOfA)
        b = try await Self.start(Host.b, atB, network, observer, clock, skew: skew)
        c = try await Self.start(Host.c, [Self.partner(Host.a)], network, observer, clock)
    }

    private static func start(
        _ host: String, _ partners: [FederationPartner], _ network: TestNetwork, _ observer: TestObserver,
        _ clock: TestClock, ownUsers: Set<String> = [], policy: KMSPolicy = TestKMS.testPolicy(),
        skew: Shared<Int64> = Shared(0), store: (any KeyStore)? = nil, kek: KeyEncryptionKey? = nil
    ) async throws -> TestKMS {
        let kms = try await TestKMS.start(
            store: store, kek: kek, policy: policy, identity: identity(host), host: host, clock: clock
        ) { own, clock in
            let client = FederationClient(
                own: StaticKeysInForce([own]), carrier: network, observer: observer.observer,
                clock: { clock.now.adding(milliseconds: skew.value) })
            return Federation(
                partners: partners, ownUsers: ownUsers, client: client, observer: observer.observer)
        }
        network.connect(kms)
        return kms
    }

    /// A again, on its store, with another configuration.
    func restartA(_ partners: [FederationPartner], ownUsers: Set<String> = []) async throws -> TestKMS {
        try await Self.start(
            Host.a, partners, network, observer, clock, ownUsers: ownUsers, store: storeOfA, kek: kekOfA)
    }

    /// Alice's space at A with a key in it.
    func space(with users: [String] = [People.bob]) async throws -> (alice: TestClient, key: KMSKey, space: KMSResource)
    {
        let alice = try await TestClient.open(a, People.alice)
        let key = try await alice.createKeys()[0]
        let space = try await alice.createSpace([key], with: users)
        return (alice, key, space)
    }

    /// A session with A as the KMS of that host has it, to ask what its real KMS would not.
    func raw(_ kms: TestKMS, at asked: TestKMS? = nil) async throws -> RawPartner {
        let asked = asked ?? a
        let opening = try FederationOpening(from: kms.staticKey, to: asked.names.host, at: clock.now)
        guard case .answer(let reply) = await asked.handler.reply(to: opening.text, source: "service") else {
            throw TestKMS.Unexpected(reply: "no answer")
        }
        let trust = try Self.partner(asked.names.host).trust
        let agreed = try opening.finish(reply, trust: trust, at: clock.now)
        return RawPartner(kms: asked, session: agreed.uri, key: agreed.key)
    }
}

/// Another KMS's session, driven by hand.
struct RawPartner: Sendable {
    let kms: TestKMS
    let session: String
    let key: SymmetricKey

    func ask(
        _ uri: String, for user: String, method: String = "retrieve", bearer: String = "", onBehalfOf: String? = nil,
        _ members: (inout JSONWriter) -> Void = { _ in }
    ) async throws -> KMSAnswer {
        let client = TestClient(kms: kms, user: user, session: session, key: key, token: bearer)
        return try await client.send(
            client.wrapped(method, uri, token: bearer, onBehalfOf: onBehalfOf, members))
    }

    func status(_ uri: String, for user: String, bearer: String = "") async throws -> Int {
        try await ask(uri, for: user, bearer: bearer).status
    }
}

extension KMSAnswer {
    var key: KMSKey? { if case .key(let key) = body { key } else { nil } }
    var keys: [KMSKey] { if case .keys(let keys) = body { keys } else { [] } }
    var resource: KMSResource? { if case .resource(let resource) = body { resource } else { nil } }
    var authorizations: [KMSAuthorization] { if case .authorizations(let list) = body { list } else { [] } }
}

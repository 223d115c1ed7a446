import Cryptography
import Diagnostics
import JOSESignature
@testable import KMSClient
import KMSProtocol
@testable import KeyManagement
import KeyStore
import KeyStoreSQLite
import MasterKey
import SecretMemory
import TestServers
import Testing
import WireText

/// The KMS under test as clients see it: two nodes on one SQLite file, asked with wrapped strings by the client's own
/// code; and the names that the KMS gave to what the steps made.
final class ModelWorld {
    /// Where model and KMS differ, in words.
    struct Difference: Error, CustomStringConvertible {
        let description: String
        init(_ description: String) { self.description = description }
    }

    struct Device {
        let session: KMSClientSession
        let credential: KMSCredential
    }

    /// A string on its way, and what became of it.
    struct Sent {
        let session: Ref
        let request: Request
        let claim: Claim
        let id: String
        let operation: KMSWrappedRequest?
        let text: [UInt8]
        let counter: Int64?
        let time: Timestamp
        var answer: (octets: [UInt8], status: Int)?
    }

    static let users = (0..<7).map { "a11ce000-0000-4000-8000-00000000000\($0)" }
    static let start = Timestamp(seconds: 1_900_000_000)

    let folder: TemporaryFolder
    let store: SQLiteKeyStore
    let kek: KeyEncryptionKey
    let clock: TestClock
    var nodes: [TestKMS] = []
    var devices: [Ref: Device] = [:]
    var sent: [Int: Sent] = [:]
    var keyURIs: [Ref: String] = [:]
    var keyOctets: [Ref: SymmetricKey] = [:]
    var spaceURIs: [Ref: String] = [:]
    var entryURIs: [Ref: String] = [:]
    var takenEntryURIs: Set<String> = []
    var bearers: [Ref: String] = [:]

    static func make() async throws -> ModelWorld {
        let folder = TemporaryFolder()
        let store = try SQLiteKeyStore(path: folder.path + "/keys.db")
        let world = try ModelWorld(folder, store)
        for _ in 0..<2 { world.nodes.append(try await world.node()) }
        return world
    }

    private init(_ folder: TemporaryFolder, _ store: SQLiteKeyStore) throws {
        self.folder = folder
        self.store = store
        kek = try KeyEncryptionKey.create()
        clock = TestClock(Self.start)
    }

    /// A node as it comes up: nothing of what another one has in memory.
    func node() async throws -> TestKMS {
        var policy = TestKMS.testPolicy()
        policy.anonymousLife = ReferenceModel.Policy().holderLife
        policy.sessionsPerUser = 1_000_000
        policy.requestsPerUserAndMinute = 1_000_000_000
        policy.requestsPerDeviceAndMinute = 1_000_000_000
        policy.deletionsPerUserAndHour = 1_000_000_000
        return try await TestKMS.start(
            store: store, kek: kek, policy: policy,
            signed: try TestPolicy.make(
                #""agents": [{"user": "\#(Self.users[0])"}]"#, #""publicAuthorizations": true"#), clock: clock)
    }

    func sweep() async throws {
        try await store.purgeExpired(now: clock.now)
        let management = nodes[0].handler.keyManagement
        _ = try await Tombstones(store: store, vault: management.vault, policy: management.policy)
            .erase(now: clock.now)
    }

    // MARK: Names

    private func absent(_ ref: Ref) -> String {
        func digits(_ number: Int) -> String {
            let text = String(abs(number), radix: 16)
            return String(repeating: "0", count: max(0, 6 - text.count)) + text
        }
        return "0bad0000-0000-4000-8000-\(digits(ref.step))\(digits(ref.index))"
    }
    private func name(_ kind: String, _ ref: Ref, _ known: [Ref: String], _ spelling: Int) -> String {
        spelled(known[ref] ?? "kms://\(TestKMS.host)/\(kind)/\(absent(ref))", spelling)
    }
    /// 0: as answers write it; 1: a path; 2: the host in capitals.
    private func spelled(_ uri: String, _ spelling: Int) -> String {
        let path = uri.dropFirst("kms://\(TestKMS.host)".count)
        return spelling == 1 ? String(path) : spelling == 2 ? "kms://\(TestKMS.host.uppercased())\(path)" : uri
    }
    func key(_ ref: Ref, _ spelling: Int = 0) -> String { name("keys", ref, keyURIs, spelling) }
    func space(_ ref: Ref, _ spelling: Int = 0) -> String { name("resources", ref, spaceURIs, spelling) }
    func entry(_ ref: Ref, _ spelling: Int = 0) -> String { name("authorizations", ref, entryURIs, spelling) }
    func session(_ ref: Ref, _ spelling: Int = 0) -> String {
        name("ecdhe", ref, devices.mapValues { $0.session.uri }, spelling)
    }

    func text(_ identity: Identity) -> String {
        switch identity {
        case .user(let number, let isUpperCase):
            isUpperCase ? Self.users[number].uppercased() : Self.users[number]
        case .stranger(let number): "57400000-0000-4000-8000-00000000000\(number)"
        case .space(let ref, let isUpperCase): space(ref, isUpperCase ? 2 : 0)
        case .everybody: "/public"
        case .foreignSpace: "kms://kms.other.example.org/resources/00000000-0000-4000-8000-000000000000"
        case .key(let ref): key(ref)
        }
    }

    // MARK: Sessions

    static func device(_ actor: Actor, isCounted: Bool) -> String {
        switch actor {
        case .user(let number): "https://wdm.cloud.example/devices/\(number)-\(isCounted ? "hds" : "other")"
        case .holder(let ref): "https://wdm.cloud.example/devices/holder-\(ref)"
        }
    }

    /// Opens a session by the client's code; its status.
    func open(_ actor: Actor, isCounted: Bool, step: Int, node: Int) async throws -> Int {
        let kms = nodes[node]
        let (user, bearer) =
            switch actor {
            case .user(let number): (Self.users[number], TestTokens.token(Self.users[number]))
            case .holder(let ref): (entry(ref), bearers[ref] ?? "eyJ.none.at-all")
            }
        let credential = KMSCredential(
            clientID: Self.device(actor, isCounted: isCounted), userID: user, bearer: .init(bearer))
        let verified = VerifiedStaticKey(
            kid: kms.staticKey.kid, host: TestKMS.host, publicKey: kms.staticPublicKey, path: kms.staticKey.chain,
            machineAccountID: "m")
        let opening = try SessionOpening(to: verified, as: credential, at: clock.now)
        let answer = try kms.openSigned(await kms.handler.reply(to: Array(opening.text.utf8), source: "\(actor)"))
        if answer.status == 201 {
            devices[Ref(step: step)] = Device(
                session: try opening.finish(answer, at: clock.now), credential: credential)
        }
        return answer.status
    }

    // MARK: Requests

    /// Wraps a request; false when its session was never opened.
    func wrap(
        _ request: Request, _ claim: Claim, session ref: Ref, isCounted: Bool, spelling: Int, step: Int
    ) throws -> Bool {
        guard let device = devices[ref] else { return false }
        var credential = device.credential
        switch claim {
        case .oneself: break
        case .onBehalfOf(let user): credential.onBehalfOf = Self.users[user]
        case .foreignUserID(let user): credential.userID = Self.users[user]
        }
        var wrapped: KMSWrappedRequest?
        var id = UUIDText.random()
        let counter: Int64?
        let text: [UInt8]
        if isCounted, spelling == 0, let operation = operation(request) {
            let request = try device.session.wrap(operation, as: credential, at: clock.now)
            (wrapped, id, counter) = (request, request.id, request.counter)
            text = Array(request.text.utf8)
        } else {
            // What the client has no word for, with a counter of the same row.
            counter = isCounted ? try device.session.wrap(.ping, as: credential, at: clock.now).counter : nil
            text = try raw(request, credential, device, id: id, counter: counter, spelling: spelling)
        }
        sent[step] = Sent(
            session: ref, request: request, claim: claim, id: id, operation: wrapped, text: text, counter: counter,
            time: clock.now)
        return true
    }
}

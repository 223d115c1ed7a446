import Cryptography
import Diagnostics
import Foundation
import JOSESignature
import Synchronization
import Testing
import TokenIssuer
import WireText

/// A folder of mode 0700 that is gone with the value.
final class TemporaryFolder: Sendable {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.path + "/hds-auth-\(UUIDText.random())"
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    func write(_ text: String, to name: String, mode: Int = 0o600) throws -> String {
        let path = file(name)
        try text.write(toFile: path, atomically: false, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
        return path
    }

    func text(_ name: String) throws -> String { try String(contentsOfFile: file(name), encoding: .utf8) }

    func mode(_ name: String) throws -> Int {
        try #require(FileManager.default.attributesOfItem(atPath: file(name))[.posixPermissions] as? Int)
    }

    func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
}

/// SplitMix64: the same numbers for the same seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

enum Repository {
    static func text(_ path: String) throws -> String {
        let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..")
        return try String(contentsOf: root.appending(path: path), encoding: .utf8)
    }
}

extension DiagnosedError {
    /// For `#expect(throws:)`: equality of diagnosed errors is on the code.
    static func coded(_ code: Code) -> DiagnosedError { DiagnosedError(code, fault: .internal, "") }
}

/// A clock that moves when a test says so.
final class TestClock: Sendable {
    private let instant: Mutex<Timestamp>

    init(_ start: Timestamp = Timestamp(seconds: 1_800_000_000)) { instant = Mutex(start) }

    var now: Timestamp { instant.withLock { $0 } }
    func advance(seconds: Int64) { instant.withLock { $0 = $0.adding(seconds: seconds) } }
}

/// Keeps every record as one line of text with all its fields.
final class RecordedEvents: EventRecorder {
    private let records = Mutex<[(event: Event, text: String)]>([])

    func isRecorded(_ severity: Severity) -> Bool { true }
    func write(_ event: Event, _ fields: LogFields) {
        let text = fields.entries.map { "\($0.field.name)=\($0.value.text)" }.joined(separator: " ")
        records.withLock { $0.append((event, event.message.text(fields) + " " + text)) }
    }

    var lines: [String] { records.withLock { $0.map(\.text) } }
    func count(of event: Event) -> Int { records.withLock { $0.count { $0.event == event } } }
}

/// Accounts, settings and a service in a folder of its own, with a clock and no sockets.
struct TestWorld {
    static let issuer = "https://auth.example.com:8443"
    static let alicePassword = "correct horse battery"
    static let bobPassword = "tr0ub4dor & three"
    static let serviceSecret = "service-secret-of-the-kms"

    // scrypt with ln=10: a hundredth of the work of the hashes that the program makes.
    static let aliceHash = "scrypt$ln=10,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$hKGWL22WtdGfIbxEPAZ06BS2bWyYKuZIKvypfAlYOWk"
    static let bobHash = "scrypt$ln=10,r=8,p=1$AQIDBAUGBwgJCgsMDQ4PEA$v0VVM43IC4ITWHT1DStciSLLu1w5nLhP8-XH6NP9UP4"
    static let serviceHash = "scrypt$ln=10,r=8,p=1$AgMEBQYHCAkKCwwNDg8QEQ$H4PWBHmbGC5NSNovRMRslUXDMHZBvMDtoEwwy3wa6Js"
    static let otherHash = "scrypt$ln=10,r=8,p=1$AwQFBgcICQoLDA0ODxAREg$iL3qAJsk4kAm0VhDqI2IkmzdqPVM-SB3yV-x1sgaQSA"

    static let alice = UserAccount(
        id: "5b1e3c4e-8f10-4c4c-9a3e-0a2c5f1d7b01", email: "alice@example.com", name: "Alice Example",
        organisation: "org-1", passwordHash: aliceHash)
    static let bob = UserAccount(
        id: "5b1e3c4e-8f10-4c4c-9a3e-0a2c5f1d7b02", email: "Bob@Example.com", name: "Bob <b>Example</b>",
        organisation: "org-1", passwordHash: bobHash)
    static let carol = UserAccount(
        id: "5b1e3c4e-8f10-4c4c-9a3e-0a2c5f1d7b03", email: "carol@example.com", name: "Carol", organisation: "org-1",
        passwordHash: otherHash, isDisabled: true)
    static let kms = ServiceAccount(
        id: "hds-kms", name: "KMS", organisation: "org-1", secretHash: serviceHash,
        audiences: [.cloud: ["link:kms", "link:status"]])
    static let web = ClientRegistration(
        id: "web-app", name: "Web <App>",
        redirects: [.exact(uri: "https://app.example.com/cb?x=1", origin: "https://app.example.com")],
        scopes: ["hds", "extra"])

    static var accounts: Accounts {
        Accounts(users: [alice, bob, carol], services: [kms], clients: [web])
    }

    static var settings: IssuerSettings {
        IssuerSettings(
            issuer: issuer, domain: "example.com", kmsCluster: "kms://kms.example.com",
            kmsRoots: ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
            core: "https://core.example.net")
    }

    let folder: TemporaryFolder
    let clock = TestClock()
    let events = RecordedEvents()
    let directory: AccountDirectory
    let service: AuthorizationService

    init(
        accounts: Accounts = TestWorld.accounts, settings: IssuerSettings = TestWorld.settings,
        passwords: PasswordCheck? = nil
    ) throws {
        try self.init(folder: TemporaryFolder(), directory: AccountDirectory(accounts), settings, passwords)
    }

    private init(
        folder: TemporaryFolder, directory: AccountDirectory, _ settings: IssuerSettings, _ passwords: PasswordCheck?
    ) throws {
        self.folder = folder
        self.directory = directory
        let clock = clock
        service = try AuthorizationService(
            settings: settings, accounts: directory, stateFolder: folder.path, events: events,
            surroundings: .init(now: { clock.now }), passwords: passwords ?? Self.quickPasswords())
    }

    /// The same folder in a new process, with what that process would find there.
    func restarted(accounts: Accounts = TestWorld.accounts, settings: IssuerSettings = TestWorld.settings) throws
        -> TestWorld
    {
        try TestWorld(folder: folder, directory: AccountDirectory(accounts), settings, nil)
    }

    /// Real scrypt, but no decoy of full cost to be made for every test.
    static func quickPasswords() throws -> PasswordCheck { try PasswordCheck(decoy: otherHash) }
}

extension TestWorld {
    /// The claims of a token, verified by who has nothing but the published key set.
    func claims(_ node: JSONNode?, audience: Audience? = nil) throws -> JSONNode {
        try claims(try #require(node?.string), audience: audience)
    }

    func claims(_ token: String, audience: Audience? = nil) throws -> JSONNode {
        let payload = try #require(token.split(separator: ".").dropFirst().first.flatMap { Base64URL.decode($0) })
        let named = try #require(JSONDocument(payload).root["aud"]?.string)
        let keys = try JWKSet(json: service.keySet())
        return try JWT.verify(
            token, keys: keys.verificationKey, allowing: [.es256], issuer: Self.issuer,
            audience: audience?.rawValue ?? named, now: clock.now, leeway: 0
        ).document.root
    }
}

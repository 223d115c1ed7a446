import Cryptography
import Diagnostics
import Foundation
import HTTPTypes
import OIDCRelyingParty
import Synchronization
import TestServers
import Testing
import TokenIssuer
import WireText

/// A clock that moves when a test says so; it starts at the present, for real providers live there.
final class TestClock: Sendable {
    private let offset = Mutex<Int64>(0)
    private let start: Timestamp?

    init(start: Timestamp? = nil) { self.start = start }

    var now: Timestamp { (start ?? Timestamp.now()).adding(seconds: offset.withLock { $0 }) }
    func advance(seconds: Int64) { offset.withLock { $0 += seconds } }
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

/// An authorization service with accounts and providers, without sockets of its own.
struct LoginWorld {
    static let issuer = "https://auth.example.com:8443"
    static let password = "correct horse battery"
    // scrypt with ln=10: a hundredth of the work of the hashes that the program makes.
    static let hash = "scrypt$ln=10,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$hKGWL22WtdGfIbxEPAZ06BS2bWyYKuZIKvypfAlYOWk"
    static let alice = UserAccount(
        id: "5b1e3c4e-8f10-4c4c-9a3e-0a2c5f1d7b01", email: "alice@example.com", name: "Alice Example",
        organisation: "org-1", passwordHash: nil)
    static let bob = UserAccount(
        id: "5b1e3c4e-8f10-4c4c-9a3e-0a2c5f1d7b02", email: "Bob@Example.com", name: "Bob Example",
        organisation: "org-1", passwordHash: hash)
    static let emergency = UserAccount(
        id: "5b1e3c4e-8f10-4c4c-9a3e-0a2c5f1d7b03", email: "emergency@example.com", name: "Emergency",
        organisation: "org-1", passwordHash: hash)
    static let outside = UserAccount(
        id: "5b1e3c4e-8f10-4c4c-9a3e-0a2c5f1d7b04", email: "carol@elsewhere.org", name: "Carol",
        organisation: "org-1", passwordHash: hash)

    let folder: TemporaryFolder
    let clock: TestClock
    let events = RecordedEvents()
    let directory: AccountDirectory
    let service: AuthorizationService

    init(
        users: [UserAccount] = [alice, bob, emergency, outside], providers: [IdentityProvider] = [],
        clock: TestClock = TestClock(), folder: TemporaryFolder = TemporaryFolder()
    ) throws {
        self.folder = folder
        self.clock = clock
        directory = AccountDirectory(Accounts(users: users))
        let settings = IssuerSettings(
            issuer: Self.issuer, domain: "example.com", kmsCluster: "kms://kms.example.com",
            kmsRoots: ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
            core: "https://core.example.net")
        service = try AuthorizationService(
            settings: settings, accounts: directory, providers: IdentityProviders(providers),
            stateFolder: folder.path, events: events, surroundings: .init(now: { clock.now }),
            passwords: try PasswordCheck(decoy: Self.hash))
    }

    static func provider(
        _ connection: IdentityProvider.Connection, name: String = "example",
        newAccounts: IdentityProvider.NewAccounts = .listed
    ) throws -> IdentityProvider {
        IdentityProvider(
            name: name, title: "Example ID", addresses: [try #require(AddressPattern("@example.com"))],
            exceptions: [try #require(AddressPattern("emergency@example.com"))], newAccounts: newAccounts,
            connection: connection)
    }
}

/// A browser with cookies for the service, and what a client does with what it brings.
final class Browser {
    static let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    static let redirect = "http://127.0.0.1:50123/callback"
    static let parameters: [(name: String, value: String)] = [
        ("response_type", "code"), ("client_id", "hds-cli"), ("redirect_uri", redirect),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"), ("code_challenge_method", "S256"),
        ("state", "st-1"),
    ]

    let world: LoginWorld
    private(set) var cookies: [String: String] = [:]

    init(_ world: LoginWorld) { self.world = world }

    func visitor(site: String = "same-origin") -> Visitor {
        Visitor(
            address: "192.0.2.1", cookie: cookies.map { "\($0.key)=\($0.value)" }.sorted().joined(separator: "; "),
            contentType: "application/x-www-form-urlencoded", fetchSite: site)
    }

    func keep(_ reply: Reply) -> Reply {
        if let text = reply.headers[.setCookie], let equals = text.firstIndex(of: "=") {
            cookies[String(text[..<equals])] = String(text[text.index(after: equals)...].prefix { $0 != ";" })
        }
        return reply
    }

    static func bytes(_ parameters: [(name: String, value: String)]) -> [UInt8] {
        Array(FormParameters.encode(parameters).utf8)
    }

    /// Opens the login page and sends it with these fields.
    func submit(_ fields: [(name: String, value: String)]) async -> Reply {
        let page = keep(world.service.openLogin(query: Self.bytes(Self.parameters), visitor: visitor()))
        let hidden = page.text.matches(of: /<input type="hidden" name="([^"]*)" value="([^"]*)">/).map {
            (name: String($0.1), value: String($0.2).unescaped)
        }
        return keep(await world.service.submitLogin(body: Self.bytes(hidden + fields), visitor: visitor()))
    }

    /// From the login page to the address of the provider.
    func passage(email: String = "alice@example.com") async throws -> String {
        let reply = await submit([("email", email)])
        try #require(reply.status == .ok, "\(reply.text)")
        return try #require(reply.text.firstMatch(of: /<a id="passage" href="([^"]*)">/).map { String($0.1).unescaped })
    }

    /// The tokens for the code in the answer.
    func tokens(_ reply: Reply) async throws -> JSONNode {
        let code = try #require(reply.parameters["code"], "\(reply.location ?? reply.text) \(world.events.lines)")
        let answer = await world.service.token(
            body: Self.bytes([
                ("grant_type", "authorization_code"), ("code", code), ("redirect_uri", Self.redirect),
                ("client_id", "hds-cli"), ("code_verifier", Self.verifier),
            ]), visitor: visitor())
        try #require(answer.status == .ok, "\(answer.text)")
        return try answer.json
    }

    func refresh(_ token: String) async -> Reply {
        await world.service.token(
            body: Self.bytes([
                ("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "hds-cli"),
            ]), visitor: visitor())
    }

    func revoke(_ token: String) async -> Reply {
        await world.service.revoke(
            body: Self.bytes([("token", token), ("client_id", "hds-cli")]), visitor: visitor())
    }
}

extension Reply {
    var text: String { String(decoding: body, as: UTF8.self) }
    var location: String? { headers[.location] }
    var json: JSONNode { get throws { try JSONDocument(body).root } }
    var parameters: [String: String] { location?.queryParameters ?? [:] }
}

extension String {
    var queryParameters: [String: String] {
        let items = URLComponents(string: self)?.percentEncodedQueryItems ?? []
        return Dictionary(
            items.map { item in
                (item.name, (item.value ?? "").replacing("+", with: " ").removingPercentEncoding ?? "")
            }
        ) { first, _ in first }
    }

    var unescaped: String {
        [
            ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&#x27;", "'"), ("&#34;", "\""),
            ("&#96;", "`"), ("&amp;", "&"),
        ]
        .reduce(self) { $0.replacing($1.0, with: $1.1) }
    }

    /// Path and query.
    var query: [UInt8] { Array((split(separator: "?", maxSplits: 1).dropFirst().first ?? "").utf8) }
}

extension DiagnosedError {
    /// For `#expect(throws:)`: equality of diagnosed errors is on the code.
    static func coded(_ code: Code) -> DiagnosedError { DiagnosedError(code, fault: .internal, "") }
}

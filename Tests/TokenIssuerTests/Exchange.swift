import Cryptography
import Foundation
import HTTPTypes
import Testing
import TokenIssuer
import WireText

/// A client's side of the protocol, spoken to the endpoints without sockets.
struct TestClient {
    static let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    static let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    static let redirect = "http://127.0.0.1:50123/callback"

    let world: TestWorld
    var address = "192.0.2.1"
    var cookie: String?

    init(_ world: TestWorld) { self.world = world }

    static func parameters(_ changes: KeyValuePairs<String, String?> = [:]) -> [(name: String, value: String)] {
        var result: [(name: String, value: String)] = [
            ("response_type", "code"), ("client_id", "hds-cli"), ("redirect_uri", redirect),
            ("code_challenge", challenge), ("code_challenge_method", "S256"), ("state", "st-1"),
        ]
        for (name, value) in changes {
            result.removeAll { $0.name == name }
            if let value { result.append((name, value)) }
        }
        return result
    }

    static func bytes(_ parameters: [(name: String, value: String)]) -> [UInt8] {
        Array(FormParameters.encode(parameters).utf8)
    }

    private func visitor() -> Visitor {
        Visitor(
            address: address, cookie: cookie, contentType: "application/x-www-form-urlencoded",
            fetchSite: "same-origin")
    }

    func open(_ changes: KeyValuePairs<String, String?> = [:]) -> Reply {
        world.service.openLogin(
            query: Self.bytes(Self.parameters(changes)), visitor: Visitor(address: address, cookie: cookie))
    }

    /// Opens the page like a browser and sends it back, with the page's cookie and hidden fields.
    func signIn(
        email: String = "alice@example.com", password: String = TestWorld.alicePassword,
        _ changes: KeyValuePairs<String, String?> = [:]
    ) async throws -> Reply {
        let page = LoginForm(open(changes))
        var sender = self
        sender.cookie = page.cookie
        return await sender.submit(page.fields + [("email", email), ("password", password)])
    }

    func submit(_ fields: [(name: String, value: String)]) async -> Reply {
        await world.service.submitLogin(body: Self.bytes(fields), visitor: visitor())
    }

    func token(_ parameters: KeyValuePairs<String, String?>, authorization: String? = nil) async -> Reply {
        await token(parameters: parameters.map { ($0.key, $0.value) }, authorization: authorization)
    }

    func token(parameters: [(String, String?)], authorization: String? = nil) async -> Reply {
        await world.service.token(
            body: Self.bytes(parameters.compactMap { name, value in value.map { (name, $0) } }),
            visitor: Visitor(
                address: address, authorization: authorization, contentType: "application/x-www-form-urlencoded"))
    }

    func revoke(_ parameters: KeyValuePairs<String, String?>, authorization: String? = nil) async -> Reply {
        await world.service.revoke(
            body: Self.bytes(parameters.compactMap { name, value in value.map { (name, $0) } }),
            visitor: Visitor(
                address: address, authorization: authorization, contentType: "application/x-www-form-urlencoded"))
    }

    func code(email: String = "alice@example.com", password: String = TestWorld.alicePassword) async throws -> String {
        let reply = try await signIn(email: email, password: password)
        return try #require(reply.redirectParameters["code"])
    }

    func exchange(_ code: String, _ changes: KeyValuePairs<String, String?> = [:]) async -> Reply {
        var parameters: [(name: String, value: String)] = [
            ("grant_type", "authorization_code"), ("code", code), ("redirect_uri", Self.redirect),
            ("client_id", "hds-cli"), ("code_verifier", Self.verifier),
        ]
        for (name, value) in changes {
            parameters.removeAll { $0.name == name }
            if let value { parameters.append((name, value)) }
        }
        return await world.service.token(
            body: Self.bytes(parameters),
            visitor: Visitor(address: address, contentType: "application/x-www-form-urlencoded"))
    }

    func refresh(_ token: String, client: String = "hds-cli", scope: String? = nil) async -> Reply {
        await self.token([
            "grant_type": "refresh_token", "refresh_token": token, "client_id": client, "scope": scope,
        ])
    }

    /// The tokens of a fresh login.
    func tokens(email: String = "alice@example.com", password: String = TestWorld.alicePassword) async throws
        -> JSONNode
    {
        let reply = await exchange(try await code(email: email, password: password))
        try #require(reply.status == .ok)
        return try reply.json
    }

    static func basic(_ id: String, _ secret: String) -> String {
        "Basic " + Base64.encode(Array("\(id):\(secret)".utf8))
    }
}

/// What a browser takes from the login page.
struct LoginForm {
    let cookie: String?
    let fields: [(name: String, value: String)]

    init(_ reply: Reply) { self.init(html: reply.text, setCookie: reply.headers[.setCookie]) }

    init(html: String, setCookie: String?) {
        cookie = setCookie.map { String($0.prefix { $0 != ";" }) }
        fields = html.matches(of: /<input type="hidden" name="([^"]*)" value="([^"]*)">/).map {
            (Self.unescape($0.1), Self.unescape($0.2))
        }
    }

    private static func unescape(_ text: Substring) -> String {
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&#96;", "`"), ("&amp;", "&")]
            .reduce(String(text)) { $0.replacingOccurrences(of: $1.0, with: $1.1) }
    }
}

extension Reply {
    var text: String { String(decoding: body, as: UTF8.self) }
    var location: String? { headers[.location] }
    var json: JSONNode { get throws { try JSONDocument(body).root } }
    var error: String? { (try? json)?["error"]?.string }

    /// The query of the `Location` header.
    var redirectParameters: [String: String] {
        guard let location, let items = URLComponents(string: location)?.queryItems else { return [:] }
        return Dictionary(items.map { ($0.name, $0.value ?? "") }) { first, _ in first }
    }
}

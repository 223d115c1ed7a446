import Cryptography
import Foundation
import HTTPClient
import HTTPServer
import Logging
import ServiceLifecycle
import Synchronization
import TLSChannel
import Testing
import TokenIssuer
import WireText

/// The service behind a real TLS socket on loopback, with a client that trusts its certificate.
struct RunningIssuer: Sendable {
    let world: TestWorld
    let base: String
    let port: Int
    let client: WebClient

    /// Serves `world` for the time of `body`.
    static func with(_ world: TestWorld, _ body: (RunningIssuer) async throws -> Void) async throws {
        let identity = try TestTLS.identity()
        let server = WebServer(
            configuration: WebServerConfiguration(
                host: "127.0.0.1", port: 0, identity: identity, maximumBody: IssuerRoutes.maximumBodyBytes),
            router: IssuerRoutes(world.service).router())
        let group = ServiceGroup(
            services: [server], logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        let client = WebClient(trust: TLSTrust(roots: identity.certificateChain))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            let port = try await server.boundPort
            let running = RunningIssuer(
                world: world, base: "https://localhost:\(port)", port: port, client: client)
            let result: Result<Void, any Error>
            do { result = .success(try await body(running)) } catch { result = .failure(error) }
            await client.close()
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
            try result.get()
        }
    }

    func get(_ path: String, headers: [(String, String)] = []) async throws -> WebResponse {
        try await client.send(WebRequest(method: "GET", url: base + path, headers: headers))
    }

    func post(
        _ path: String, _ parameters: [(name: String, value: String)], headers: [(String, String)] = []
    ) async throws -> WebResponse {
        try await post(path, body: TestClient.bytes(parameters), headers: headers)
    }

    func post(_ path: String, body: [UInt8], headers: [(String, String)] = []) async throws -> WebResponse {
        try await client.send(
            WebRequest(
                method: "POST", url: base + path,
                headers: [("Content-Type", "application/x-www-form-urlencoded")] + headers, body: body))
    }

    /// The login as a browser does it; the answer to the form.
    func signIn(
        email: String = "alice@example.com", password: String = TestWorld.alicePassword,
        _ changes: KeyValuePairs<String, String?> = [:]
    ) async throws -> WebResponse {
        let page = try await get("/authorize?" + FormParameters.encode(TestClient.parameters(changes)))
        try #require(page.status == 200)
        let form = LoginForm(html: page.text, setCookie: page.header("Set-Cookie"))
        return try await post(
            "/authorize", form.fields + [("email", email), ("password", password)],
            headers: [("Cookie", form.cookie ?? "")])
    }
}

/// A self-signed server certificate for localhost, made once for a run of the tests.
enum TestTLS {
    private static let made = Mutex<TLSServerIdentity?>(nil)

    static func identity() throws -> TLSServerIdentity {
        try made.withLock { made in
            if let made { return made }
            let fresh = try make()
            made = fresh
            return fresh
        }
    }

    /// PEM texts of a fresh certificate and its key.
    static func files(in folder: TemporaryFolder) throws -> (certificate: String, key: String) {
        let (certificate, key) = (folder.file("server.pem"), folder.file("server.key"))
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/openssl")
        process.arguments = [
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
            "-out", certificate, "-days", "30", "-subj", "/CN=localhost", "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ]
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
        return (certificate, key)
    }

    private static func make() throws -> TLSServerIdentity {
        let folder = try TemporaryFolder()
        _ = try files(in: folder)
        return TLSServerIdentity(
            certificateChain: try Certificate.all(inPEM: folder.text("server.pem")),
            privateKey: try PrivateKey(pem: folder.text("server.key")))
    }
}

extension WebResponse {
    var text: String { String(decoding: body, as: UTF8.self) }
    var json: JSONNode { get throws { try JSONDocument(body).root } }

    func locationParameter(_ name: String) -> String? {
        header("Location").flatMap { URLComponents(string: $0)?.queryItems?.first { $0.name == name }?.value }
    }
}

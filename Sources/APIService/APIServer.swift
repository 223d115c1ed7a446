import Diagnostics
import HDSClient
import HTTPServer
import HTTPTypes
import Hummingbird
import KMSClient
import KMSProtocol
import LinkedService
import NIOCore
import ServiceRuntime
import WireText

/// The HTTP interface for integrations (docs/extending.md): spaces and messages of the person whose tokens come with a request,
/// opened here, on the customer's machine, and never without the organisation's consent.
///
/// Rules, in this order:
/// 1. The organisation consents to this server (type api-access), else 403 with the rule of the KMS's refusal.
/// 2. Both tokens are of one person and one client. The core judges the one and the KMS the other, as for a client of that
///    person; the KMS also holds the token's client against the signed policy.
/// 3. Requests are bounded in number, in size and in what they give back.
struct APIServer: Sendable {
    static let maximumBody = 128 << 10
    static let mostMessages = 200
    static let kmsToken = "HDS-KMS-Token"

    let consent: ServiceConsent
    let said: @Sendable () -> String?
    let sessions: APISessions

    func server(_ section: APISection, _ context: ServiceContext) throws -> WebServer {
        WebServer(
            configuration: WebServerConfiguration(
                host: section.address.host, port: section.address.port,
                identity: try section.tls?.identity(context.credentials), maximumBody: Self.maximumBody,
                serverName: nil, maximumConnections: 256),
            router: router())
    }

    func router() -> Router<BasicRequestContext> {
        let router = Router(context: BasicRequestContext.self)
        router.addMiddleware { APIRefusals() }
        router.get("/openapi.json") { _, _ -> Response in Self.json(APIDescription.json) }
        router.get("/v1/spaces") { request, _ -> Response in
            try await acting(request) { client in
                let spaces = try await client.spaces.all()
                return Self.object { json in
                    json.name("items")
                    json.beginArray()
                    for space in spaces { Self.write(space, to: &json) }
                    json.endArray()
                }
            }
        }
        router.get("/v1/spaces/{id}/messages") { request, context -> Response in
            let id = try Self.space(context)
            let query = request.uri.queryParameters
            let since = query["since"].flatMap { Int64($0) } ?? 0
            let limit = query["limit"].flatMap { Int($0) } ?? 50
            guard since >= 0, (1...Self.mostMessages).contains(limit) else {
                throw APIRefusal(400, "since is 0 or more, limit is 1 to \(Self.mostMessages)")
            }
            return try await acting(request) { client in
                let space = try await Self.usable(id, client)
                let page = try await client.spaces.page(of: space, since: since, limit: limit)
                return Self.object { json in
                    json.name("items")
                    json.beginArray()
                    for entry in page.entries { Self.write(entry, to: &json) }
                    json.endArray()
                    if let next = page.next { json.member("next", next) }
                }
            }
        }
        router.post("/v1/spaces/{id}/messages") { request, context -> Response in
            let id = try Self.space(context)
            let text = try await Self.text(request)
            return try await acting(request, status: .created) { client in
                let space = try await Self.usable(id, client)
                let sequence = try await client.spaces.post(text, in: space)
                return Self.object { $0.member("sequence", sequence) }
            }
        }
        return router
    }

    // MARK: - Requests

    private func acting(
        _ request: Request, status: HTTPResponse.Status = .ok,
        _ body: @Sendable (Client) async throws -> String
    ) async throws -> Response {
        do {
            _ = try await consent.sealingKey()
        } catch {
            guard let said = said() else {
                throw APIRefusal(503, "the KMS does not answer this server: nothing can be opened", retryAfter: 30)
            }
            throw APIRefusal(403, "the organisation does not let this server read: \(said)")
        }
        guard let header = request.headers[.authorization], header.lowercased().hasPrefix("bearer "),
            let name = HTTPField.Name(Self.kmsToken), let kms = request.headers[name], Self.isToken(kms),
            case let cloud = String(header.dropFirst("bearer ".count)), Self.isToken(cloud)
        else { throw APIRefusal(401, "a request needs Authorization: Bearer and \(Self.kmsToken)") }
        let pair = try TokenPair(cloud: cloud, kms: kms)
        return Self.json(try await sessions.with(pair, body), status: status)
    }

    private static func isToken(_ text: String) -> Bool {
        (1...16 << 10).contains(text.utf8.count) && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
    }

    private static func space(_ context: BasicRequestContext) throws(APIRefusal) -> String {
        guard let id = context.parameters.get("id"), UUIDText.isValid(id) else {
            throw APIRefusal(400, "a space is named by its id, a UUID")
        }
        return id.lowercased()
    }

    /// A space of the person's own whose keys the KMS gives.
    private static func usable(_ id: String, _ client: Client) async throws -> Space {
        guard let space = try await client.spaces.all().first(where: { $0.id == id }) else {
            throw APIRefusal(404, "there is no such space, or it is not this person's")
        }
        if let problem = space.problem { throw APIRefusal(403, "the space can not be opened: \(problem)") }
        return space
    }

    private static func text(_ request: Request) async throws -> String {
        let body: ByteBuffer
        do {
            body = try await request.body.collect(upTo: maximumBody)
        } catch is NIOTooManyBytesError {
            throw APIRefusal(413, "the body is longer than \(maximumBody) octets")
        }
        guard let root = try? JSONDocument([UInt8](body.readableBytesView)).root, let text = root["text"]?.string,
            !text.isEmpty
        else { throw APIRefusal(400, #"the body is malformed: expected {"text": "…"}"#) }
        do { try Spaces.checkLength(text) } catch { throw APIRefusal(413, error.summary) }
        return text
    }

    // MARK: - Answers

    private static func write(_ space: Space, to json: inout JSONWriter) {
        json.beginObject()
        json.member("id", space.id)
        json.member("name", ifPresent: space.name)
        json.member("participants", space.participants)
        json.member("published", space.published.iso8601)
        json.member("problem", ifPresent: space.problem)
        json.endObject()
    }

    private static func write(_ entry: SpaceEntry, to json: inout JSONWriter) {
        json.beginObject()
        json.member("id", entry.id)
        json.member("sequence", entry.sequence)
        json.member("published", entry.published.iso8601)
        json.member("actor", entry.actor)
        switch entry.content {
        case .text(let text):
            json.member("kind", "text")
            json.member("text", text)
        case .files(let files):
            json.member("kind", "files")
            json.member("files", files.map(\.name))
        case .added(let person):
            json.member("kind", "added")
            json.member("person", person)
        case .left(let person):
            json.member("kind", "left")
            json.member("person", person)
        case .keyChanged: json.member("kind", "keyChanged")
        case .edited(let message, let text):
            json.member("kind", "edited")
            json.member("message", message)
            json.member("text", text)
        case .deleted(let message):
            json.member("kind", "deleted")
            json.member("message", message)
        case .tombstone: json.member("kind", "tombstone")
        case .unreadable(let reason):
            json.member("kind", "unreadable")
            json.member("reason", reason)
        }
        json.endObject()
    }

    static func object(_ body: (inout JSONWriter) -> Void) -> String {
        var json = JSONWriter(reserving: 4096)
        json.beginObject()
        body(&json)
        json.endObject()
        return json.text()
    }

    static func json(_ text: String, status: HTTPResponse.Status = .ok) -> Response {
        Response(
            status: status, headers: [.contentType: "application/json; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}

/// Refusals and errors as JSON; none holds a token or a text.
struct APIRefusals: RouterMiddleware {
    typealias Context = BasicRequestContext

    @concurrent
    func handle(
        _ request: Request, context: Context, next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let refusal as APIRefusal {
            return Self.answer(refusal)
        } catch let refusal as KMSRefusal {
            let status = [401, 403, 404, 409, 429].contains(refusal.status) ? refusal.status : 503
            return Self.answer(APIRefusal(status, "the KMS refused: \(refusal.reason)"))
        } catch let error as any HTTPResponseError {
            return Self.answer(APIRefusal(error.status.code, error.status.reasonPhrase.lowercased()))
        } catch let error as DiagnosedError {
            return Self.answer(APIRefusal(Self.status(of: error), error.description))
        } catch {
            return Self.answer(APIRefusal(503, "this can not be done at present"))
        }
    }

    private static func status(of error: DiagnosedError) -> Int {
        switch error.code.rawValue {
        case "not-logged-in", "kms-unauthorized", "cloud-unauthorized": 401
        case "kms-forbidden", "cloud-forbidden": 403
        case "cloud-not-found", "kms-not-found": 404
        default: error.fault == .client ? 400 : 503
        }
    }

    private static func answer(_ refusal: APIRefusal) -> Response {
        var response = APIServer.json(
            APIServer.object { $0.member("message", refusal.message) }, status: .init(code: refusal.status))
        if let seconds = refusal.retryAfter { response.headers[.retryAfter] = "\(seconds)" }
        return response
    }
}

import Diagnostics
import HTTPServer
import HTTPTypes
import Hummingbird
import NIOCore
import ServiceRuntime
import WireText

/// What goes along with one request of the console: its session, once that was found.
struct ConsoleContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    var session: OfficerSessions.Session?
    var secret: String?

    init(source: Source) { coreContext = CoreRequestContextStorage(source: source) }
}

/// The page of the console and the HTTP interface (docs/ediscovery.md, HTTP).
///
/// Rules:
/// 1. A session by cookie or by bearer token, begun over the sealed channel; without one nothing but the empty page is given.
/// 2. With a cookie a request changes or reads something only with the header `x-hds-console`, which no other site can send.
/// 3. The Host is the one of the configuration: a name that somebody pointed here is refused.
/// 4. Nothing of an answer is stored by the browser, and the page loads nothing from elsewhere.
/// 5. Each command asks the KMS again whether the officer is one for the matter of the session.
struct ConsoleServer: Sendable {
    static let cookie = "hds-ediscovery"
    static let maximumBody = 256 << 10

    let sessions: OfficerSessions
    let api: ConsoleAPI
    /// Of the address that officers use.
    let base: String

    func server(_ section: ConsoleSection, _ context: ServiceContext) throws -> WebServer {
        WebServer(
            configuration: WebServerConfiguration(
                host: section.address.host, port: section.address.port,
                identity: try section.tls?.identity(context.credentials), maximumBody: Self.maximumBody,
                serverName: nil, maximumConnections: 64),
            router: router())
    }

    func router() -> Router<ConsoleContext> {
        let router = Router(context: ConsoleContext.self)
        router.addMiddleware { ConsoleGuard(host: host) }
        router.get("/") { _, _ -> Response in Self.asset(ConsolePage.html, "text/html; charset=utf-8") }
        router.get("/console.css") { _, _ -> Response in Self.asset(ConsolePage.style, "text/css; charset=utf-8") }
        router.get("/console.js") { _, _ -> Response in Self.asset(ConsolePage.script, "text/javascript; charset=utf-8")
        }
        router.get("/download/{secret}") { _, context -> Response in
            guard let file = await sessions.download(context.parameters.get("secret") ?? "") else {
                throw OfficerCommands.Refused(404, "the link was used before, or is older than two minutes")
            }
            return Self.file(file)
        }
        router.post("/enter") { request, _ -> Response in try await enter(request) }
        let guarded = router.group("/api/v1").addMiddleware { ConsoleSession(sessions: sessions) }
        guarded.post("/leave") { _, context -> Response in
            if let secret = context.secret { await sessions.end(secret) }
            return Self.json("{}", cookie: "\(Self.cookie)=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict")
        }
        guarded.get("/session") { _, context -> Response in
            guard let session = context.session else { throw OfficerCommands.Refused(401, "sign in") }
            return Self.json(
                OfficerCommands.object { json in
                    json.member("officer", session.officer)
                    json.member("matter", ifPresent: session.matter)
                    json.member("until", session.until.iso8601)
                })
        }
        api.add(to: guarded)
        return router
    }

    private var host: String {
        String(base.drop { $0 != "/" }.dropFirst(2).prefix { $0 != "/" }).lowercased()
    }

    private func enter(_ request: Request) async throws -> Response {
        guard request.headers[.console] != nil else { throw OfficerCommands.Refused(403, "not by another site") }
        let body = try await ConsoleAPI.body(request)
        guard let ticket = body?["ticket"]?.string, let entered = try await sessions.enter(ticket) else {
            throw OfficerCommands.Refused(
                401, "the link was used before, or is older than two minutes: hds ediscovery console")
        }
        let secure = base.hasPrefix("https://") ? "; Secure" : ""
        return Self.json(
            "{}", cookie: "\(Self.cookie)=\(entered.secret); Path=/; HttpOnly; SameSite=Strict\(secure)")
    }

    static func json(_ text: String, status: HTTPResponse.Status = .ok, cookie: String? = nil) -> Response {
        var headers: HTTPFields = [.contentType: "application/json; charset=utf-8"]
        if let cookie { headers[.setCookie] = cookie }
        return Response(
            status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }

    private static func file(_ file: OfficerSessions.Download) -> Response {
        var headers: HTTPFields = [.contentType: "application/octet-stream"]
        headers[.contentDisposition] = "attachment; filename=\"\(file.name)\""
        return Response(
            status: .ok, headers: headers,
            body: ResponseBody(contentLength: Int(file.octets)) { writer in
                var offset: Int64 = 0
                while offset < file.octets {
                    let octets = try Exporter.octets(of: file.path, from: offset, count: 1 << 18)
                    guard !octets.isEmpty else { break }
                    try await writer.write(ByteBuffer(bytes: octets))
                    offset += Int64(octets.count)
                }
                try await writer.finish(nil)
            })
    }

    private static func asset(_ text: String, _ type: String) -> Response {
        Response(
            status: .ok, headers: [.contentType: type], body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}

/// Rules 3 and 4, and refusals as JSON.
struct ConsoleGuard: RouterMiddleware {
    typealias Context = ConsoleContext
    let host: String

    @concurrent
    func handle(
        _ request: Request, context: Context, next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        var response: Response
        do {
            let asked = request.head.authority?.lowercased()
            guard asked == host else { throw OfficerCommands.Refused(421, "this address is \(host)") }
            response = try await next(request, context)
        } catch let refused as OfficerCommands.Refused {
            response = Self.refusal(refused.status, refused.reason)
        } catch let error as DiagnosedError where error.fault == .client {
            response = Self.refusal(400, error.description)
        } catch let error as any HTTPResponseError {
            response = Self.refusal(error.status.code, error.status.reasonPhrase.lowercased())
        } catch {
            response = Self.refusal(503, "the worker can not do this at present: its health address says why")
        }
        response.headers[.cacheControl] = "no-store"
        response.headers[.contentTypeOptions] = "nosniff"
        response.headers[.contentPolicy] =
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
            + "form-action 'none'; frame-ancestors 'none'"
        response.headers[.referrerPolicy] = "no-referrer"
        return response
    }

    private static func refusal(_ status: Int, _ reason: String) -> Response {
        ConsoleServer.json(
            OfficerCommands.object { $0.member("message", reason) }, status: HTTPResponse.Status(code: status))
    }
}

/// Rules 1 and 2.
struct ConsoleSession: RouterMiddleware {
    typealias Context = ConsoleContext
    let sessions: OfficerSessions

    @concurrent
    func handle(
        _ request: Request, context: Context, next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        var context = context
        if let header = request.headers[.authorization], header.lowercased().hasPrefix("bearer ") {
            context.secret = String(header.dropFirst("bearer ".count))
        } else if let cookie = Self.cookie(request) {
            guard request.headers[.console] != nil else { throw OfficerCommands.Refused(403, "not by another site") }
            context.secret = cookie
        }
        guard let secret = context.secret, let session = await sessions.session(secret) else {
            throw OfficerCommands.Refused(401, "there is no session: hds ediscovery console, or hds ediscovery token")
        }
        context.session = session
        return try await next(request, context)
    }

    private static func cookie(_ request: Request) -> String? {
        for part in (request.headers[.cookie] ?? "").split(separator: ";") {
            let pair = part.drop { $0 == " " }.split(separator: "=", maxSplits: 1)
            if pair.count == 2, pair[0] == ConsoleServer.cookie { return String(pair[1]) }
        }
        return nil
    }
}

extension HTTPField.Name {
    // The names are valid tokens (RFC 9110, section 5.6.2), which is all that the initialiser asks.
    static let console = HTTPField.Name("x-hds-console")!
    static let contentPolicy = HTTPField.Name("content-security-policy")!
    static let referrerPolicy = HTTPField.Name("referrer-policy")!
    static let contentTypeOptions = HTTPField.Name("x-content-type-options")!
}

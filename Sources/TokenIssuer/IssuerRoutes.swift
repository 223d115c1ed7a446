import HTTPTypes
package import Hummingbird
import NIOCore
import WireText

/// The service on the web: which path leads to which endpoint, and what all answers have in common.
///
/// Bodies are read up to 16 KiB. Errors outside OAuth (unknown path, wrong method, a body that is too long) have the JSON
/// form of the project's HTTP interfaces (`docs/core-api.md`).
package struct IssuerRoutes: Sendable {
    /// More than the longest valid form needs.
    package static let maximumBodyBytes = 16 << 10
    /// A SAML message of 256 KiB, in base64 and form-encoded.
    package static let maximumAssertionBytes = 512 << 10

    private let service: AuthorizationService

    package init(_ service: AuthorizationService) { self.service = service }

    package func router() -> Router<IssuerRequestContext> {
        let router = Router(context: IssuerRequestContext.self)
        router.add(middleware: CommonAnswers(issuer: service.settings.issuer))
        let service = service
        router.get("/") { _, _ in
            Response(.page(.ok, Pages.welcome(domain: service.settings.domain)))
        }
        router.get("/.well-known/oauth-authorization-server") { _, _ in
            let scopes = Set(service.accounts.accounts.clients.flatMap(\.scopes)).sorted()
            return Response(.document(Documents.metadata(service.settings, scopes: scopes)))
        }
        router.get("/.well-known/hds-domain") { _, _ in Response(.document(Documents.domain(service.settings))) }
        router.get("/jwks.json") { _, _ in Response(.document(service.keySet())) }
        router.get("/authorize") { request, context in
            Response(
                service.openLogin(query: Array((request.uri.query ?? "").utf8), visitor: Visitor(request, context)))
        }
        router.post("/authorize") { request, context in
            let body = try await Self.body(request)
            return Response(await service.submitLogin(body: body, visitor: Visitor(request, context)))
        }
        router.post("/token") { request, context in
            let body = try await Self.body(request)
            return Response(await service.token(body: body, visitor: Visitor(request, context)))
        }
        router.post("/revoke") { request, context in
            let body = try await Self.body(request)
            return Response(await service.revoke(body: body, visitor: Visitor(request, context)))
        }
        router.post("/wiped") { request, context in
            let body = try await Self.body(request)
            return Response(await service.wiped(body: body, visitor: Visitor(request, context)))
        }
        router.post("/introspect") { request, context in
            let body = try await Self.body(request)
            return Response(await service.introspect(body: body, visitor: Visitor(request, context)))
        }
        router.get("/oidc/:provider/callback") { request, context in
            Response(
                await service.finishOpenIDLogin(
                    provider: context.parameters.get("provider") ?? "", query: Array((request.uri.query ?? "").utf8),
                    visitor: Visitor(request, context)))
        }
        router.post("/oidc/:provider/logout") { request, context in
            let body = try await Self.body(request)
            return Response(
                await service.openIDLogout(
                    provider: context.parameters.get("provider") ?? "", body: body,
                    visitor: Visitor(request, context)))
        }
        router.post("/saml/:provider/acs") { request, context in
            let body = try await Self.body(request, upTo: Self.maximumAssertionBytes)
            return Response(
                await service.finishSAMLLogin(
                    provider: context.parameters.get("provider") ?? "", body: body,
                    visitor: Visitor(request, context)))
        }
        router.get("/saml/:provider/logout") { request, context in
            Response(
                await service.samlLogout(
                    provider: context.parameters.get("provider") ?? "", query: Array((request.uri.query ?? "").utf8)))
        }
        router.post("/saml/:provider/logout") { request, context in
            let body = try await Self.body(request, upTo: Self.maximumAssertionBytes)
            return Response(
                await service.samlLogout(
                    provider: context.parameters.get("provider") ?? "", body: body,
                    visitor: Visitor(request, context)))
        }
        router.get("/saml/metadata") { _, _ in Response(service.samlMetadata()) }
        router.get("/signed-out") { _, _ in Response(.page(.ok, Pages.signedOut(domain: service.settings.domain))) }
        router.get("/revocations") { _, _ in Response(await service.revocationList()) }
        return router
    }

    static let methods: [String: String] = [
        "/": "GET", "/.well-known/oauth-authorization-server": "GET", "/.well-known/hds-domain": "GET",
        "/jwks.json": "GET", "/authorize": "GET, POST", "/token": "POST", "/revoke": "POST", "/wiped": "POST",
        "/introspect": "POST", "/revocations": "GET", "/signed-out": "GET",
        "/saml/metadata": "GET",
    ]

    private static func body(_ request: Request, upTo maximum: Int = maximumBodyBytes) async throws -> [UInt8] {
        do {
            return Array(buffer: try await request.body.collect(upTo: maximum))
        } catch is NIOTooManyBytesError {
            throw HTTPError(.contentTooLarge)
        }
    }
}

/// What the routes know of a connection: the address at its other end.
package struct IssuerRequestContext: RequestContext {
    package var coreContext: CoreRequestContextStorage
    let address: String

    package init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        address = source.channel.remoteAddress?.ipAddress ?? "unknown"
    }
}

/// Headers of every answer, and the form of errors that no endpoint has made.
private struct CommonAnswers: RouterMiddleware {
    typealias Context = IssuerRequestContext
    let issuer: String

    @concurrent func handle(
        _ request: Request, context: IssuerRequestContext,
        next: @concurrent (Request, IssuerRequestContext) async throws -> Response
    ) async throws -> Response {
        var response: Response
        do {
            response = try await next(request, context)
        } catch let error as any HTTPResponseError {
            response = Self.error(error.status, request)
        }
        response.headers[.xContentTypeOptions] = "nosniff"
        return response
    }

    private static func error(_ status: HTTPResponse.Status, _ request: Request) -> Response {
        var status = status
        var headers: HTTPFields = [.contentType: "application/json", .cacheControl: "no-store"]
        if status == .notFound, let allowed = IssuerRoutes.methods[request.uri.path] {
            status = .methodNotAllowed
            headers[.allow] = allowed
        }
        var json = JSONWriter()
        json.beginObject()
        json.member("message", status.reasonPhrase)
        json.name("errors")
        json.beginArray()
        json.beginObject()
        json.member("description", description(status, allowed: headers[.allow]))
        json.endObject()
        json.endArray()
        json.member("trackingId", UUIDText.random())
        json.endObject()
        return Response(
            status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: json.bytes())))
    }

    private static func description(_ status: HTTPResponse.Status, allowed: String?) -> String {
        switch status {
        case .notFound: "there is nothing at this path"
        case .methodNotAllowed: "this path takes \(allowed ?? "other methods")"
        case .contentTooLarge: "the body is longer than \(IssuerRoutes.maximumBodyBytes) octets"
        default: "the request can not be served"
        }
    }
}

extension AuthorizationService {
    /// `GET /jwks.json`
    package func keySet() -> [UInt8] {
        let now = surroundings.now()
        return keys.ring(at: now).keySet(at: now)
    }
}

extension Response {
    fileprivate init(_ reply: Reply) {
        self.init(
            status: reply.status, headers: reply.headers,
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: reply.body)))
    }
}

extension Visitor {
    fileprivate init(_ request: Request, _ context: IssuerRequestContext) {
        self.init(
            address: context.address, authorization: request.headers[.authorization],
            cookie: request.headers[values: .cookie].isEmpty
                ? nil : request.headers[values: .cookie].joined(separator: "; "),
            contentType: request.headers[.contentType], fetchSite: request.headers[.fetchSite])
    }
}

extension HTTPField.Name {
    // A literal of the token alphabet: the initialiser can not return nil for it.
    fileprivate static let fetchSite = Self("Sec-Fetch-Site")!
}

import Hummingbird
import WireText

/// Demands a valid bearer token and tells the routes whose it is.
struct Authentication: RouterMiddleware {
    typealias Context = CoreRequestContext
    let tokens: any TokenChecking

    @concurrent
    func handle(
        _ request: Request, context: Context, next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        guard let header = request.headers[.authorization] else {
            throw Refusal(.unauthorized, "this needs a bearer token")
        }
        guard let token = BearerToken(header: header) else {
            throw Refusal(.unauthorized, "the Authorization header is malformed: expected Bearer and a token")
        }
        var context = context
        context.principal = try await tokens.principal(of: token.text)
        return try await next(request, context)
    }
}

import HTTPTypes
package import Hummingbird
import NIOCore

/// The SCIM server on the web: below `/scim/v2`, for whoever has its token.
extension SCIMServer {
    package func add<Context: RequestContext>(to router: Router<Context>) {
        for method: HTTPRequest.Method in [.get, .post, .put, .patch, .delete] {
            router.on("/scim/v2/**", method: method) { request, _ in try await respond(request) }
        }
    }

    private func respond(_ request: Request) async throws -> Response {
        guard admits(request.headers[.authorization]) else {
            var reply = SCIMError(401, nil, "the token is missing or wrong").reply
            reply.location = nil
            var response = Response(reply)
            response.headers[.wwwAuthenticate] = "Bearer realm=\"scim\""
            return response
        }
        let body: [UInt8]
        do {
            body = Array(buffer: try await request.body.collect(upTo: Self.maximumBodyBytes))
        } catch is NIOTooManyBytesError {
            return Response(SCIMError(413, nil, "the body is longer than \(Self.maximumBodyBytes) octets").reply)
        }
        let path = request.uri.path.split(separator: "/").dropFirst(2).map { part in
            // Of what stands in the paths of this server only the colons of URNs may come encoded.
            String(part).replacing("%3A", with: ":").replacing("%3a", with: ":")
        }
        var query: [String: String] = [:]
        for (name, value) in request.uri.queryParameters { query[String(name)] = String(value) }
        return Response(
            await answer(
                SCIMRequest(
                    method: request.method.rawValue, path: Array(path), query: query, body: body,
                    ifMatch: request.headers[.ifMatch], ifNoneMatch: request.headers[.ifNoneMatch])))
    }
}

extension Response {
    fileprivate init(_ reply: SCIMReply) {
        var headers: HTTPFields = [.cacheControl: "no-store"]
        if !reply.body.isEmpty { headers[.contentType] = "application/scim+json" }
        headers[.eTag] = reply.etag
        headers[.location] = reply.location
        self.init(
            status: HTTPResponse.Status(code: reply.status), headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: reply.body)))
    }
}

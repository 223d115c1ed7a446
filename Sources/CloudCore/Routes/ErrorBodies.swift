import Diagnostics
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import WireText

/// Turns whatever a route throws into the core's error body, and gives every answer its tracking id.
///
/// `{"message": "...", "errors":[{"description":"..."}], "trackingId":"..."}`. What happened inside stays in the log.
struct ErrorBodies: RouterMiddleware {
    typealias Context = CoreRequestContext

    @concurrent
    func handle(
        _ request: Request, context: Context, next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        var context = context
        if let given = request.headers[.trackingID], Self.isUsable(given) { context.trackingID = given }
        context.logger[metadataKey: LogField.trackingID.name] = "\(context.trackingID)"
        var response: Response
        do {
            response = try await next(request, context)
        } catch let refusal as Refusal {
            response = Self.response(to: refusal, trackingID: context.trackingID)
        } catch let error as any HTTPResponseError {
            let status = error.status
            response = Self.response(
                HTTPResponse.Status(code: status.code), status.reasonPhrase.lowercased(),
                trackingID: context.trackingID)
        } catch is CancellationError {
            response = Self.response(.serviceUnavailable, "the core is stopping", trackingID: context.trackingID)
        } catch {
            context.logger.error("\(Loggable(error: error).text)")
            response = Self.response(
                .internalServerError, "the core failed: its log names the cause", trackingID: context.trackingID)
        }
        response.headers[.trackingID] = context.trackingID
        response.headers[.cacheControl] = "no-store"
        response.headers[.contentTypeOptions] = "nosniff"
        return response
    }

    private static func response(to refusal: Refusal, trackingID: String) -> Response {
        var response = response(
            HTTPResponse.Status(code: refusal.status.rawValue), refusal.message, trackingID: trackingID)
        if let seconds = refusal.retryAfterSeconds { response.headers[.retryAfter] = String(seconds) }
        if refusal.status == .unauthorized { response.headers[.wwwAuthenticate] = "Bearer" }
        return response
    }

    private static func body(_ message: String, trackingID: String) -> String {
        var json = JSONWriter()
        json.beginObject()
        json.member("message", message)
        json.name("errors")
        json.beginArray()
        json.beginObject()
        json.member("description", message)
        json.endObject()
        json.endArray()
        json.member("trackingId", trackingID)
        json.endObject()
        return json.text()
    }

    private static func response(_ status: HTTPResponse.Status, _ message: String, trackingID: String) -> Response {
        .json(status, body(message, trackingID: trackingID))
    }

    /// A tracking id is repeated in headers and logs, so it has to be plain and short.
    private static func isUsable(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count)
            && text.utf8.allSatisfy { octet in
                switch octet {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."):
                    true
                default: false
                }
            }
    }
}

extension Response {
    static func json(_ status: HTTPResponse.Status, _ text: String) -> Response {
        Response(
            status: status, headers: [.contentType: "application/json; charset=utf-8"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }

    static func json(
        _ status: HTTPResponse.Status = .ok, _ write: (inout JSONWriter) -> Void
    ) -> Response {
        var json = JSONWriter()
        json.beginObject()
        write(&json)
        json.endObject()
        return .json(status, json.text())
    }
}

extension HTTPField.Name {
    // The names are valid tokens (RFC 9110, section 5.6.2), which is all that the initialiser asks.
    static let trackingID = HTTPField.Name("trackingid")!
    static let deviceURL = HTTPField.Name("cisco-device-url")!
    static let contentTypeOptions = HTTPField.Name("x-content-type-options")!
}

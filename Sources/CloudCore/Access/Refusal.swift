/// Why a request of a client is not served: the status and the words of its answer.
///
/// The text goes to the client and the log; it never repeats a token or a body.
struct Refusal: Error, Equatable, Sendable {
    enum Status: Int, Sendable {
        case badRequest = 400
        case unauthorized = 401
        case forbidden = 403
        case notFound = 404
        case conflict = 409
        case tooLarge = 413
        case tooMany = 429
        case internalError = 500
        case notImplemented = 501
        case unavailable = 503
        case gatewayTimeout = 504
    }

    let status: Status
    let message: String
    let retryAfterSeconds: Int?

    init(_ status: Status, _ message: String, retryAfterSeconds: Int? = nil) {
        self.status = status
        self.message = message
        self.retryAfterSeconds = retryAfterSeconds
    }
}

import CalendarBackend
import CalendarTransport
import HTTPClient
import Synchronization

/// Sends requests to a calendar server and its allowed neighbours: credentials per origin, pace per host, redirections by
/// the rules of trust, failures as `CalendarError`s. Any thread.
final class CalDAVTransport: Sendable {
    struct Request: Sendable {
        var method: String
        var address: CalDAVAddress
        var depth: Int?
        var headers: [(String, String)] = []
        var body: [UInt8] = []
        var limit: Int
    }

    struct Answer: Sendable {
        var status: Int
        /// Where it came from in the end.
        var address: CalDAVAddress
        var response: WebResponse

        var body: [UInt8] { response.body }

        /// Without parameters, in lower case.
        var contentType: String {
            let value = response.header("Content-Type") ?? ""
            return value.prefix { $0 != ";" }.filter { $0 != " " }.lowercased()
        }
    }

    let base: CalDAVAddress
    private let settings: CalDAVSettings
    private let client: WebClient
    private let clock: any Clock<Duration>
    private let allowed: Set<CalDAVOrigin>
    private let paces = Mutex<[CalDAVOrigin: HostPace]>([:])

    private static let mostRedirections = 5

    init(_ settings: CalDAVSettings, client: WebClient, clock: any Clock<Duration>) throws(CalendarError) {
        guard let base = CalDAVAddress(settings.url) else {
            throw .configuration("the URL of the calendar server can not be used", expected: "https://host[:port]/path")
        }
        self.base = base
        self.settings = settings
        self.client = client
        self.clock = clock
        var allowed: Set<CalDAVOrigin> = [base.origin]
        for text in settings.allowedOrigins.sorted() {
            guard let address = CalDAVAddress(text), address.path == "/" else {
                throw .configuration("an allowed origin can not be used", expected: "https://host[:port]")
            }
            allowed.insert(address.origin)
        }
        self.allowed = allowed
    }

    /// Whether credentials and requests may go there.
    func checkAllowed(_ origin: CalDAVOrigin) throws(CalendarError) {
        guard allowed.contains(origin) else { throw .redirectPending(to: origin.description) }
    }

    /// Sends one request; the answer may have any status but a redirection, 401, 429 and 503.
    func send(_ request: Request, for user: CalendarUser) async throws -> Answer {
        var request = request
        for _ in 0...Self.mostRedirections {
            try checkAllowed(request.address.origin)
            let answer = try await once(request, for: user)
            switch answer.status {
            case 301, 302, 307, 308:
                guard ["PROPFIND", "REPORT", "GET", "OPTIONS"].contains(request.method) else {
                    throw CalendarError.violation(
                        "the calendar has moved while it was written", expected: "an answer", found: "a redirection")
                }
                guard let location = answer.response.header("Location") else {
                    throw CalendarError.violation("a redirection leads nowhere", expected: "a Location")
                }
                let next = try request.address.resolve(location)
                guard next.origin.isSecure || !request.address.origin.isSecure else {
                    throw CalendarError.violation(
                        "a redirection leads out of TLS", expected: "https://", found: next.origin.description)
                }
                request.address = next
            case 303:
                throw CalendarError.violation(
                    "a redirection leads to a page", expected: "an answer", found: "status 303")
            default: return answer
            }
        }
        throw CalendarError.violation(
            "redirections do not end", expected: "at most \(Self.mostRedirections)", found: "one more")
    }

    private func once(_ request: Request, for user: CalendarUser) async throws -> Answer {
        let origin = request.address.origin
        var headers = request.headers
        if let depth = request.depth { headers.append(("Depth", String(depth))) }
        if let credential = try await settings.credentials(user, origin.description) {
            headers.append(try credential.header())
        }
        let pace = pace(for: origin)
        try await pace.enter()
        let response: WebResponse
        do {
            response = try await client.send(
                WebRequest(
                    method: request.method, url: request.address.url, headers: headers, body: request.body,
                    timeout: settings.timeout, maximumResponseBytes: request.limit))
        } catch {
            await pace.leave(isWelcome: false)
            throw Task.isCancelled ? CancellationError() : WebFailure.judged(error)
        }
        if response.status == 429 || response.status == 503 {
            let pause = await pace.leave(retryAfter: RetryAfter.read(response))
            guard response.status == 429 || response.header("Retry-After") != nil else {
                throw CalendarError.serverAway("status 503")
            }
            throw CalendarError.rateLimited(pause, "status \(response.status)")
        }
        await pace.leave(isWelcome: true)
        guard response.status != 401 else { throw CalendarError.credentialsRefused("status 401") }
        return Answer(status: response.status, address: request.address, response: response)
    }

    private func pace(for origin: CalDAVOrigin) -> HostPace {
        paces.withLock { paces in
            if let pace = paces[origin] { return pace }
            let pace = HostPace(settings.limits, clock: clock)
            paces[origin] = pace
            return pace
        }
    }

    func sleep(for pause: Duration) async throws { try await clock.sleep(for: pause) }

    func close() async { await client.close() }

    // MARK: - Failures

    /// What an answer says that is none of those that the caller knows.
    static func failure(_ answer: Answer, about what: String) -> CalendarError {
        switch answer.status {
        case 403: .forbidden("status 403")
        case 404, 410: .notFound(what)
        case 423: .serverAway("status 423, a lock on \(what)")
        case 507: .quotaExceeded
        case 500...: .serverAway("status \(answer.status)")
        default:
            .violation(
                "the calendar server refuses the request", expected: "an answer to what was asked",
                found: "status \(answer.status)")
        }
    }
}

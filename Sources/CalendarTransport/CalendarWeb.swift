package import CalendarBackend
package import Diagnostics
package import HTTPClient
import WireText

/// Who gives the bearer tokens (RFC 6750) of users.
package protocol BearerTokens: Sendable {
    /// - Parameter refused: the token that the server did not take just now; nil for any that is still good.
    /// - Throws: `CalendarError`, such as `credentialsRefused`.
    func token(for user: CalendarUser, refused: Redacted<String>?) async throws -> Redacted<String>
}

/// Sends requests to one calendar service over HTTP: a token for each user, the pace of the host, failures as
/// `CalendarError`s. Any thread.
///
/// A 401 is answered once with a new token. 429, 503 and what the service has for them stop all requests to the host for
/// as long as it says (`HostGate`). It follows no redirection and goes to no other origin than its own.
package final class CalendarWeb: Sendable {
    package struct Request: Sendable {
        package var method: String
        /// Path and query on the service's origin.
        package var path: String
        package var headers: [(String, String)]
        package var body: [UInt8]
        package var limit: Int

        package init(
            _ method: String, _ path: String, headers: [(String, String)] = [], body: [UInt8] = [],
            limit: Int = 32 << 20
        ) {
            self.method = method
            self.path = path
            self.headers = headers
            self.body = body
            self.limit = limit
        }
    }

    /// What an answer says of the pace.
    package enum Push: Sendable, Equatable {
        case none
        /// Nil: the service does not say for how long.
        case back(Duration?)
    }

    package let origin: String
    private let timeout: Duration
    private let client: WebClient
    private let streams: WebClient
    private let pace: HostPace
    private let tokens: any BearerTokens
    private let scheme: String
    private let push: @Sendable (WebResponse) -> Push

    /// - Parameters:
    ///   - origin: `https://host[:port]`.
    ///   - client: with the trust, the pins and the proxy of this service; it is closed with this.
    ///   - streams: for answers that go on for long, so that they take no connection of the others; nil: the same.
    ///   - scheme: of the tokens: `Bearer`, or `Basic` (`GivenTokens.basic`).
    ///   - push: how this service says that it wants fewer requests, besides 429 and 503.
    /// - Throws: `configuration`.
    package init(
        origin: String, limits: HostGate.Limits, timeout: Duration, client: WebClient, streams: WebClient? = nil,
        clock: any Clock<Duration>, tokens: any BearerTokens, scheme: String = "Bearer",
        push: @escaping @Sendable (WebResponse) -> Push = { _ in .none }
    ) throws(CalendarError) {
        guard origin.hasPrefix("https://") || origin.hasPrefix("http://"), origin.split(separator: "/").count == 2
        else {
            throw .configuration("the URL of the calendar service can not be used", expected: "https://host[:port]")
        }
        self.origin = origin
        self.timeout = timeout
        self.client = client
        self.streams = streams ?? client
        self.tokens = tokens
        self.scheme = scheme
        self.push = push
        pace = HostPace(limits, clock: clock)
    }

    /// The answer has any status but 401, 429 and 503.
    package func send(_ request: Request, for user: CalendarUser) async throws -> WebResponse {
        let token = try await tokens.token(for: user, refused: nil)
        let first = try await once(request, token)
        guard first.status == 401 else { return first }
        // It may have ended early: the service took back all tokens, or the clocks differ.
        let second = try await once(request, try await tokens.token(for: user, refused: token))
        guard second.status != 401 else { throw CalendarError.credentialsRefused("status 401") }
        return second
    }

    /// A request whose answer goes on; the pace of the host counts its beginning only.
    ///
    /// - Parameter take: the octets of a 2xx answer as they come; what it throws ends the connection.
    package func stream(
        _ request: Request, for user: CalendarUser, upTo time: Duration,
        _ take: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws -> WebResponse {
        let header = try Self.authorization(scheme, try await tokens.token(for: user, refused: nil))
        try await pace.enter()
        await pace.leave(isWelcome: true)
        do {
            return try await streams.stream(
                WebRequest(
                    method: request.method, url: origin + request.path, headers: request.headers + [header],
                    body: request.body, timeout: time, maximumResponseBytes: request.limit), take)
        } catch let error as CalendarError {
            throw error
        } catch {
            throw Task.isCancelled ? CancellationError() : WebFailure.judged(error)
        }
    }

    package func close() async {
        await client.close()
        await streams.close()
    }

    /// The path of an absolute URL of the service's own origin; nil for any other.
    package func path(of url: String) -> String? {
        guard url.utf8.count <= 8192, url.hasPrefix(origin + "/") else { return nil }
        return String(url.dropFirst(origin.count))
    }

    private static func authorization(
        _ scheme: String, _ token: Redacted<String>
    ) throws(CalendarError) -> (String, String) {
        let header = token.reveal { ("Authorization", scheme + " " + $0) }
        guard header.1.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
            throw .configuration("the token can not be sent", expected: "printable ASCII")
        }
        return header
    }

    private func once(_ request: Request, _ token: Redacted<String>) async throws -> WebResponse {
        guard request.path.hasPrefix("/"), request.path.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw CalendarError.violation("a name can not be asked for", expected: "a path in ASCII")
        }
        let header = try Self.authorization(scheme, token)
        try await pace.enter()
        let response: WebResponse
        do {
            response = try await client.send(
                WebRequest(
                    method: request.method, url: origin + request.path, headers: request.headers + [header],
                    body: request.body, timeout: timeout, maximumResponseBytes: request.limit))
        } catch {
            await pace.leave(isWelcome: false)
            throw Task.isCancelled ? CancellationError() : WebFailure.judged(error)
        }
        var push = push(response)
        if push == .none, response.status == 429 || response.status == 503 { push = .back(RetryAfter.read(response)) }
        if case .back(let wish) = push {
            let pause = await pace.leave(retryAfter: wish)
            guard response.status != 503 || wish != nil else { throw CalendarError.serverAway("status 503") }
            throw CalendarError.rateLimited(pause, "status \(response.status)")
        }
        await pace.leave(isWelcome: true)
        return response
    }
}

/// The text of a path segment or of a query's value with all but letters, digits and `-._~` encoded.
package enum URLText {
    package static func encoded(_ text: String) -> String {
        var result = ""
        for octet in text.utf8 {
            switch octet {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E:
                result.unicodeScalars.append(UnicodeScalar(octet))
            default: result += "%" + (octet < 16 ? "0" : "") + String(octet, radix: 16, uppercase: true)
            }
        }
        return result
    }

    /// Nil: no UTF-8, or an escape without its digits.
    package static func decoded(_ text: some StringProtocol) -> String? {
        var octets: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let octet = rest.popFirst() {
            guard octet == UInt8(ascii: "%") else {
                octets.append(octet)
                continue
            }
            guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else {
                return nil
            }
            rest = rest.dropFirst(2)
            octets.append(value)
        }
        return String(validating: octets, as: UTF8.self)
    }
}

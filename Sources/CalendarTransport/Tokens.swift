package import CalendarBackend
package import Diagnostics
package import HTTPClient
import WireText

/// Tokens that somebody else keeps fresh, such as a file or another service.
package struct GivenTokens: BearerTokens {
    private let give: @Sendable (CalendarUser) async throws -> Redacted<String>?

    package init(_ give: @escaping @Sendable (CalendarUser) async throws -> Redacted<String>?) { self.give = give }

    package func token(for user: CalendarUser, refused: Redacted<String>?) async throws -> Redacted<String> {
        guard let token = try await give(user) else { throw CalendarError.credentialsRefused("no token for the user") }
        return token
    }
}

extension GivenTokens {
    /// A user's name and password (RFC 7617), for a service that takes no tokens; the scheme is `Basic`.
    package static func basic(
        _ give: @escaping @Sendable (CalendarUser) async throws -> (user: String, password: Redacted<String>)?
    ) -> GivenTokens {
        GivenTokens { user in
            guard let (name, password) = try await give(user) else { return nil }
            guard !name.contains(":") else {
                throw CalendarError.configuration("the credentials can not be sent", expected: "a user without ':'")
            }
            return Redacted(password.reveal { Base64.encode(Array("\(name):\($0)".utf8)) })
        }
    }
}

/// Keeps the tokens that an authorization server grants, and asks for new ones a minute before they end or when one was
/// refused. One request at a time for each key; failures are not kept.
package actor GrantedTokens: BearerTokens {
    package struct Grant: Sendable {
        package let token: Redacted<String>
        package let lifetime: Duration

        package init(token: Redacted<String>, lifetime: Duration) {
            self.token = token
            self.lifetime = lifetime
        }
    }

    private static let margin = Duration.seconds(60)
    private static let mostKept = 50_000

    private let key: @Sendable (CalendarUser) -> String
    private let grant: @Sendable (CalendarUser) async throws -> Grant
    private let elapsed: @Sendable () -> Duration
    private var kept: [String: (token: Redacted<String>, until: Duration)] = [:]
    private var asked: [String: Task<Grant, any Error>] = [:]

    /// - Parameters:
    ///   - key: which users share a token; the same for all where the application acts for them.
    ///   - grant: asks for a new one.
    package init(
        clock: any Clock<Duration>, key: @escaping @Sendable (CalendarUser) -> String,
        grant: @escaping @Sendable (CalendarUser) async throws -> Grant
    ) {
        self.key = key
        self.grant = grant
        elapsed = clock.stopwatch()
    }

    package func token(for user: CalendarUser, refused: Redacted<String>?) async throws -> Redacted<String> {
        let key = key(user)
        if let known = kept[key], elapsed() < known.until {
            guard let refused, refused.reveal({ $0 }) == known.token.reveal({ $0 }) else { return known.token }
        }
        let task: Task<Grant, any Error>
        if let running = asked[key] {
            task = running
        } else {
            task = Task { [grant] in try await grant(user) }
            asked[key] = task
        }
        defer { if asked[key] == task { asked[key] = nil } }
        let new = try await task.value
        if kept.count >= Self.mostKept { kept.removeAll() }
        kept[key] = (new.token, elapsed() + max(.zero, new.lifetime - Self.margin))
        return new.token
    }
}

/// A request for a token at an OAuth 2.0 token endpoint (RFC 6749, section 4.4; RFC 7523, section 2.1).
package enum TokenRequest {
    package static func send(
        to url: String, _ form: [(String, String)], client: WebClient, timeout: Duration = .seconds(30)
    ) async throws -> GrantedTokens.Grant {
        let body = form.map { "\(URLText.encoded($0.0))=\(URLText.encoded($0.1))" }.joined(separator: "&")
        let response: WebResponse
        do {
            response = try await client.send(
                WebRequest(
                    method: "POST", url: url,
                    headers: [
                        ("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json"),
                    ], body: Array(body.utf8), timeout: timeout, maximumResponseBytes: 1 << 18))
        } catch {
            throw Task.isCancelled ? CancellationError() : WebFailure.judged(error)
        }
        let root = try? JSONDocument(response.body).root
        guard response.status == 200 else {
            let code = root?["error"]?.string.map { String($0.prefix(60)) } ?? "status \(response.status)"
            // Section 5.2: what is asked for will not be granted by asking again.
            if [400, 401, 403].contains(response.status) { throw CalendarError.credentialsRefused(code) }
            if response.status == 429 { throw CalendarError.rateLimited(RetryAfter.read(response), code) }
            throw CalendarError.serverAway("the token endpoint: \(code)")
        }
        guard let root, let token = root["access_token"]?.string, !token.isEmpty,
            root["token_type"]?.string?.lowercased() ?? "bearer" == "bearer"
        else {
            throw CalendarError.violation("a token can not be read", expected: "an access_token of type Bearer")
        }
        let seconds = max(0, min(root["expires_in"]?.integer ?? 300, 86_400))
        return GrantedTokens.Grant(token: Redacted(token), lifetime: .seconds(seconds))
    }
}

package import CalendarBackend
package import Diagnostics

/// Tokens that somebody else keeps fresh, such as a file or another service.
package struct GivenTokens: BearerTokens {
    private let give: @Sendable (CalendarUser) async throws -> Redacted<String>?

    package init(_ give: @escaping @Sendable (CalendarUser) async throws -> Redacted<String>?) { self.give = give }

    package func token(for user: CalendarUser, refused: Redacted<String>?) async throws -> Redacted<String> {
        guard let token = try await give(user) else { throw CalendarError.credentialsRefused("no token for the user") }
        return token
    }
}

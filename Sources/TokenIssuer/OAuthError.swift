/// A refusal in the words of OAuth: the code of the standard and a sentence for the developer of the client.
///
/// The description is constant text or names a parameter; it never repeats what came, so that it can stand in a header,
/// a page or a log (RFC 6749, section 5.2, also limits its characters).
package struct OAuthError: Error, Hashable, Sendable {
    package enum Code: String, Sendable {
        // RFC 6749, sections 4.1.2.1 and 5.2
        case invalidRequest = "invalid_request"
        case invalidClient = "invalid_client"
        case invalidGrant = "invalid_grant"
        case invalidScope = "invalid_scope"
        case unauthorizedClient = "unauthorized_client"
        case unsupportedGrantType = "unsupported_grant_type"
        case unsupportedResponseType = "unsupported_response_type"
        case temporarilyUnavailable = "temporarily_unavailable"
        case serverError = "server_error"
        case accessDenied = "access_denied"
        // RFC 8707, section 2: the audience that was asked for is unknown or not allowed
        case invalidTarget = "invalid_target"
        // RFC 7009, section 2.2.1
        case unsupportedTokenType = "unsupported_token_type"
    }

    package let code: Code
    package let description: String
    /// Seconds after which to try again, for refusals that pass.
    package let retryAfter: Int64?
    /// The client is to erase what it keeps (`wipe` beside the members of the standard).
    package let ordersWipe: Bool

    package init(_ code: Code, _ description: String, retryAfter: Int64? = nil, ordersWipe: Bool = false) {
        self.ordersWipe = ordersWipe
        self.code = code
        self.description = description
        self.retryAfter = retryAfter
    }

    init(_ repeated: FormParameters.Repeated) {
        // The name is one of those this program reads, so it is safe to repeat.
        self.init(.invalidRequest, "the parameter \(repeated.name) came more than once")
    }

    /// The status at the token and revocation endpoints.
    package var status: Int {
        switch code {
        case .invalidClient: 401
        case .temporarilyUnavailable: retryAfter == nil ? 503 : 429
        case .serverError: 500
        default: 400
        }
    }
}

extension FormParameters {
    /// A parameter as the token and revocation endpoints read it.
    func optional(_ name: String) throws(OAuthError) -> String? {
        do { return try value(name) } catch { throw OAuthError(error) }
    }

    func required(_ name: String) throws(OAuthError) -> String {
        guard let value = try optional(name) else {
            throw OAuthError(.invalidRequest, "the parameter \(name) is missing")
        }
        return value
    }
}

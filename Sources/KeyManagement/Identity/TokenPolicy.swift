import KMSProtocol
import WireText

/// What a token has to fulfil at this KMS, whatever its form.
///
/// Rules, in this order:
/// 1. Its audience holds the one that is configured. A token for the cloud has another one: the cloud, which sees those,
///    can not use them here.
/// 2. It belongs to the configured organisation, where one is configured.
/// 3. It is valid now, give or take the clock skew; it was not issued in the future, for else its life could not be told.
/// 4. It does not live longer than allowed; one that does not say when it was issued lives for ever.
/// 5. It has the configured scope, where one is configured.
package struct TokenPolicy: Sendable {
    /// As `iss` has it.
    package var issuer: String
    package var audience: String
    /// Whether the customer runs the issuer; with one that the cloud runs, the cloud can impersonate users (rule 1).
    package var isCustomerControlled: Bool
    package var organisation: String?
    package var scope: String?
    /// Seconds by which the clocks of issuer and KMS may differ.
    package var clockSkew: Int64
    /// Longest `exp - iat`, in seconds.
    package var longestLife: Int64

    package init(
        issuer: String, audience: String = "kms", isCustomerControlled: Bool, organisation: String? = nil,
        scope: String? = nil, clockSkew: Int64 = 60, longestLife: Int64 = 86_400
    ) {
        self.issuer = issuer
        self.audience = audience
        self.isCustomerControlled = isCustomerControlled
        self.organisation = organisation
        self.scope = scope
        self.clockSkew = clockSkew
        self.longestLife = longestLife
    }

    func judge(_ identity: TokenIdentity, notBefore: Timestamp?, now: Timestamp) throws(KMSFailure) {
        guard identity.audience.contains(audience) else { throw TokenRule.wrongAudience.failure }
        if let organisation, identity.organisation != organisation { throw TokenRule.wrongOrganisation.failure }
        guard now < identity.expires.adding(seconds: clockSkew) else { throw TokenRule.expired.failure }
        let latest = now.adding(seconds: clockSkew)
        if let notBefore, latest < notBefore { throw TokenRule.notYetValid.failure }
        guard let issued = identity.issued else { throw TokenRule.tooLongLived.failure }
        guard issued <= latest else { throw TokenRule.notYetValid.failure }
        guard identity.expires.milliseconds <= issued.adding(seconds: longestLife).milliseconds else {
            throw TokenRule.tooLongLived.failure
        }
        if let scope, !identity.scopes.contains(scope) { throw TokenRule.missingScope.failure }
    }
}

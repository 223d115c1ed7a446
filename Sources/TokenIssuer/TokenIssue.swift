package import Diagnostics
import WireText

// How what a token says becomes the text that its holder gets.
extension AuthorizationService {
    /// The texts of tokens, in their order. A JWT is signed; of an opaque one the digest is on the disk when this returns.
    func issue(
        _ tokens: [AccessToken], person: UserAccount?, formats: [Audience: TokenFormat], now: Timestamp
    ) async throws -> [String] {
        let key = keys.ring(at: now).current
        var texts: [String] = []
        var kept: [(digest: String, token: AccessToken)] = []
        for token in tokens {
            switch formats[token.audience] ?? settings.tokenFormats[token.audience] {
            case .jwt: texts.append(try self.tokens.signed(token, person: person, key: key))
            case .opaque:
                let text = OpaqueToken.text(
                    secret: try surroundings.random(32), cluster: settings.tokenFormats.cluster,
                    organisation: token.organisation)
                kept.append((SecretDigest.of(text), token))
                texts.append(text)
            }
        }
        if !kept.isEmpty, try await !grants.insert(kept) {
            throw OAuthError(.invalidGrant, "the login has ended: sign in again")
        }
        return texts
    }
}

extension IssuerSettings {
    /// Refuses an organisation that could not stand in the opaque tokens that these settings or the accounts ask for.
    /// - Parameter made: organisations of accounts that first logins at providers make.
    package func requireUsableOrganisations(
        of accounts: Accounts, made: [String] = []
    ) throws(DiagnosedError) {
        let isOpaqueByDefault = tokenFormats.cloud == .opaque || tokenFormats.kms == .opaque
        let isOpaqueSomewhere =
            isOpaqueByDefault || accounts.clients.contains { $0.tokenFormats.values.contains(.opaque) }
            || accounts.services.contains { $0.tokenFormats.values.contains(.opaque) }
        guard isOpaqueSomewhere else { return }
        let organisations = Set(accounts.users.map(\.organisation) + accounts.services.map(\.organisation) + made)
        for organisation in organisations.sorted() where !OpaqueToken.isField(organisation) {
            throw DiagnosedError(
                .accountsFile, fault: .configuration, "an organisation can not stand in an opaque token",
                expected: "1 to 64 letters, digits, - and .", found: String(organisation.prefix(64)),
                hint: "rename the organisation, or let token-format be jwt everywhere")
        }
    }
}

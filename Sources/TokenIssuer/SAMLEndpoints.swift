import Diagnostics
import HTTPTypes
import SAMLServiceProvider

/// The addresses that a SAML provider uses: where answers arrive, where logout arrives, and what this service is.
extension AuthorizationService {
    /// `POST /saml/NAME/acs`
    package func finishSAMLLogin(provider name: String, body: [UInt8], visitor: Visitor) async -> Reply {
        guard let provider = providers[name], case .saml(let saml) = provider.connection else {
            return refusalPage("There is no such sign-in service.", status: .notFound)
        }
        let answer: SAMLServiceProvider.Answer
        do {
            guard visitor.sendsForm, let form = try? FormParameters(parsing: body),
                let field = try? form.value("SAMLResponse")
            else { throw ProviderRefusal(.unreadable) }
            answer = try saml.read(field)
        } catch {
            recordProvider(error, provider)
            return refusalPage(
                "The answer of \(provider.title) did not arrive in a readable way, or is the answer to no sign-in that "
                    + "was begun in an application.")
        }
        return await end(attempt: answer.requestID, at: provider, visitor) { _ in
            let identity = try await saml.finish(answer, requestID: answer.requestID)
            let isNew = try await grants.note(
                once: "assertion " + identity.assertionID, of: provider.name, until: identity.assertionExpires)
            guard isNew else { throw ProviderRefusal(.replayed) }
            return ProvenIdentity(
                subject: identity.subject, sessionSubject: identity.nameID.value, address: identity.address,
                name: identity.name, session: identity.session, hint: identity.nameID.stored)
        }
    }

    /// `GET /saml/NAME/logout`: a request of the provider, or its answer to one of this service.
    package func samlLogout(provider name: String, query: [UInt8]) async -> Reply {
        guard let provider = providers[name], case .saml(let saml) = provider.connection else {
            return refusalPage("There is no such sign-in service.", status: .notFound)
        }
        guard let form = try? FormParameters(parsing: query) else {
            return refusalPage("The message of \(provider.title) did not arrive in a readable way.")
        }
        // The login here ended before the browser was sent there: nothing depends on the answer.
        if let answer = try? form.value("SAMLResponse"), !answer.isEmpty {
            return .page(.ok, Pages.signedOut(domain: settings.domain))
        }
        return await endSAML(at: provider, saml, relayState: (try? form.value("RelayState")) ?? nil) {
            try saml.logout(query: query)
        }
    }

    /// `POST /saml/NAME/logout`
    package func samlLogout(provider name: String, body: [UInt8], visitor: Visitor) async -> Reply {
        guard let provider = providers[name], case .saml(let saml) = provider.connection else {
            return refusalPage("There is no such sign-in service.", status: .notFound)
        }
        guard visitor.sendsForm, let form = try? FormParameters(parsing: body) else {
            return refusalPage("The message of \(provider.title) did not arrive in a readable way.")
        }
        if let answer = try? form.value("SAMLResponse"), !answer.isEmpty {
            return .page(.ok, Pages.signedOut(domain: settings.domain))
        }
        return await endSAML(at: provider, saml, relayState: (try? form.value("RelayState")) ?? nil) {
            guard let field = try form.value("SAMLRequest") else { throw ProviderRefusal(.unreadable) }
            return try await saml.logout(field: field)
        }
    }

    private func endSAML(
        at provider: IdentityProvider, _ saml: SAMLServiceProvider, relayState: String?,
        read: () async throws -> SAMLServiceProvider.LogoutNotice
    ) async -> Reply {
        do {
            let notice = try await read()
            try await end(
                .init(subject: notice.nameID.value, session: notice.session), at: provider,
                noticeID: "logout " + notice.id, expires: notice.expires)
            let state = relayState.flatMap { $0.utf8.count <= 80 ? $0 : nil }
            guard let address = try saml.logoutAnswer(to: notice, relayState: state) else {
                return .page(.ok, Pages.signedOut(domain: settings.domain))
            }
            return .redirect(address)
        } catch {
            recordProvider(error, provider)
            return refusalPage("The request of \(provider.title) to sign you out does not count.")
        }
    }

    /// `GET /saml/metadata`
    package func samlMetadata() -> Reply {
        let all = providers.list.compactMap { provider -> SAMLServiceProvider? in
            if case .saml(let saml) = provider.connection { saml } else { nil }
        }
        guard let text = SAMLServiceProvider.metadata(all, certificate: providers.certificate) else {
            return refusalPage("There is no such sign-in service.", status: .notFound)
        }
        return Reply(
            status: .ok,
            headers: [.contentType: "application/samlmetadata+xml", .cacheControl: "public, max-age=300"],
            body: Array(text.utf8))
    }
}

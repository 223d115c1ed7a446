import Cryptography
package import Diagnostics
import DomainPolicy
import HTTPClient
import TLSChannel
import WireText

/// Logging in: decides which domain is believed, proves that its servers still are who they were, and gets the tokens.
///
/// 1. The domain's profile is the pinned one, or comes from a file, or is made at first contact and confirmed.
/// 2. The authorization service and the core say again what they are; anything that differs ends here.
/// 3. The user logs in; the state keeps who it is.
package struct Login: Sendable {
    let store: StateStore
    let environment: ClientEnvironment

    package init(_ store: StateStore, environment: ClientEnvironment = ClientEnvironment()) {
        self.store = store
        self.environment = environment
    }

    /// How the user proves who it is.
    package enum Proof: Sendable {
        case password(Redacted<String>)
        /// `show` gets the URL to open.
        case browser(show: @Sendable (String) -> Void)
    }

    // MARK: - Domain

    /// What is pinned, if anything is.
    package func pinnedProfile() throws -> DomainProfile? { try store.current().profile }

    /// Pins a profile. Another one than is pinned is refused unless it replaces it by the user's explicit wish, which
    /// ends the login as well: keys and session were of the other one.
    package func pin(_ profile: DomainProfile, replacing: Bool = false) throws {
        if let pinned = try store.current().profile {
            if pinned == profile { return }
            guard replacing else { return try DomainPins(pinned).check(profile) }
        }
        try store.update { state in
            state = ClientState()
            state.profile = profile
        }
    }

    /// First contact: what the authorization service at `server` says of its domain, to be confirmed before it is pinned.
    ///
    /// - Parameters:
    ///   - issuerTrust: for that server. Whoever controls it controls the domain's profile.
    ///   - coreTrust: for the core, of which the authorization service knows no certificate.
    package static func firstContact(
        server: String, issuerTrust: ServerTrust, coreTrust: ServerTrust,
        environment: ClientEnvironment = ClientEnvironment()
    ) async throws -> DomainProfile {
        let issuer = server.hasSuffix("/") ? String(server.dropLast()) : server
        guard let address = WebAddress(issuer), address.scheme == .https || address.scheme == .http else {
            throw DiagnosedError(
                .urlInvalid, fault: .client, "that is no address of an authorization service", expected: "https://HOST",
                found: server.loggable)
        }
        let web = try issuerTrust.webClient(for: issuer)
        let client = AuthorizationClient(
            web: web, issuer: issuer, clientID: DomainProfile.defaultClientID, now: environment.now)
        do {
            let document = try await client.domainDocument()
            await web.close()
            guard document.issuer == issuer else {
                throw DiagnosedError(
                    .domainChanged, fault: .peer, "the authorization service calls itself otherwise", expected: issuer,
                    found: document.issuer.loggable)
            }
            return try DomainProfile(
                domain: document.domain, issuer: issuer, issuerTrust: issuerTrust, core: document.core,
                coreTrust: coreTrust, kmsCluster: document.kmsCluster, kmsRoots: document.kmsRoots)
        } catch {
            await web.close()
            throw error
        }
    }

    // MARK: - User

    /// Logs in under the pinned profile.
    package func logIn(email: String, proof: Proof) async throws -> Account {
        let state = try store.current()
        guard let profile = state.profile else {
            throw DiagnosedError(
                .domainUnconfirmed, fault: .client, "nothing is known of your domain yet",
                hint: "log in with --profile FILE or --server URL")
        }
        try Self.check(email, profile)
        await WipeMark.settle(store.folder, now: environment.now)
        if let account = state.account, account.email.lowercased() != email.lowercased() {
            throw DiagnosedError(
                .loginRefused, fault: .client, "this state belongs to \(account.email)", found: email.loggable,
                hint: "log out first, or use another --home")
        }
        let core = try profile.coreTrust.webClient(for: profile.core)
        let issuer = try profile.issuerTrust.webClient(for: profile.issuer)
        do {
            let account = try await logIn(email, proof, profile, core: core, issuer: issuer)
            await core.close()
            await issuer.close()
            return account
        } catch {
            await core.close()
            await issuer.close()
            throw error
        }
    }

    private func logIn(
        _ email: String, _ proof: Proof, _ profile: DomainProfile, core: WebClient, issuer: WebClient
    ) async throws -> Account {
        let authorization = AuthorizationClient(
            web: issuer, issuer: profile.issuer, clientID: profile.clientID, now: environment.now)
        try DomainPins(profile).check(try await authorization.domainDocument())
        let bootstrap = try await CloudService.bootstrap(core, profile, email: email)
        let answer: TokenAnswer
        switch proof {
        case .password(let password): answer = try await authorization.login(email: email, password: password)
        case .browser(let show):
            answer = try await authorization.loginWithBrowser(email: email, sleep: environment.sleep, show: show)
        }
        guard answer.account.email.lowercased() == email.lowercased() else {
            throw DiagnosedError(
                .loginRefused, fault: .client, "somebody else has logged in", expected: email.loggable,
                found: answer.account.email.loggable, hint: "log out in the browser and begin again")
        }
        let previous = try store.current()
        guard previous.account.map({ $0.id == answer.account.id }) ?? true else {
            throw DiagnosedError(
                .loginRefused, fault: .peer, "the authorization service gives another user for \(email.loggable)",
                expected: previous.account?.id, found: answer.account.id,
                hint: "log out first if the account was made anew")
        }
        // Before anything of the login is on the disk.
        try answer.policy?.check(isProtected: store.isProtected)
        let now = environment.now()
        try store.update { state in
            state.account = answer.account
            state.tokens = answer.tokens
            state.policy = answer.policy
            state.lastUsed = now
        }
        try WipeMark.forget(store.folder)
        // Others can find a user after the first registration of a device.
        let tokens = TokenSource(
            store: store, authorization: authorization, now: environment.now, sleep: environment.sleep)
        let cloud = CloudService(web: core, pins: DomainPins(profile), tokens: tokens, bootstrap: bootstrap)
        let slot = try DeviceSlot.take(store: store, cloud: cloud, name: environment.deviceName)
        do {
            _ = try await slot.device()
        } catch let error as DiagnosedError where error.code == .cloudNotFound || error.code == .cloudForbidden {
            _ = try await slot.device(renewed: true)
        }
        return answer.account
    }

    private static func check(_ email: String, _ profile: DomainProfile) throws(DiagnosedError) {
        let parts = email.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, email.utf8.count <= 320 else {
            throw DiagnosedError(
                .loginRefused, fault: .client, "that is no e-mail address", expected: "NAME@DOMAIN",
                found: email.loggable)
        }
        guard parts[1].lowercased() == profile.domain else {
            throw DiagnosedError(
                .loginRefused, fault: .client, "the address is not of the domain that is pinned here",
                expected: "…@\(profile.domain)", found: email.loggable, hint: "use another --home for another domain")
        }
    }
}

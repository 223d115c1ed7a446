import Cryptography
package import Diagnostics
package import DirectoryModel
import Synchronization
package import WireText

/// The authorization service: accounts, keys, logins and limits, with the endpoints as extensions beside it.
///
/// Thread-safe; any number of requests at once. Nothing here knows sockets: an endpoint takes parameters and gives a
/// `Reply`, which `IssuerRoutes` carries to the web server. Time and randomness are injected.
package final class AuthorizationService: Sendable {
    package let settings: IssuerSettings
    package let accounts: AccountDirectory
    package let keys: SigningKeys
    package let grants: GrantStore
    /// Where people sign in who have no password here.
    package let providers: IdentityProviders
    package let directory: DirectoryStore
    let gate: AttemptGate
    let passwords: PasswordCheck
    let provenSecrets: ProvenSecrets
    /// The signed list as it was last given out, and of which second, version and key it is.
    let lastRevocationList = Mutex<(name: String, text: String)?>(nil)
    let tokens: AccessTokens
    let events: (any EventRecorder)?
    let metrics: MetricRegistry
    let surroundings: Surroundings

    /// What the service takes from the world and a test gives it.
    package struct Surroundings: Sendable {
        package let now: @Sendable () -> Timestamp
        package let random: @Sendable (_ count: Int) throws -> [UInt8]

        package init(
            now: @escaping @Sendable () -> Timestamp = { Timestamp.now() },
            random: @escaping @Sendable (Int) throws -> [UInt8] = { try RandomBytes.bytes($0) }
        ) {
            self.now = now
            self.random = random
        }
    }

    /// Opens what the service keeps in `stateFolder`: signing keys and logins.
    package init(
        settings: IssuerSettings, accounts: AccountDirectory, providers: IdentityProviders = IdentityProviders(),
        stateFolder: String, events: (any EventRecorder)? = nil,
        metrics: MetricRegistry = MetricRegistry(), surroundings: Surroundings = Surroundings(),
        passwords: PasswordCheck? = nil
    ) throws {
        self.settings = settings
        self.accounts = accounts
        self.providers = providers
        self.events = events
        self.metrics = metrics
        self.surroundings = surroundings
        keys = try SigningKeys(
            folder: stateFolder, schedule: settings.keySchedule, now: surroundings.now(), events: events)
        grants = try GrantStore(path: stateFolder + "/logins.sqlite")
        accounts.add(try grants.madeAccounts())
        directory = try DirectoryStore(path: stateFolder + "/directory.sqlite")
        accounts.take(try AccountOverlay(directory.snapshot(), organisation: settings.directoryOrganisation))
        gate = AttemptGate(rates: settings.attempts)
        self.passwords = try passwords ?? PasswordCheck()
        provenSecrets = try ProvenSecrets()
        tokens = AccessTokens(issuer: settings.issuer, lifetime: settings.lifetimes.accessToken)
    }

    /// 256 random bits as text: codes, refresh tokens, cookies.
    func secret() throws -> String { Base64URL.encode(try surroundings.random(32)) }

    /// 128 random bits as text: names of tokens and families.
    func identifier() throws -> String { Base64URL.encode(try surroundings.random(16)) }

    /// A proof that tokens can be made and kept, for the health address and the watchdog.
    package func check() async throws {
        let now = surroundings.now()
        let ring = keys.ring(at: now)
        let probe = Array("hds-auth self-test".utf8)
        let signature = try ring.current.privateKey.sign(probe, algorithm: .es256)
        guard ring.current.publicKey.isValidSignature(signature, for: probe, algorithm: .es256) else {
            throw DiagnosedError(.selfTest, fault: .internal, "a signature made just now does not verify")
        }
        _ = try await grants.familyCount()
    }

    /// Forgets what has expired; to be called now and then.
    package func purge() async throws {
        let now = surroundings.now()
        try await grants.purge(now: now)
        try await finishCutOffs(now: now)
        _ = keys.ring(at: now)
    }

    /// After the last request.
    package func close() {
        do { try grants.close() } catch { recordFailure(error) }
        do { try directory.close() } catch { recordFailure(error) }
    }

    // MARK: - What the journal hears

    /// A user as the journal names him: the same for the same user, and useless to who does not have the list of users.
    static func pseudonym(_ id: String) -> Loggable {
        Loggable(reviewed: String(Hexadecimal.encode(SHA256.hash(Array("hds-auth subject \(id)".utf8))).prefix(16)))
    }

    /// Something of this service's own failed: the visitor hears that much, the journal hears why.
    func recordFailure(_ error: any Error) {
        events?.record(
            .standingWarning,
            [
                .detail: "a request could not be served: \(Loggable(error: error))",
                .fix: "look at the state folder: its disk, its owner, the space left",
            ])
    }
}

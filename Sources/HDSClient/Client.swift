package import Diagnostics
import HTTPClient
import KMSClient
import KMSProtocol
package import WireText

/// What a client takes from its surroundings.
package struct ClientEnvironment: Sendable {
    package var now: @Sendable () -> Timestamp
    package var sleep: Sleep
    /// Name of the device, as the user sees it in a list.
    package var deviceName: String
    /// Told what was received and refused, for a log.
    package var note: @Sendable (DiagnosedError) -> Void

    package init(
        now: @escaping @Sendable () -> Timestamp = { Timestamp.now() }, sleep: Sleep = .real,
        deviceName: String = "hds",
        note: @escaping @Sendable (DiagnosedError) -> Void = { _ in }
    ) {
        self.now = now
        self.sleep = sleep
        self.deviceName = deviceName
        self.note = note
    }
}

/// A client of one user, logged in and connected: spaces, messages and files under keys of the customer's own KMS.
///
/// ```swift
/// let store = try StateStore.open(folder: home) { nil }
/// let client = try await Client.connect(store)
/// let space = try await client.spaces.find("Project X")
/// try await client.spaces.post("hello", in: space)
/// await client.close()
/// ```
/// Any thread. The event socket is opened when the first request to the KMS needs it, or by `changes`.
package final class Client: Sendable {
    package let account: Account
    package let profile: DomainProfile
    package let spaces: Spaces
    package let meetings: Meetings
    package let keys: KeyRing
    package let kms: KMSConnection
    let cloud: CloudService
    private let store: StateStore
    private let events: EventSocket
    private let router: EventRouter
    private let authorization: AuthorizationClient
    private let webClients: [WebClient]
    private let now: @Sendable () -> Timestamp

    /// Connects whoever is logged in in this state.
    ///
    /// - Parameter leaving: only to log out, which a policy of the domain does not hinder.
    package static func connect(
        _ store: StateStore, environment: ClientEnvironment = ClientEnvironment(), leaving: Bool = false
    ) async throws -> Client {
        if !leaving { try store.keepToPolicy(now: environment.now()) }
        let state = try store.current()
        guard let profile = state.profile, let account = state.account, state.tokens != nil else {
            guard let mark = try WipeMark.read(store.folder) else { throw TokenSource.notLoggedIn() }
            await WipeMark.settle(store.folder, now: environment.now)
            throw WipeMark.error(at: mark.wiped)
        }
        let core = try profile.coreTrust.webClient(for: profile.core)
        let issuer = try profile.issuerTrust.webClient(for: profile.issuer)
        do {
            let bootstrap = try await CloudService.bootstrap(core, profile, email: account.email)
            return try Client(store, profile, account, environment, bootstrap: bootstrap, core: core, issuer: issuer)
        } catch {
            await core.close()
            await issuer.close()
            throw error
        }
    }

    private init(
        _ store: StateStore, _ profile: DomainProfile, _ account: Account, _ environment: ClientEnvironment,
        bootstrap: Bootstrap, core: WebClient, issuer: WebClient
    ) throws {
        let (now, sleep) = (environment.now, environment.sleep)
        let authorization = AuthorizationClient(
            web: issuer, issuer: profile.issuer, clientID: profile.clientID, now: now)
        let tokens = TokenSource(store: store, authorization: authorization, now: now, sleep: sleep)
        let cloud = CloudService(web: core, pins: DomainPins(profile), tokens: tokens, bootstrap: bootstrap)
        let slot = try DeviceSlot.take(store: store, cloud: cloud, name: environment.deviceName)
        let router = EventRouter()
        let held = TokenMemory()
        let events = EventSocket(
            web: core,
            source: EventSocket.Source(
                url: { try await slot.device(renewed: $0).webSocketURL },
                token: { try await held.tokens(from: tokens, renewed: $0).cloud }),
            sleep: sleep, deliver: { await router.deliver($0) }, onReady: { router.signalAll() })
        let carrier = CloudCarrier(
            cloud: cloud, tokens: tokens, slot: slot, events: events, account: account, destination: profile.kmsCluster)
        let kms = KMSConnection(
            carrier: carrier, store: store,
            trust: try StaticKeyTrust(cluster: profile.kmsCluster, roots: profile.kmsRoots),
            postQuantum: profile.postQuantum, now: now, sleep: sleep, note: environment.note)
        let keys = KeyRing(kms: kms, store: store, now: now)
        let spaces = Spaces(cloud: cloud, kms: kms, keys: keys, store: store, account: account, now: now, sleep: sleep)
        router.connect(kms: kms, spaces: spaces) { await tokens.askForOrders() }
        meetings = Meetings(
            cloud: cloud,
            keys: CalendarKeys(kms: kms, keys: keys, store: store, account: account, now: now), spaces: spaces,
            account: account, hosts: JoinHosts(profile), now: now, sleep: sleep)
        self.now = now
        self.store = store
        self.profile = profile
        self.account = account
        self.cloud = cloud
        self.router = router
        self.events = events
        self.kms = kms
        self.keys = keys
        self.spaces = spaces
        self.authorization = authorization
        webClients = [core, issuer]
    }

    package func close() async {
        // What took long was use to its end.
        try? store.noteUse(now: now())
        await events.stop()
        for client in webClients { await client.close() }
    }

    /// Fires when something may have happened in a conversation, and after every reconnection; ends with the client.
    ///
    /// It is a hint to fetch, not the change itself: one signal may stand for many.
    package func changes(in conversation: String) async throws -> AsyncStream<Void> {
        let stream = router.subscribe(conversation)
        try await events.waitUntilReady()
        return stream
    }

    /// Writes join details into the meetings that wait for them.
    ///
    /// - Parameter staying: as they come, until the client is closed or the task cancelled.
    package func attend(
        staying: Bool, _ told: @Sendable (Result<JoinOutcome, DiagnosedError>, Meeting) async -> Void
    ) async throws {
        guard staying else { return try await meetings.attend(nil, told) }
        let changes = router.subscribe(EventRouter.calendar)
        try await events.waitUntilReady()
        try await meetings.attend(changes, told)
    }

    /// Meetings of the user that begin soon, opened here, as the core tells of them; until the task is cancelled.
    package func reminders(_ told: @Sendable (Meeting) async -> Void) async throws {
        for await id in router.reminders() {
            try Task.checkCancellation()
            // What can not be read now is no reason to miss the next.
            guard let meeting = try? await meetings.meeting(id) else { continue }
            await told(meeting)
        }
    }

    /// Asks the KMS for a key, past everything that is known here.
    package func verdict(onKey uri: String) async throws -> KeyVerdict {
        do {
            let key = try await keys.retrieve(uri)
            return .allowed(resource: key.resourceURI, bound: key.bindDate, owner: key.userID)
        } catch let refusal as KMSRefusal
            where refusal.status == KMSStatus.forbidden || refusal.status == KMSStatus.notFound
        {
            // What the KMS does not give any more is not kept either.
            try store.update { $0.keys[uri] = nil }
            return .refused(status: refusal.status, reason: refusal.reason)
        }
    }

    package enum KeyVerdict: Sendable, Equatable {
        case allowed(resource: String?, bound: Timestamp?, owner: String)
        case refused(status: Int, reason: String)
    }

    /// Ends the session at the KMS, the devices and the tokens, as far as each can be reached, and forgets the login.
    /// - Returns: what failed, and where a browser ends the login at the provider, when one vouched for it.
    package func logOut() async throws -> (failures: [DiagnosedError], providerLogout: String?) {
        var failures: [DiagnosedError] = []
        var address: String?
        func attempt(_ body: () async throws -> Void) async {
            do {
                try await body()
            } catch {
                failures.append(
                    (error as? KMSRefusal)?.diagnosed ?? error as? DiagnosedError
                        ?? DiagnosedError(.cloudUnavailable, fault: .peer, "a step of the logout failed"))
            }
        }
        let state = try store.current()
        if let session = state.session, state.account?.id == session.userID {
            await attempt { try await kms.perform(.deleteSession(session.uri)) }
        }
        await events.stop()
        for device in state.devices.values { await attempt { try await cloud.deleteDevice(device) } }
        if let refresh = try store.current().tokens?.refresh {
            await attempt { address = try await authorization.revoke(refresh, try await authorization.server()) }
        }
        try store.update { $0.forgetLogin() }
        await close()
        return (failures, address)
    }
}

import CalendarBackend
import CalendarTransport
import Diagnostics
import HTTPClient
import LinkedService
import ServiceRuntime
import Synchronization
import TLSChannel
import WireText

/// One calendar system with the accounts by which it is used. When one of several accounts is refused the next is taken.
///
/// Any thread.
final class BackendAccess: Sendable {
    let id: String
    /// How many accounts act for all; 0 where each user has one.
    let accounts: Int
    let backend: any CalendarBackend
    private let state = Mutex(State())
    private let changed: @Sendable (BackendAccess) -> Void

    private struct State {
        /// Accounts that were refused, and until when they are not tried.
        var refused: [Int: ContinuousClock.Instant] = [:]
        /// When an account worked last.
        var worked: [Int: ContinuousClock.Instant] = [:]
    }

    /// - Parameters:
    ///   - users: whose credentials are asked for by id, with mode per-user.
    ///   - changed: told when another account is used, or one that was refused is taken again.
    init(
        _ section: BackendSection, credentials: Credentials, route: WebRoute,
        users: @escaping @Sendable () -> UserList, changed: @escaping @Sendable (BackendAccess) -> Void
    ) throws {
        id = section.id
        accounts = section.mode == .impersonation ? section.accounts.count : 0
        self.changed = changed
        let trust = try Self.trust(section, credentials)
        let holder = AccessHolder()
        let client = WebClient(trust: trust, route: route, connectionsPerOrigin: section.concurrent)
        do throws(CalendarError) {
            backend = try BackendMaking(
                section: section, client: client,
                streams: WebClient(trust: trust, route: route, connectionsPerOrigin: 1024),
                lookup: route.proxy == nil
                    ? (try? FileLocation("/etc/resolv.conf").text()).map { ServiceLookup(resolvConf: $0) } : nil,
                credentials: credentials, users: users,
                current: { holder.access?.current ?? 0 }
            ).backend()
        } catch {
            throw error.diagnosis
        }
        holder.hold(self)
    }

    /// Whom the client believes, and what it shows itself.
    static func trust(_ section: BackendSection, _ credentials: Credentials) throws -> TLSTrust? {
        let pins = try section.pins.map { text in
            guard let pin = SPKIPin(text) else {
                throw DiagnosedError(
                    "pin-malformed", fault: .configuration, "pins of a backend has an entry that is no pin",
                    expected: "sha256/ and 44 base64 characters", found: String(text.prefix(80)))
            }
            return pin
        }
        // What is asked over plain HTTP on this machine needs none.
        guard let roots = section.authorities ?? (section.url.scheme == .https ? systemRoots : nil) else { return nil }
        return TLSTrust(
            roots: try roots.certificates(), pins: pins,
            identity: try section.identity.map { try $0.replacement(credentials) })
    }

    /// The authorities that this machine believes.
    private static let systemRoots = FileLocation("/etc/ssl/certs/ca-certificates.crt")

    /// Over a backend that is there.
    init(
        _ id: String, backend: any CalendarBackend, accounts: Int = 0,
        changed: @escaping @Sendable (BackendAccess) -> Void = { _ in }
    ) {
        (self.id, self.backend, self.accounts, self.changed) = (id, backend, accounts, changed)
    }

    /// The account that is used now. One that was refused is tried again after a quarter of an hour: it may have been mended.
    var current: Int {
        let (account, isNews) = state.withLock { state -> (Int, Bool) in
            let now = ContinuousClock.now
            let before = state.refused.count
            state.refused = state.refused.filter { now < $0.value }
            // All were refused: the first again.
            let account = (0..<max(1, accounts)).first { state.refused[$0] == nil } ?? 0
            return (account, state.refused.count < before)
        }
        if isNews { changed(self) }
        return account
    }

    var refusals: Set<Int> { state.withLock { Set($0.refused.keys) } }

    /// The account was refused for one user. True when there is another to try.
    ///
    /// Where it has just worked for somebody else it is that user's trouble, and no account's.
    func refused(_ account: Int) -> Bool {
        guard accounts > 0 else { return false }
        let outcome = state.withLock { state -> (isNew: Bool, next: Bool) in
            let now = ContinuousClock.now
            if let worked = state.worked[account], now < worked + .seconds(60) { return (false, false) }
            let isNew = state.refused.updateValue(now + .seconds(900), forKey: account) == nil
            return (isNew, (0..<accounts).contains { state.refused[$0] == nil })
        }
        if outcome.isNew { changed(self) }
        return outcome.next
    }

    /// The account works.
    func accepted(_ account: Int) {
        let isNews = state.withLock { state in
            state.worked[account] = .now
            return state.refused.removeValue(forKey: account) != nil
        }
        if isNews { changed(self) }
    }
}

private final class AccessHolder: Sendable {
    private struct Weak: Sendable {
        weak var access: BackendAccess?
    }
    private let held = Mutex(Weak())
    var access: BackendAccess? { held.withLock { $0.access } }
    func hold(_ access: BackendAccess) { held.withLock { $0.access = access } }
}

import Diagnostics
import KMSClient
import KMSProtocol
import WireText

/// Which keys may seal and open what is of the user's calendar. The core names a key; these rules are held against the word
/// of the KMS (docs/decisions/136-whose-calendar-key.md):
///
/// 1. The key is bound to a resource that exactly two may read: the user and one other.
/// 2. The other one is no person: ids of people are UUIDs, and no colleague may pass for a connector.
/// 3. It is the same one as ever; the first is remembered. The key is not past its date when something new is sealed.
///
/// So a core can not have a command, or the subject of a new event, sealed to somebody else, nor show somebody's text as that of the
/// user's calendar.
actor CalendarKeys {
    private let kms: KMSConnection
    private let keys: KeyRing
    private let store: StateStore
    private let account: Account
    private let now: @Sendable () -> Timestamp
    /// Resources that have passed, and when.
    private var trusted: [String: Timestamp] = [:]

    /// How long a resource that passed is good for sealing, in seconds.
    private static let freshness: Int64 = 30

    init(
        kms: KMSConnection, keys: KeyRing, store: StateStore, account: Account, now: @escaping @Sendable () -> Timestamp
    ) {
        self.kms = kms
        self.keys = keys
        self.store = store
        self.account = account
        self.now = now
    }

    /// For opening: the resource has passed in this run.
    func key(toOpen uri: String) async throws -> KMSKey {
        let key = try await keys.key(uri)
        try await check(key, freshness: nil)
        return key
    }

    /// For sealing: the KMS has been asked who may read it a moment ago.
    func key(toSeal uri: String) async throws -> KMSKey {
        let key = try await keys.key(uri)
        try await check(key, freshness: Self.freshness)
        guard now() < key.expirationDate else {
            throw DiagnosedError(
                .keyDueForRotation, fault: .peer, "the key of your calendar is too old to seal with",
                hint: "the calendar connector makes a new one; try again later")
        }
        return key
    }

    func prefetch(_ uris: [String]) async throws { try await keys.prefetch(uris) }

    private func check(_ key: KMSKey, freshness: Int64?) async throws {
        guard let resource = key.resourceURI else { throw Self.foreign("it is bound to nothing", nil) }
        if let passed = trusted[resource], freshness.map({ now() < passed.adding(seconds: $0) }) ?? true { return }
        trusted[resource] = nil
        guard
            case .authorizations(let list) = try await kms.perform(.retrieveAuthorizations(resource: resource)).body
        else { throw DiagnosedError(.kmsMismatch, fault: .peer, "the KMS answered without a list") }
        let readers = Set(list.map { UUIDText.isValid($0.authID) ? $0.authID.lowercased() : $0.authID })
        let others = readers.subtracting([account.id])
        guard readers.count == 2, let connector = others.first, others.count == 1 else {
            throw Self.foreign("you and one connector", "\(readers.count) readers")
        }
        guard !UUIDText.isValid(connector), !connector.hasPrefix("kms://") else {
            throw Self.foreign("a service beside you", "another person")
        }
        if let known = try store.current().calendarConnector {
            guard known == connector else { throw Self.foreign(known, connector.loggable) }
        } else {
            try store.update { $0.calendarConnector = connector }
        }
        trusted[resource] = now()
    }

    private static func foreign(_ expected: String, _ found: String?) -> DiagnosedError {
        DiagnosedError(
            .calendarKeyForeign, fault: .peer, "the key that the core names is not that of your calendar",
            expected: expected, found: found,
            hint: "nothing was sealed; tell your administrator: the core may try to make you write to somebody else")
    }
}

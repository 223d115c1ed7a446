import Diagnostics
import HTTPClient
import IssuerKeys
import Synchronization
import WireText

/// How requests reach the provider: a `WebClient`, or a test's provider.
package typealias ProviderTransport = @Sendable (ProviderRequest) async throws -> ProviderAnswer

/// A request to a provider.
package struct ProviderRequest: Sendable {
    package var method: String
    package var url: String
    package var headers: [(String, String)]
    package var body: [UInt8]
    package var maximumResponseBytes: Int
}

/// What came back.
package struct ProviderAnswer: Sendable {
    package var status: Int
    package var body: [UInt8]

    package init(status: Int, body: [UInt8]) {
        self.status = status
        self.body = body
    }
}

/// The metadata and keys of one provider, fetched when they are needed and kept for a time.
///
/// Metadata are used for an hour; when they can not be fetched again, those that are held go on for a day, for a provider
/// that answers logins is seldom without them. Keys: see `IssuerKeys`.
final class ProviderDocuments: Sendable {
    struct Held: Sendable {
        let metadata: ProviderMetadata
        let keys: IssuerKeys
        let fetched: Timestamp
    }

    private static let freshFor: Int64 = 3600
    private static let usableFor: Int64 = 86_400
    private static let coolDown: Int64 = 10

    private let issuer: String
    private let transport: ProviderTransport
    private let now: @Sendable () -> Timestamp
    private let state = Mutex<(held: Held?, attempted: Timestamp)>((nil, Timestamp(milliseconds: 0)))

    init(issuer: String, transport: @escaping ProviderTransport, now: @escaping @Sendable () -> Timestamp) {
        self.issuer = issuer
        self.transport = transport
        self.now = now
    }

    func current() async throws -> Held {
        let moment = now()
        let (held, mayAsk) = state.withLock { state -> (Held?, Bool) in
            let isCool = moment >= state.attempted.adding(seconds: Self.coolDown)
            if isCool { state.attempted = moment }
            return (state.held, isCool)
        }
        if let held, moment < held.fetched.adding(seconds: Self.freshFor) || !mayAsk { return held }
        do {
            return try await fetch()
        } catch {
            guard let held, moment < held.fetched.adding(seconds: Self.usableFor) else { throw error }
            return held
        }
    }

    private func fetch() async throws -> Held {
        let base = issuer.hasSuffix("/") ? String(issuer.dropLast()) : issuer
        let body = try await get(base + "/.well-known/openid-configuration", maximumBytes: 256 << 10)
        let metadata = try ProviderMetadata(json: body, issuer: issuer)
        let moment = now()
        let old = state.withLock { $0.held }
        let keys: IssuerKeys
        if let old, old.metadata.keySetAddress == metadata.keySetAddress {
            keys = old.keys
        } else {
            keys = IssuerKeys(clock: now) { [self] in
                try await get(metadata.keySetAddress, maximumBytes: 256 << 10)
            }
        }
        let held = Held(metadata: metadata, keys: keys, fetched: moment)
        state.withLock { $0.held = held }
        return held
    }

    private func get(_ url: String, maximumBytes: Int) async throws -> [UInt8] {
        let answer = try await transport(
            ProviderRequest(
                method: "GET", url: url, headers: [("Accept", "application/json")], body: [],
                maximumResponseBytes: maximumBytes))
        guard answer.status == 200 else {
            throw DiagnosedError(
                .oidcUnavailable, fault: .peer, "the provider gives no document", expected: "status 200 from \(url)",
                found: "status \(answer.status)")
        }
        return answer.body
    }
}

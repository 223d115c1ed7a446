package import Diagnostics
package import HTTPClient
package import JOSESignature
import Synchronization
package import WireText

/// The key set of one token issuer, fetched over HTTPS and kept for a time.
///
/// A set is used for ten minutes; a token that names an unknown key asks for a fresh one, which is fetched at most
/// every ten seconds, however many such tokens come. When a fetch fails the set that is held is used until it is an
/// hour old: keys are public and an issuer that is away must not stop everybody, while a key that was withdrawn ends
/// within that hour. Concurrent askers share one fetch.
package final class IssuerKeys: Sendable {
    private struct State {
        var keys: JWKSet?
        var fetched = Timestamp(milliseconds: .min)
        var attempted = Timestamp(milliseconds: .min)
        var running: Task<JWKSet, any Error>?
    }

    private static let freshFor: Int64 = 600
    private static let usableFor: Int64 = 3600
    private static let coolDown: Int64 = 10

    private let fetch: @Sendable () async throws -> [UInt8]
    private let clock: @Sendable () -> Timestamp
    private let state = Mutex(State())

    /// - Parameter url: `https://…/jwks.json`
    package convenience init(client: WebClient, url: String) {
        self.init(clock: { Timestamp.now() }) {
            let response = try await client.send(
                WebRequest(
                    method: "GET", url: url, headers: [("Accept", "application/json")], timeout: .seconds(5),
                    maximumResponseBytes: 256 << 10))
            guard response.status == 200 else {
                throw DiagnosedError(
                    .issuerKeysUnavailable, fault: .peer, "the issuer's key set can not be fetched",
                    expected: "status 200 from \(url)", found: "status \(response.status)")
            }
            return response.body
        }
    }

    package init(clock: @escaping @Sendable () -> Timestamp, fetch: @escaping @Sendable () async throws -> [UInt8]) {
        self.clock = clock
        self.fetch = fetch
    }

    /// - Parameter refresh: the set that is held lacks a key that a token names.
    package func keySet(refresh: Bool = false) async throws -> JWKSet {
        let now = clock()
        enum Step {
            case use(JWKSet)
            case wait(Task<JWKSet, any Error>)
        }
        let step = state.withLock { state -> Step in
            if let keys = state.keys {
                let isFresh = now < state.fetched.adding(seconds: Self.freshFor)
                let isCoolingDown = now < state.attempted.adding(seconds: Self.coolDown)
                let isUsable = now < state.fetched.adding(seconds: Self.usableFor)
                // Who asks for a refresh while one runs waits for it: the set that is held may lack the key.
                if isFresh && !refresh || isCoolingDown && isUsable && state.running == nil { return .use(keys) }
            }
            if let running = state.running { return .wait(running) }
            let task = Task { try await self.load() }
            state.running = task
            state.attempted = now
            return .wait(task)
        }
        switch step {
        case .use(let keys): return keys
        case .wait(let task): return try await task.value
        }
    }

    private func load() async throws -> JWKSet {
        do {
            let keys = try JWKSet(json: try await fetch())
            let now = clock()
            state.withLock { state in
                state.keys = keys
                state.fetched = now
                state.running = nil
            }
            return keys
        } catch {
            let now = clock()
            let held = state.withLock { state -> JWKSet? in
                state.running = nil
                return now < state.fetched.adding(seconds: Self.usableFor) ? state.keys : nil
            }
            guard let held else { throw error }
            return held
        }
    }
}

extension DiagnosedError.Code {
    /// The key set of a token issuer can not be fetched.
    package static let issuerKeysUnavailable: Self = "issuer-keys-unavailable"
}

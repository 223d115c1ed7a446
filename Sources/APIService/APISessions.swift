import Cryptography
import Diagnostics
import FoundationEssentials
import HDSClient
import SecretMemory
import WireText

/// The two tokens that an integration holds of one person, and who they say that is.
///
/// Nothing here is believed: the core and the KMS verify the tokens. They are read only to know which account to name.
struct TokenPair: Sendable {
    let cloud: Redacted<String>
    let kms: Redacted<String>
    let account: Account
    let expires: Timestamp
    /// Names the pair, and tells nobody the tokens.
    let digest: String

    init(cloud: String, kms: String) throws(APIRefusal) {
        guard let claims = Self.claims(cloud), let other = Self.claims(kms),
            let id = claims["sub"]?.string, UUIDText.isValid(id), let email = claims["email"]?.string,
            let expires = claims["exp"]?.integer, let kmsExpires = other["exp"]?.integer
        else {
            throw APIRefusal(
                401,
                "the tokens are no access tokens of a person: Authorization is the cloud's, HDS-KMS-Token the KMS's")
        }
        guard other["sub"]?.string == id, other["client_id"]?.string == claims["client_id"]?.string else {
            throw APIRefusal(401, "the two tokens are not of one person and one client")
        }
        self.cloud = Redacted(cloud)
        self.kms = Redacted(kms)
        account = Account(id: id.lowercased(), email: email, name: claims["name"]?.string ?? email)
        self.expires = Timestamp(seconds: min(expires, kmsExpires))
        digest = Hexadecimal.encode(SHA256.hash(Array("\(cloud) \(kms)".utf8)))
    }

    private static func claims(_ token: String) -> JSONNode? {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard token.utf8.count <= 16 << 10, parts.count == 3, let payload = Base64URL.decode(parts[1]) else {
            return nil
        }
        return try? JSONDocument(payload, limits: .init(maximumDepth: 8, maximumBytes: 16 << 10)).root
    }
}

/// A request that is not served: status and words for the integration.
struct APIRefusal: Error, Equatable, Sendable {
    let status: Int
    let message: String
    var retryAfter: Int?

    init(_ status: Int, _ message: String, retryAfter: Int? = nil) {
        (self.status, self.message, self.retryAfter) = (status, message, retryAfter)
    }
}

/// Clients of the persons whose tokens are in use, one for each pair of tokens: what a person's own client does is done here
/// on his behalf, with his tokens and no right of the server's own.
///
/// Rules:
/// 1. A request asks the KMS for every key that it needs: what an earlier one was given is forgotten before each. So a right
///    that was taken away is gone at once.
/// 2. One request of a pair at a time.
/// 3. What is on the disk is sealed and stands in a folder that is emptied at the start, and when a pair is idle or over.
actor APISessions {
    private struct Held {
        let client: Client
        let store: StateStore
        let folder: String
        let expires: Timestamp
        var used: Timestamp
    }

    private let profile: DomainProfile
    private let folder: String
    private let limit: Int
    private let perMinute: Int
    private let now: @Sendable () -> Timestamp
    private var held: [String: Held] = [:]
    private var busy: Set<String> = []
    private var window: (start: Timestamp, counts: [String: Int])
    private static let idleSeconds: Int64 = 300

    init(
        profile: DomainProfile, folder: String, limit: Int, perMinute: Int,
        now: @escaping @Sendable () -> Timestamp = { .now() }
    ) throws {
        (self.profile, self.folder, self.limit, self.perMinute, self.now) = (profile, folder, limit, perMinute, now)
        window = (now(), [:])
        try? FileManager.default.removeItem(atPath: folder)
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }

    func with<Result: Sendable>(
        _ pair: TokenPair, _ body: @Sendable (Client) async throws -> Result
    ) async throws -> Result {
        try count(pair)
        guard busy.insert(pair.digest).inserted else {
            throw APIRefusal(429, "one request of a pair of tokens at a time", retryAfter: 1)
        }
        defer { busy.remove(pair.digest) }
        let client = try await client(pair)
        return try await body(client)
    }

    private func count(_ pair: TokenPair) throws {
        let time = now()
        if time >= window.start.adding(seconds: 60) || time < window.start { window = (time, [:]) }
        let count = window.counts[pair.digest, default: 0] + 1
        guard count <= perMinute, window.counts.count < 100_000 else {
            throw APIRefusal(429, "more than \(perMinute) requests a minute", retryAfter: 60)
        }
        window.counts[pair.digest] = count
    }

    private func client(_ pair: TokenPair) async throws -> Client {
        let time = now()
        guard time < pair.expires else { throw APIRefusal(401, "the tokens have expired") }
        if var known = held[pair.digest] {
            // Rule 1.
            try known.store.update { $0.keys = [:] }
            known.used = time
            held[pair.digest] = known
            return known.client
        }
        if held.count >= limit { await sweep() }
        guard held.count < limit else { throw APIRefusal(503, "too many tokens are in use", retryAfter: 60) }
        let place = "\(folder)/\(pair.digest.prefix(32))"
        let store = try StateStore.open(folder: place) { nil }
        try store.update { state in
            state.profile = profile
            state.account = pair.account
            state.tokens = Tokens(cloud: pair.cloud, kms: pair.kms, refresh: nil, expires: pair.expires)
        }
        do {
            let client = try await Client.connect(store, environment: ClientEnvironment(deviceName: "hds-api"))
            held[pair.digest] = Held(client: client, store: store, folder: place, expires: pair.expires, used: time)
            return client
        } catch {
            try? FileManager.default.removeItem(atPath: place)
            throw error
        }
    }

    /// Ends what is idle or over.
    func sweep() async {
        let time = now()
        for (digest, one) in held
        where !busy.contains(digest) && (time >= one.expires || time >= one.used.adding(seconds: Self.idleSeconds)) {
            await end(digest)
        }
    }

    func close() async { for digest in held.keys { await end(digest) } }

    private func end(_ digest: String) async {
        guard let one = held.removeValue(forKey: digest) else { return }
        // Takes its device and its session away, as far as the tokens still allow that.
        if (try? await one.client.logOut()) == nil { await one.client.close() }
        try? FileManager.default.removeItem(atPath: one.folder)
    }
}

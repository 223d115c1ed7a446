import Diagnostics
package import DomainPolicy
package import KMSClient
package import KMSProtocol
import SecretMemory
package import WireText

/// All that a client keeps between runs. It stands on the disk sealed only (`StateStore`).
package struct ClientState: Sendable {
    package var profile: DomainProfile?
    package var account: Account?
    package var tokens: Tokens?
    /// What the domain demands, as it came with the tokens.
    package var policy: ClientPolicy?
    /// When a command last used the login.
    package var lastUsed: Timestamp?
    package var session: KMSClientSession?
    /// Registered devices by slot: each running process uses one of its own.
    package var devices: [Int: Device] = [:]
    /// Keys of spaces, by URI.
    package var keys: [String: KMSKey] = [:]
    /// Keys fetched ahead that are bound to nothing yet.
    package var unboundKeys: [KMSKey] = []
    /// Spaces by conversation id.
    package var spaces: [String: SpaceMemory] = [:]
    /// URI of the key under which searches are sealed: the user's own, for nothing else.
    package var searchKey: String?
    /// URI of the key for commands to the eDiscovery worker.
    package var reportKey: String?
    /// The service that reads the user's calendar beside the user: who else may be sealed to; never changes.
    package var calendarConnector: String?
    /// Persons seen, by user id.
    package var people: [String: Person] = [:]

    package init() {}

    /// What the cloud calls one client: messages for it arrive at its own socket.
    package struct Device: Sendable, Equatable {
        package var id: String
        package var url: String
        package var webSocketURL: String
    }

    package struct Person: Sendable, Equatable {
        package var email: String
        package var name: String
    }

    /// What the client has seen of a space and holds the cloud to.
    package struct SpaceMemory: Sendable, Equatable {
        /// The KRO: never changes.
        package var resource: String
        /// Authorizations that the KMS listed last; when one is gone, somebody was removed.
        package var authorizations: Set<String> = []
        /// Keys that were bound when a removal was noticed: nothing is encrypted under them any more.
        package var staleKeys: Set<String> = []
    }

    /// Most keys that are kept; the oldest go first.
    static let maximumKeys = 5000

    /// Everything that belongs to one login; what is pinned of the domain stays.
    package mutating func forgetLogin() {
        let profile = profile
        self = ClientState()
        self.profile = profile
    }

    package mutating func remember(_ key: KMSKey) {
        keys[key.uri] = key
        guard keys.count > Self.maximumKeys else { return }
        let oldest = keys.values.sorted { ($0.bindDate ?? $0.createDate) < ($1.bindDate ?? $1.createDate) }
        for key in oldest.prefix(keys.count - Self.maximumKeys) { keys[key.uri] = nil }
    }

    package mutating func forgetKeys(of resource: String) {
        keys = keys.filter { $0.value.resourceURI != resource }
    }
}

// The form on the disk, before sealing: one JSON object with a format number.
extension ClientState {
    private static let format: Int64 = 1
    private static let limits = JSONDocument.Limits(
        maximumDepth: 12, maximumNodes: 4_000_000, maximumBytes: StateStore.maximumBytes)

    func json() -> JSONWriter {
        var json = JSONWriter(reserving: 16 << 10)
        json.beginObject()
        json.member("format", Self.format)
        if let profile {
            json.name("profile")
            profile.write(to: &json)
        }
        if let account {
            json.name("account")
            json.beginObject()
            json.member("id", account.id)
            json.member("email", account.email)
            json.member("name", account.name)
            json.endObject()
        }
        if let tokens { Self.write(tokens, to: &json) }
        if let policy {
            json.name("policy")
            policy.write(to: &json)
        }
        json.member("lastUsed", ifPresent: lastUsed?.iso8601)
        if let session {
            json.name("session")
            session.write(to: &json)
        }
        json.name("devices")
        json.beginArray()
        for (slot, device) in devices.sorted(by: { $0.key < $1.key }) {
            json.beginObject()
            json.member("slot", slot)
            json.member("id", device.id)
            json.member("url", device.url)
            json.member("webSocketUrl", device.webSocketURL)
            json.endObject()
        }
        json.endArray()
        Self.write(Array(keys.values), "keys", to: &json)
        Self.write(unboundKeys, "unboundKeys", to: &json)
        json.name("spaces")
        json.beginArray()
        for (id, space) in spaces {
            json.beginObject()
            json.member("id", id)
            json.member("resource", space.resource)
            json.member("authorizations", space.authorizations.sorted())
            json.member("staleKeys", space.staleKeys.sorted())
            json.endObject()
        }
        json.endArray()
        json.member("searchKey", ifPresent: searchKey)
        json.member("reportKey", ifPresent: reportKey)
        json.member("calendarConnector", ifPresent: calendarConnector)
        json.name("people")
        json.beginArray()
        for (id, person) in people {
            json.beginObject()
            json.member("id", id)
            json.member("email", person.email)
            json.member("name", person.name)
            json.endObject()
        }
        json.endArray()
        json.endObject()
        return json
    }

    private static func write(_ tokens: Tokens, to json: inout JSONWriter) {
        json.name("tokens")
        json.beginObject()
        tokens.cloud.reveal { json.member("cloud", $0) }
        tokens.kms.reveal { json.member("kms", $0) }
        tokens.refresh?.reveal { json.member("refresh", $0) }
        json.member("expires", tokens.expires.iso8601)
        json.endObject()
    }

    private static func write(_ keys: [KMSKey], _ name: String, to json: inout JSONWriter) {
        json.name(name)
        json.beginArray()
        for key in keys { key.writeStored(to: &json) }
        json.endArray()
    }

    init(_ bytes: UnsafeRawBufferPointer) throws(DiagnosedError) {
        let root: JSONNode
        do {
            root = try JSONDocument(bytes, limits: Self.limits).root
        } catch {
            throw StateSeal.unreadable("its content is malformed")
        }
        guard root["format"]?.integer == Self.format else {
            throw StateSeal.unreadable("it was written by another version of this program")
        }
        if let node = root["profile"] { profile = try DomainProfile(node) }
        if let node = root["account"], let id = node["id"]?.string, let email = node["email"]?.string {
            account = Account(id: id, email: email, name: node["name"]?.string ?? email)
        }
        if let node = root["tokens"], let cloud = node["cloud"]?.string, let kms = node["kms"]?.string,
            let expires = node["expires"]?.string.flatMap({ Timestamp(iso8601: $0) })
        {
            tokens = Tokens(
                cloud: Redacted(cloud), kms: Redacted(kms), refresh: node["refresh"]?.string.map { Redacted($0) },
                expires: expires)
        }
        if let node = root["policy"] { policy = try ClientPolicy(node) }
        lastUsed = root["lastUsed"]?.string.flatMap { Timestamp(iso8601: $0) }
        if let node = root["session"] { session = try? KMSClientSession(restoring: node) }
        for node in root["devices"]?.elements ?? [] {
            guard let slot = node["slot"]?.integer, let id = node["id"]?.string, let url = node["url"]?.string,
                let socket = node["webSocketUrl"]?.string
            else { continue }
            devices[Int(slot)] = Device(id: id, url: url, webSocketURL: socket)
        }
        for key in (root["keys"]?.elements ?? []).compactMap({ KMSKey(stored: $0) }) { keys[key.uri] = key }
        unboundKeys = (root["unboundKeys"]?.elements ?? []).compactMap { KMSKey(stored: $0) }
        for node in root["spaces"]?.elements ?? [] {
            guard let id = node["id"]?.string, let resource = node["resource"]?.string else { continue }
            spaces[id] = SpaceMemory(
                resource: resource, authorizations: Set(node["authorizations"]?.strings ?? []),
                staleKeys: Set(node["staleKeys"]?.strings ?? []))
        }
        searchKey = root["searchKey"]?.string
        reportKey = root["reportKey"]?.string
        calendarConnector = root["calendarConnector"]?.string
        for node in root["people"]?.elements ?? [] {
            guard let id = node["id"]?.string, let email = node["email"]?.string else { continue }
            people[id] = Person(email: email, name: node["name"]?.string ?? email)
        }
    }
}

extension KMSKey {
    fileprivate func writeStored(to json: inout JSONWriter) {
        json.beginObject()
        json.member("uri", uri)
        key.withUnsafeBytes { json.base64URLMember("k", $0) }
        json.member("userId", userID)
        json.member("clientId", clientID)
        json.member("createDate", createDate.iso8601)
        json.member("expirationDate", expirationDate.iso8601)
        json.member("resourceUri", ifPresent: resourceURI)
        json.member("bindDate", ifPresent: bindDate?.iso8601)
        json.endObject()
    }

    fileprivate init?(stored node: JSONNode) {
        guard let uri = node["uri"]?.string,
            var bytes = node["k"]?.withPlainString({ Base64URL.decode($0) }) ?? nil, bytes.count == 32,
            let created = node["createDate"]?.string.flatMap({ Timestamp(iso8601: $0) }),
            let expires = node["expirationDate"]?.string.flatMap({ Timestamp(iso8601: $0) })
        else { return nil }
        self.init(
            uri: uri, key: SymmetricKey(copying: bytes), userID: node["userId"]?.string ?? "",
            clientID: node["clientId"]?.string ?? "", createDate: created, expirationDate: expires,
            resourceURI: node["resourceUri"]?.string,
            bindDate: node["bindDate"]?.string.flatMap { Timestamp(iso8601: $0) })
        wipe(&bytes)
    }
}

import Cryptography
package import DirectoryModel
package import Diagnostics
import SecretMemory
package import WireText

/// People and groups as an identity provider provisions them: SCIM 2.0 (RFC 7643, RFC 7644).
///
/// Users and Groups with create, read, replace, PATCH, delete; filters of eq and and; pages; ETags. A user who is set
/// inactive or deleted is cut off on the same way as one who leaves an LDAP directory, before the answer leaves. The client
/// has a token of its own, which opens nothing but this. Knows no sockets: `SCIMRoutes` carries requests to `answer`.
package struct SCIMServer: Sendable {
    package static let maximumBodyBytes = 1 << 20
    package static let source = "scim"
    /// In one page.
    static let mostResults = 200
    private static let standardResults = 100
    static let listSchema = "urn:ietf:params:scim:api:messages:2.0:ListResponse"

    /// Makes changes count, with the resource in the same transaction; false when that is of another version.
    package typealias Desk =
        @Sendable ([DirectoryChange], DirectoryStore.ResourceWrite) async throws -> Bool
    /// The id of an account of the file that has an address, or nil.
    package typealias Known = @Sendable (_ address: String) -> String?

    let store: DirectoryStore
    private let tokenDigest: [UInt8]
    /// `https://HOST/scim/v2`
    let base: String
    private let desk: Desk
    private let known: Known
    private let now: @Sendable () -> Timestamp

    package init(
        store: DirectoryStore, token: Redacted<String>, base: String,
        now: @escaping @Sendable () -> Timestamp = { Timestamp.now() }, known: @escaping Known = { _ in nil },
        desk: @escaping Desk
    ) throws(DiagnosedError) {
        let (digest, count) = token.reveal { (SHA256.hash(Array($0.utf8)), $0.utf8.count) }
        guard count >= 32 else {
            throw DiagnosedError(
                "scim-token", fault: .configuration, "the token of the SCIM client is too short",
                expected: "at least 32 characters", found: "\(count)", hint: "make one with: openssl rand -hex 32")
        }
        (self.store, tokenDigest, self.base, self.desk, self.known) = (store, digest, base + "/scim/v2", desk, known)
        self.now = now
    }

    /// Whether a field `Authorization` carries the client's token.
    package func admits(_ authorization: String?) -> Bool {
        guard let authorization, authorization.prefix(7).lowercased() == "bearer " else { return false }
        return constantTimeEqual(SHA256.hash(Array(authorization.dropFirst(7).utf8)), tokenDigest)
    }

    package func answer(_ request: SCIMRequest) async -> SCIMReply {
        do {
            return try await answered(request)
        } catch let error as SCIMError {
            return error.reply
        } catch let error as DiagnosedError where error.fault == .client {
            return SCIMError.invalid(.invalidValue, error.summary).reply
        } catch {
            return SCIMError(500, nil, "the service has a problem of its own, try again later").reply
        }
    }

    private func answered(_ request: SCIMRequest) async throws -> SCIMReply {
        let (path, method) = (request.path, request.method)
        switch path.first?.lowercased() {
        case "serviceproviderconfig" where path.count == 1 && method == "GET":
            return SCIMReply(200, SCIMDiscovery.serviceProviderConfiguration(base))
        case "resourcetypes" where method == "GET":
            return try Self.discovery(path, ["Group", "User"]) { SCIMDiscovery.resourceType($0, base, &$1) }
        case "schemas" where method == "GET":
            return try Self.discovery(path, [SCIMGroup.schema, SCIMUser.schema]) {
                SCIMDiscovery.schema($0, base, &$1)
            }
        case "users": return try await resources(SCIMUserKind(server: self), request)
        case "groups": return try await resources(SCIMGroupKind(server: self), request)
        default: throw SCIMError(404, nil, "there is nothing at this path")
        }
    }

    private static func discovery(
        _ path: [String], _ names: [String], _ write: (String, inout JSONWriter) -> Void
    ) throws -> SCIMReply {
        guard path.count > 1 else { return SCIMReply(200, SCIMDiscovery.list(names, write)) }
        guard path.count == 2, names.contains(path[1]) else { throw SCIMError(404, nil, "there is no such thing") }
        var json = JSONWriter()
        write(path[1], &json)
        return SCIMReply(200, json.bytes())
    }

    // MARK: Both kinds

    private func resources(_ kind: some SCIMKind, _ request: SCIMRequest) async throws -> SCIMReply {
        switch (request.method, request.path.count) {
        case ("GET", 1): return try await list(kind, request)
        case ("POST", 1): return try await create(kind, request)
        case (_, 2): break
        default: throw SCIMError(405, nil, "this method is not known here")
        }
        guard let present = try await store.resource(request.path[1].lowercased(), kind: kind.name) else {
            throw SCIMError(404, nil, "there is no such \(kind.name)")
        }
        if request.method == "GET" {
            if let wanted = request.ifNoneMatch, Self.matches(wanted, present) {
                return SCIMReply(304, etag: Self.etag(present))
            }
            return try reply(200, kind, present, request)
        }
        if let wanted = request.ifMatch, !Self.matches(wanted, present) {
            throw SCIMError(412, nil, "the \(kind.name) was changed meanwhile")
        }
        switch request.method {
        case "PUT", "PATCH":
            let body = try Self.json(request.body)
            let changed =
                request.method == "PUT"
                ? try kind.replaced(body) : try kind.patched(present, SCIMPatch.operations(body))
            let next = try await keep(kind, changed, over: present)
            return try reply(200, kind, next, request)
        case "DELETE":
            let changes = try await kind.removal(of: present, at: now())
            guard try await desk(changes, .delete(id: present.id, expected: present.version)) else {
                throw SCIMError(412, nil, "the \(kind.name) was changed meanwhile")
            }
            return SCIMReply(204)
        default: throw SCIMError(405, nil, "this method is not known here")
        }
    }

    private func create<Kind: SCIMKind>(_ kind: Kind, _ request: SCIMRequest) async throws -> SCIMReply {
        let value = try kind.replaced(Self.json(request.body))
        let id = try await kind.newID(value)
        let next = try await keep(kind, value, id: id, over: nil)
        return try reply(201, kind, next, request)
    }

    private func keep<Kind: SCIMKind>(
        _ kind: Kind, _ value: Kind.Value, id: String? = nil, over present: DirectoryResource?
    ) async throws -> DirectoryResource {
        let now = now()
        let next = DirectoryResource(
            id: id ?? present?.id ?? UUIDText.random(), kind: kind.name, name: kind.key(value),
            external: kind.external(value), version: (present?.version ?? 0) + 1, created: present?.created ?? now,
            modified: now, body: kind.body(value))
        let (changes, group) = try await kind.changes(to: value, id: next.id, at: now)
        guard try await desk(changes, .put(next, expected: present?.version, group: group)) else {
            throw SCIMError(present == nil ? 409 : 412, present == nil ? .uniqueness : nil, "somebody else was quicker")
        }
        return next
    }

    private func list(_ kind: some SCIMKind, _ request: SCIMRequest) async throws -> SCIMReply {
        let start = max(1, request.query["startIndex"].flatMap { Int($0) } ?? 1)
        let count = max(0, min(request.query["count"].flatMap { Int($0) } ?? Self.standardResults, Self.mostResults))
        let total: Int
        let page: [DirectoryResource]
        if let text = request.query["filter"], !text.isEmpty {
            let filter = try SCIMFilter(text)
            var found: [DirectoryResource]
            // By an index where the filter names nothing else.
            if let name = filter.only(kind.nameAttribute) {
                found = try await store.resources(kind: kind.name, name: name.lowercased())
            } else if let external = filter.only("externalid") {
                found = try await store.resources(kind: kind.name, external: external)
            } else {
                found = try await store.resources(kind: kind.name)
                found = try found.filter {
                    filter.matches(try JSONDocument(try shown(kind, $0, withMembers: true)).root)
                }
            }
            total = found.count
            page = Array(found.dropFirst(start - 1).prefix(count))
        } else {
            (total, page) = try await store.resources(kind: kind.name, from: start - 1, count: count)
        }
        var json = JSONWriter()
        json.beginObject()
        json.member("schemas", [Self.listSchema])
        json.member("totalResults", total)
        json.member("startIndex", start)
        json.member("itemsPerPage", page.count)
        json.name("Resources")
        json.beginArray()
        for resource in page {
            json.raw(
                String(decoding: try shown(kind, resource, withMembers: Self.wantsMembers(request)), as: UTF8.self))
        }
        json.endArray()
        json.endObject()
        return SCIMReply(200, json.bytes())
    }

    private func reply(
        _ status: Int, _ kind: some SCIMKind, _ resource: DirectoryResource, _ request: SCIMRequest
    ) throws -> SCIMReply {
        SCIMReply(
            status, try shown(kind, resource, withMembers: Self.wantsMembers(request)), etag: Self.etag(resource),
            location: location(resource))
    }

    private func shown(
        _ kind: some SCIMKind, _ resource: DirectoryResource, withMembers: Bool
    ) throws -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("schemas", [kind.schema])
        json.member("id", resource.id)
        try kind.write(resource.body, &json, withMembers: withMembers)
        json.name("meta")
        json.beginObject()
        json.member("resourceType", kind.name)
        json.member("created", resource.created.iso8601)
        json.member("lastModified", resource.modified.iso8601)
        json.member("location", location(resource))
        json.member("version", Self.etag(resource))
        json.endObject()
        json.endObject()
        return json.bytes()
    }

    private func location(_ resource: DirectoryResource) -> String { "\(base)/\(resource.kind)s/\(resource.id)" }

    private static func etag(_ resource: DirectoryResource) -> String { "W/\"\(resource.version)\"" }

    private static func matches(_ wanted: String, _ resource: DirectoryResource) -> Bool {
        wanted.split(separator: ",").contains { part in
            let text = part.drop { $0 == " " }
            return text == "*" || text == etag(resource) || "W/" + text == etag(resource)
        }
    }

    /// Entra ID leaves out the members of large groups.
    private static func wantsMembers(_ request: SCIMRequest) -> Bool {
        !(request.query["excludedAttributes"] ?? "").lowercased().split(separator: ",").contains("members")
    }

    private static func json(_ body: [UInt8]) throws -> JSONNode {
        do {
            return try JSONDocument(
                body, limits: .init(maximumDepth: 12, maximumNodes: 250_000, maximumBytes: maximumBodyBytes)
            ).root
        } catch {
            throw SCIMError.invalid(.invalidSyntax, "the body is no JSON")
        }
    }

    /// The account of the file with this address.
    func account(_ address: String) -> String? { known(address) }
}

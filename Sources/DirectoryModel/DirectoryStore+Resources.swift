import GRDB
package import WireText

/// A resource of SCIM as it is kept: the client's view of a person or a group, whose body is JSON of `SCIMServer`.
package struct DirectoryResource: Sendable, Equatable {
    package let id: String
    /// `User` or `Group`.
    package let kind: String
    /// `userName` or `displayName` in lower case.
    package var name: String
    package var external: String?
    /// Rises with each change: the ETag.
    package var version: Int64
    package let created: Timestamp
    package var modified: Timestamp
    package var body: String

    package init(
        id: String, kind: String, name: String, external: String?, version: Int64, created: Timestamp,
        modified: Timestamp, body: String
    ) {
        (self.id, self.kind, self.name, self.external, self.version) = (id, kind, name, external, version)
        (self.created, self.modified, self.body) = (created, modified, body)
    }
}

extension DirectoryStore {
    /// One change of a resource; `expected` is the version that is there now, nil: none.
    package enum ResourceWrite: Sendable {
        case put(DirectoryResource, expected: Int64?, group: DirectoryGroup?)
        case delete(id: String, expected: Int64)
    }

    package func resource(_ id: String, kind: String) async throws -> DirectoryResource? {
        try await read { database in
            try Row.fetchOne(
                database, sql: "SELECT * FROM resource WHERE id = ? AND kind = ?", arguments: [id, kind]
            ).map(Self.resource)
        }
    }

    /// In the order of their ids; all of a kind, or those of a name (in lower case) or an external id.
    package func resources(
        kind: String, name: String? = nil, external: String? = nil
    ) async throws -> [DirectoryResource] {
        try await read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT * FROM resource WHERE kind = ?1 AND (?2 IS NULL OR name = ?2)
                      AND (?3 IS NULL OR external = ?3) ORDER BY id
                    """, arguments: [kind, name, external]
            ).map(Self.resource)
        }
    }

    /// A page of all of a kind, and how many there are.
    package func resources(
        kind: String, from offset: Int, count: Int
    ) async throws -> (total: Int, page: [DirectoryResource]) {
        try await read { database in
            let total =
                try Int.fetchOne(database, sql: "SELECT count(*) FROM resource WHERE kind = ?", arguments: [kind]) ?? 0
            let rows = try Row.fetchAll(
                database, sql: "SELECT * FROM resource WHERE kind = ? ORDER BY id LIMIT ? OFFSET ?",
                arguments: [kind, count, offset])
            return (total, rows.map(Self.resource))
        }
    }

    static func write(_ write: ResourceWrite, at now: Timestamp, _ database: Database) throws -> Bool {
        func version(of id: String) throws -> Int64? {
            try Int64.fetchOne(database, sql: "SELECT version FROM resource WHERE id = ?", arguments: [id])
        }
        switch write {
        case .put(let resource, let expected, let group):
            guard try version(of: resource.id) == expected else { return false }
            try database.execute(
                sql: "INSERT OR REPLACE INTO resource VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                arguments: [
                    resource.id, resource.kind, resource.name, resource.external, resource.version,
                    resource.created.milliseconds, resource.modified.milliseconds, resource.body,
                ])
            if let group { try put(group, at: now, database) }
        case .delete(let id, let expected):
            guard try version(of: id) == expected else { return false }
            try database.execute(sql: "DELETE FROM resource WHERE id = ?", arguments: [id])
            try database.execute(sql: "DELETE FROM team WHERE id = ?", arguments: [id])
            try database.execute(sql: "DELETE FROM member WHERE person = ?", arguments: [id])
        }
        return true
    }

    private static func resource(_ row: Row) -> DirectoryResource {
        DirectoryResource(
            id: row["id"], kind: row["kind"], name: row["name"], external: row["external"], version: row["version"],
            created: Timestamp(milliseconds: row["created"]), modified: Timestamp(milliseconds: row["modified"]),
            body: row["body"])
    }
}

import GRDB
package import WireText

/// A group of a directory, with the ids of the people in it.
package struct DirectoryGroup: Sendable, Equatable {
    package let source: String
    package let external: String
    package let id: String
    package var name: String
    package var members: [String]

    package init(source: String, external: String, id: String, name: String, members: [String]) {
        (self.source, self.external, self.id, self.name, self.members) = (source, external, id, name, members)
    }
}

// Groups: kept as they are read. Nothing in the product is given by groups yet.
extension DirectoryStore {
    package func groups(of source: String? = nil) async throws -> [DirectoryGroup] {
        try await read { database in
            try Row.fetchAll(
                database, sql: "SELECT * FROM team WHERE ?1 IS NULL OR source = ?1 ORDER BY id", arguments: [source]
            ).map { row in
                let id: String = row["id"]
                return DirectoryGroup(
                    source: row["source"], external: row["external"], id: id, name: row["name"],
                    members: try String.fetchAll(
                        database, sql: "SELECT person FROM member WHERE team = ? ORDER BY person", arguments: [id]))
            }
        }
    }

    /// Puts the groups of a source in the place of those that were kept. Members that are no people of it are left out.
    package func replaceGroups(of source: String, by groups: [DirectoryGroupEntry], at now: Timestamp) async throws {
        try await write { database in
            var people: [String: String] = [:]
            for row in try Row.fetchAll(
                database, sql: "SELECT id, external FROM person WHERE source = ?", arguments: [source])
            {
                people[row["external"]] = row["id"]
            }
            var ids: [String: String] = [:]
            for row in try Row.fetchAll(
                database, sql: "SELECT id, external FROM team WHERE source = ?", arguments: [source])
            {
                ids[row["external"]] = row["id"]
            }
            let read = Set(groups.map(\.external))
            for (external, id) in ids where !read.contains(external) {
                try database.execute(sql: "DELETE FROM team WHERE id = ?", arguments: [id])
            }
            for group in groups {
                try Self.put(
                    DirectoryGroup(
                        source: source, external: group.external, id: ids[group.external] ?? UUIDText.random(),
                        name: group.name, members: group.members.compactMap { people[$0] }), at: now, database)
            }
        }
    }

    static func put(_ group: DirectoryGroup, at now: Timestamp, _ database: Database) throws {
        try database.execute(
            sql: """
                INSERT INTO team VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
                SET name = excluded.name, changed = excluded.changed
                """,
            arguments: [group.id, group.source, group.external, group.name, now.milliseconds])
        try database.execute(sql: "DELETE FROM member WHERE team = ?", arguments: [group.id])
        for member in Set(group.members) {
            try database.execute(sql: "INSERT INTO member VALUES (?, ?)", arguments: [group.id, member])
        }
    }
}

package import Diagnostics

/// How one LDAP server is reached and read.
package struct LDAPSettings: Sendable {
    /// Names the source: `ldap:NAME`.
    package var name: String
    /// `ldaps://HOST[:PORT]`, or `ldap://HOST[:PORT]` with `startTLS`.
    package var url: String
    package var startTLS: Bool
    /// PEM: the only authorities that are taken for the server. Nil: without TLS, on loopback alone.
    package var authorities: String?
    package var bindDN: String
    package var password: Redacted<String>
    package var people: Search
    package var groups: Search?
    package var attributes: Attributes
    package var disabled: [DisabledRule]
    package var marker: Marker
    package var pageSize: Int32 = 500
    /// A directory of more is refused as a whole.
    package var maximumEntries = 200_000
    /// For one operation, in seconds.
    package var timeout = 15

    package struct Search: Sendable, Equatable {
        package var base: String
        package var filter: String

        package init(base: String, filter: String) { (self.base, self.filter) = (base, filter) }
    }

    package struct Attributes: Sendable, Equatable {
        package var id: String
        package var userName: String
        package var email: String
        package var name: String
        package var groupName = "cn"
        package var member = "member"

        package init(id: String, userName: String, email: String, name: String) {
            (self.id, self.userName, self.email, self.name) = (id, userName, email, name)
        }
    }

    /// By what an entry says that its account may not be used. One that applies is enough.
    package struct DisabledRule: Sendable, Equatable {
        package enum Test: Sendable, Equatable {
            /// One of these bits of a number is set: `userAccountControl` 2.
            case bits(Int64)
            /// Compared without case.
            case equals(String)
            case present
        }

        package var attribute: String
        package var test: Test

        package init(attribute: String, test: Test) { (self.attribute, self.test) = (attribute, test) }

        package func applies(to values: [String]) -> Bool {
            switch test {
            case .bits(let bits): values.contains { Int64($0).map { $0 & bits != 0 } ?? true }
            case .equals(let text): values.contains { $0.lowercased() == text.lowercased() }
            case .present: !values.isEmpty
            }
        }
    }

    /// What changes with every change of the directory.
    package enum Marker: String, Sendable {
        /// `contextCSN` of the naming context: OpenLDAP with the overlay syncprov.
        case contextCSN
        /// `highestCommittedUSN` of the root entry: Active Directory.
        case highestCommittedUSN
        case none
    }

    /// Names of attributes and rules as the kinds of servers have them.
    package enum Kind: String, Sendable, CaseIterable {
        case openldap
        case activeDirectory = "active-directory"

        package var attributes: Attributes {
            switch self {
            case .openldap: Attributes(id: "entryUUID", userName: "uid", email: "mail", name: "cn")
            case .activeDirectory:
                Attributes(id: "objectGUID", userName: "sAMAccountName", email: "mail", name: "displayName")
            }
        }
        package var peopleFilter: String {
            switch self {
            case .openldap: "(objectClass=inetOrgPerson)"
            case .activeDirectory: "(&(objectCategory=person)(objectClass=user))"
            }
        }
        package var groupFilter: String {
            switch self {
            case .openldap: "(objectClass=groupOfNames)"
            case .activeDirectory: "(objectClass=group)"
            }
        }
        package var disabled: [DisabledRule] {
            switch self {
            // Locked for good by an administrator; a time stands there when wrong passwords locked it for a while.
            case .openldap: [DisabledRule(attribute: "pwdAccountLockedTime", test: .equals("000001010000Z"))]
            case .activeDirectory: [DisabledRule(attribute: "userAccountControl", test: .bits(2))]
            }
        }
        package var marker: Marker {
            switch self {
            case .openldap: .contextCSN
            case .activeDirectory: .highestCommittedUSN
            }
        }
    }

    package init(
        name: String, url: String, startTLS: Bool = false, authorities: String? = nil, bindDN: String,
        password: Redacted<String>, people: Search, groups: Search? = nil, kind: Kind = .openldap
    ) {
        (self.name, self.url, self.startTLS, self.authorities) = (name, url, startTLS, authorities)
        (self.bindDN, self.password, self.people, self.groups) = (bindDN, password, people, groups)
        (attributes, disabled, marker) = (kind.attributes, kind.disabled, kind.marker)
    }
}

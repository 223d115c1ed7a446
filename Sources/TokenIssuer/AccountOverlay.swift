package import DirectoryModel
package import WireText

/// What directories and operators say about accounts, to be laid over the accounts file.
///
/// Rules:
/// 1. Who is cut off is disabled, whatever the file says. Nobody is let in whom the file disables.
/// 2. A person whose id an account of the file has is that account. Any other active person is an account of his own,
///    without a password.
/// 3. A person whose address an account of the file has, under another id, is left out: the file stands.
package struct AccountOverlay: Sendable {
    package var people: [Person] = []
    /// By subject, since when.
    package var cutOff: [String: Timestamp] = [:]
    package var organisation = ""
    /// Rises with each change of the database.
    package var version: Int64 = 0

    package init() {}

    package init(_ snapshot: DirectoryStore.Snapshot, organisation: String) {
        people = snapshot.people
        for cutOff in snapshot.cutOffs where self.cutOff[cutOff.subject].map({ cutOff.since < $0 }) ?? true {
            self.cutOff[cutOff.subject] = cutOff.since
        }
        self.organisation = organisation
        version = snapshot.version
    }

    package func applied(to file: Accounts) -> Accounts {
        var users = file.users.map { user in
            cutOff[user.id] == nil || user.isDisabled ? user : user.disabled()
        }
        var ids = Set(file.users.map(\.id) + file.services.map(\.id) + file.clients.map(\.id))
        var addresses = Set(file.users.map { Accounts.normalized($0.email) })
        for person in people
        where person.isActive && ids.insert(person.id).inserted
            && addresses.insert(Accounts.normalized(person.email)).inserted
        {
            users.append(
                UserAccount(
                    id: person.id, email: person.email, name: person.name, organisation: organisation,
                    passwordHash: UserAccount.noPassword, isDisabled: cutOff[person.id] != nil))
        }
        return Accounts(users: users, services: file.services, clients: file.clients)
    }
}

extension UserAccount {
    func disabled() -> UserAccount {
        UserAccount(
            id: id, email: email, name: name, organisation: organisation, passwordHash: passwordHash, isDisabled: true,
            partners: partners)
    }
}

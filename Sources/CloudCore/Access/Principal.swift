import WireText

/// Who made a request, as the validated token says.
struct Principal: Sendable, Equatable {
    enum Kind: Sendable, Equatable {
        case user(email: String, name: String)
        case service
    }

    var organisation: String
    /// User id or service id.
    var subject: String
    var kind: Kind
    var scope: Set<String>
    var expires: Timestamp

    /// The user's key; services have no business on the routes of users.
    func user() throws(Refusal) -> UserKey {
        guard case .user = kind else { throw Refusal(.forbidden, "this needs the token of a user") }
        return UserKey(organisation: organisation, user: subject)
    }
}

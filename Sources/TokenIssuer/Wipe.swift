import Diagnostics
import HTTPTypes
import WireText

/// Wiping the clients of a user: what they keep of the user's keys and contents is erased by themselves.
///
/// The order goes with the refusal of a refresh token, over the client's own pinned connection to this service, so that
/// nobody else can order it; a word through the core only makes a client ask now. Whoever brings a refresh token of that login
/// afterwards says that it is done.
extension AuthorizationService {
    /// Ends all logins of a user, whose clients are to erase what they keep. The account stays as it is.
    /// - Returns: how many clients.
    package func wipe(_ subject: String, by: String) async throws -> (clients: Int, logins: Int, opaqueTokens: Int) {
        let now = surroundings.now()
        let clients = try await grants.orderWipe(of: subject, by: by, now: now)
        let (logins, tokens) = try await endLogins(of: subject, now: now, wipedBy: nil)
        record(wipeOf: subject, clients)
        return (clients, logins, tokens)
    }

    /// `POST /wiped`: a client has erased what it kept (`client_id`, `refresh_token` as it was).
    package func wiped(body: [UInt8], visitor: Visitor) async -> Reply {
        do {
            let form = try Self.form(body, visitor)
            let client = try publicClient(form, visitor)
            let digest = SecretDigest.of(try form.required("refresh_token"))
            let now = surroundings.now()
            switch try await grants.noteWipe(digest: digest, client: client.id, now: now) {
            case .unknown:
                throw OAuthError(.invalidGrant, "nothing was ordered for the login of this refresh token")
            case .done(let subject, let isNew):
                if isNew {
                    events?.record(
                        .clientWiped,
                        [.subject: Self.pseudonym(subject), .clientID: Loggable(reviewed: client.id)])
                }
                return .secretJSON(.ok, Array("{}".utf8))
            }
        } catch {
            return refusal(error)
        }
    }

    func record(wipeOf subject: String, _ clients: Int) {
        guard clients > 0 else { return }
        events?.record(.wipeOrdered, [.subject: Self.pseudonym(subject), .count: Loggable(clients)])
    }
}

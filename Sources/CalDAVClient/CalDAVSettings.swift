package import CalendarBackend
package import CalendarTransport
package import Diagnostics
import WireText

/// What a request is authorised with.
package enum CalDAVCredential: Sendable {
    /// RFC 7617, in UTF-8.
    case basic(user: String, password: Redacted<String>)
    /// RFC 6750.
    case bearer(Redacted<String>)

    func header() throws(CalendarError) -> (String, String) {
        switch self {
        case .basic(let user, let password):
            let isPlain = password.reveal { password in
                (user + password).unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F }
            }
            guard isPlain, !user.contains(":") else {
                throw .configuration(
                    "the credentials can not be sent", expected: "a user without ':', no control characters")
            }
            return ("Authorization", "Basic " + password.reveal { Base64.encode(Array("\(user):\($0)".utf8)) })
        case .bearer(let token):
            let value = token.reveal { $0 }
            guard !value.isEmpty, value.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
                throw .configuration("the token can not be sent", expected: "printable ASCII")
            }
            return ("Authorization", "Bearer " + value)
        }
    }
}

/// How one CalDAV server is reached.
package struct CalDAVSettings: Sendable {
    /// Whose home is looked for.
    package enum Principal: Sendable {
        /// Of whoever the credentials are for: each user has them.
        case current
        /// One account that acts for all: `{user}` and `{address}` stand for the user's id and address.
        case path(String)
    }

    /// `https://host[:port][/path]`; without a path the well-known one is asked (RFC 6764).
    package var url: String
    /// Origins besides that of `url` to which the server may lead, such as `https://calendars.example.com`.
    package var allowedOrigins: Set<String> = []
    /// Asked for each request with the origin that it goes to, so that a password never follows to another server. Nil:
    /// nothing is sent.
    package var credentials: @Sendable (CalendarUser, _ origin: String) async throws -> CalDAVCredential?
    package var principal = Principal.current
    /// Asks DNS where the calendars of the host of `url` are (RFC 6764), when that has no path. Nil: DNS is not asked.
    package var services: (@Sendable (_ domain: String) async -> ServiceRecords)?
    package var limits = HostGate.Limits()
    package var timeout = Duration.seconds(30)
    /// Octets of a multistatus.
    package var answerLimit = 32 << 20
    /// Octets of one object.
    package var objectLimit = 8 << 20
    /// Objects that are asked for at once.
    package var batch = 50
    /// Members that a page of `sync-collection` may have. Nil: the server decides. Some servers cut at a limit, say
    /// nothing and give the last token, so that the rest is never seen: set it only for one that is known.
    package var pageLimit: Int?
    package var mostPages = 1000

    package init(
        url: String,
        credentials: @escaping @Sendable (CalendarUser, _ origin: String) async throws -> CalDAVCredential?
    ) {
        self.url = url
        self.credentials = credentials
    }
}

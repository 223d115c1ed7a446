/// Whose calendars they are: the messaging system's id, and the address by which calendars know the person.
package struct CalendarUser: Hashable, Sendable {
    package let id: String
    package let address: String

    package init(id: String, address: String) {
        self.id = id
        self.address = address
    }
}

/// A calendar as one user reaches it: with that user's credentials, or with those of the connector in that user's name.
package struct CalendarReference: Hashable, Sendable {
    package let user: CalendarUser
    package let href: CalendarHref

    package init(user: CalendarUser, href: CalendarHref) {
        self.user = user
        self.href = href
    }
}

/// What `discover` found of one user.
package struct CalendarAccount: Hashable, Sendable {
    package var user: CalendarUser
    /// Who the server takes the user for.
    package var principal: CalendarHref
    package var calendars: [CalendarInformation]
    /// Where invitations and answers arrive (RFC 6638); nil: the server schedules nothing.
    package var inbox: CalendarReference?
    package var outbox: CalendarHref?
    /// By which the server knows the user as organiser and attendee: `mailto:` and other URIs, as they came.
    package var addresses: [String]

    package init(
        user: CalendarUser, principal: CalendarHref, calendars: [CalendarInformation],
        inbox: CalendarReference? = nil, outbox: CalendarHref? = nil, addresses: [String] = []
    ) {
        self.user = user
        self.principal = principal
        self.calendars = calendars
        self.inbox = inbox
        self.outbox = outbox
        self.addresses = addresses
    }
}

package struct CalendarInformation: Hashable, Sendable {
    package var reference: CalendarReference
    package var name: String?
    /// Such as `VEVENT`; empty: the server does not say, so all.
    package var components: Set<String>
    /// Changes with any member; for a quick look only.
    package var ctag: String?
    /// Nil: the system tells none here; whether it has any, `changes` tells.
    package var token: SyncToken?
    package var rights: CalendarRights
    /// Another's principal: the calendar is delegated or shared.
    package var owner: CalendarHref?

    package init(
        reference: CalendarReference, name: String? = nil, components: Set<String> = [], ctag: String? = nil,
        token: SyncToken? = nil, rights: CalendarRights = [], owner: CalendarHref? = nil
    ) {
        self.reference = reference
        self.name = name
        self.components = components
        self.ctag = ctag
        self.token = token
        self.rights = rights
        self.owner = owner
    }

    package var holdsEvents: Bool { components.isEmpty || components.contains("VEVENT") }
}

/// What the user may do in a calendar (RFC 3744, RFC 4791 section 6.1, RFC 6638 section 6).
package struct CalendarRights: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let read = CalendarRights(rawValue: 1)
    /// Change objects that are there.
    package static let write = CalendarRights(rawValue: 2)
    package static let add = CalendarRights(rawValue: 4)
    package static let remove = CalendarRights(rawValue: 8)
    package static let freeBusy = CalendarRights(rawValue: 16)
    package static let all: CalendarRights = [.read, .write, .add, .remove, .freeBusy]
}

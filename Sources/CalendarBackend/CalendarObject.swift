/// One object as it was read.
package struct CalendarObject: Hashable, Sendable {
    package var href: CalendarHref
    /// Nil: the server told none, so nothing can be written over this copy.
    package var etag: ETag?
    /// Of the parts that concern scheduling; it may be absent and may change at any time.
    package var scheduleTag: String?
    package var octets: [UInt8]

    package init(href: CalendarHref, etag: ETag?, scheduleTag: String? = nil, octets: [UInt8]) {
        self.href = href
        self.etag = etag
        self.scheduleTag = scheduleTag
        self.octets = octets
    }
}

/// The answer to a request for several objects: each asked name is in one of both.
package struct CalendarObjects: Hashable, Sendable {
    package var found: [CalendarObject]
    package var missing: [CalendarHref]

    package init(found: [CalendarObject] = [], missing: [CalendarHref] = []) {
        self.found = found
        self.missing = missing
    }
}

/// A member of a calendar and its version; without one, the object has to be read to know.
package struct CalendarMember: Hashable, Sendable {
    package var href: CalendarHref
    package var etag: ETag?

    package init(href: CalendarHref, etag: ETag?) {
        self.href = href
        self.etag = etag
    }
}

package enum WriteCondition: Hashable, Sendable {
    /// Nothing is there yet (`If-None-Match: *`).
    case create
    /// It is still the version that was read (`If-Match`).
    case match(ETag)
}

package enum WriteOutcome: Hashable, Sendable {
    case written
    /// A new object is there, under a name that the system chose: it names objects itself.
    case created(CalendarHref)
    /// It is another version by now, or there is one already: read again, edit again.
    case conflict
    /// An object of another name has that UID: nothing to write, and reading again does not help.
    case uidInUse(CalendarHref?)
}

extension WriteOutcome {
    /// The text is in the calendar: under the name that was asked for, or another.
    package var isWritten: Bool {
        switch self {
        case .written, .created: true
        case .conflict, .uidInUse: false
        }
    }
}

package enum RemovalOutcome: Hashable, Sendable {
    case deleted
    case conflict
    /// Somebody else was first.
    case absent
}

/// The answer to "what changed".
package enum SyncOutcome: Hashable, Sendable {
    case changes(CalendarChanges)
    /// The token leads nowhere, or what came can not be trusted: `changes(in:since: nil)`, then compare ETags.
    case fullResyncNeeded(ResyncReason)
}

package struct CalendarChanges: Hashable, Sendable {
    package var changed: [CalendarMember]
    package var removed: [CalendarHref]
    /// For the next time; nil: the server has none.
    package var token: SyncToken?

    package init(changed: [CalendarMember] = [], removed: [CalendarHref] = [], token: SyncToken?) {
        self.changed = changed
        self.removed = removed
        self.token = token
    }

    package var isEmpty: Bool { changed.isEmpty && removed.isEmpty }
}

package enum ResyncReason: String, Hashable, Sendable {
    /// The server does not know the token any more.
    case tokenRefused = "token-refused"
    /// The new token counts less than the old one: a backup was restored.
    case tokenMovedBack = "token-moved-back"
    /// Changes, and the same token: the next round would be given them again, or others would be passed over.
    case tokenRepeated = "token-repeated"
    /// Another token and no change: some servers answer so to a token that they do not know.
    case tokenWithoutChanges = "token-without-changes"
    /// The server cut its answer and does not say so, or its parts lead in a circle.
    case answerCut = "answer-cut"
    /// The system tells changes in a stretch of time only, and that has moved on.
    case windowMoved = "window-moved"
    case notSupported = "not-supported"
}

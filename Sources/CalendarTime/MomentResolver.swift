package import Diagnostics
package import ICalendar

/// Finds instants, with the zones of one document looked up once.
package struct MomentResolver {
    private let document: CalendarDocument
    private let zones: ZoneCatalogue
    private let userZone: ZoneRules
    private var known: [String: Result<ZoneRules, DiagnosedError>] = [:]

    package init(document: CalendarDocument, zones: ZoneCatalogue, userZone: ZoneRules) {
        self.document = document
        self.zones = zones
        self.userZone = userZone
    }

    /// - Throws: `calendar-zone-unknown`, `calendar-time-malformed`.
    package mutating func rules(for moment: CalendarMoment) throws(DiagnosedError) -> ZoneRules {
        switch moment {
        case .utc: return .utc
        case .floating, .date: return userZone
        case .zoned(_, let name):
            if let found = known[name] { return try found.get() }
            let found = Result { () throws(DiagnosedError) in try zones.rules(for: name, in: document) }
            known[name] = found
            return try found.get()
        }
    }

    package mutating func instant(of moment: CalendarMoment) throws(DiagnosedError) -> Instant {
        try rules(for: moment).instant(of: moment.local)
    }
}

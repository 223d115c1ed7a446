package import CalendarTime
package import Diagnostics
package import ICalendar

/// When a user is out of office, for the presence that others see.
///
/// From a VAVAILABILITY (RFC 7953) with a start and an end and nothing AVAILABLE inside, whose BUSYTYPE is not
/// `BUSY-TENTATIVE`; and from events of the user's own that say `X-MICROSOFT-CDO-BUSYSTATUS:OOF`, or last all day and
/// have a category or title of vacation. Cancelled events say nothing, nor do transparent ones unless marked OOF.
package struct OutOfOffice: Sendable {
    package struct Absence: Sendable, Hashable {
        package let start: Instant
        package let end: Instant
    }

    package struct Reading: Sendable {
        /// In their order, none touching another.
        package var absences: [Absence] = []
        package var problems: [DiagnosedError] = []

        package func absence(at now: Instant) -> Absence? { absences.first { $0.start <= now && now < $0.end } }
    }

    /// In lower case; a title counts when it is one of these or begins with one and a separator.
    package static let words: Set<String> = [
        "out of office", "ooo", "vacation", "holiday", "annual leave", "urlaub", "abwesend", "abwesenheit",
        "congés", "vacances", "absence", "vacaciones", "fuera de la oficina", "ferie", "休暇", "不在",
    ]

    private let user: CalendarUser
    private let zones: ZoneCatalogue

    package init(user: CalendarUser, zones: ZoneCatalogue) {
        self.user = user
        self.zones = zones
    }

    package func absences(in documents: [CalendarDocument], window: Range<Instant>) -> Reading {
        var reading = Reading()
        for document in documents { read(document, window, &reading) }
        reading.absences = Self.joined(reading.absences)
        return reading
    }

    private func read(_ document: CalendarDocument, _ window: Range<Instant>, _ reading: inout Reading) {
        let properties = document.allProperties()
        let full = Set(
            document.components.filter { $0.name == "AVAILABLE" }.compactMap(\.parent))
        var looked = 0
        var resolver = MomentResolver(document: document, zones: zones, userZone: user.zone)
        for component in document.components {
            let event = EventProperties(component: component, lines: properties[component.ordinal])
            let isAvailability =
                component.name == "VAVAILABILITY" && !full.contains(component.ordinal)
                && event.word("BUSYTYPE") != "BUSY-TENTATIVE" && event.line("DTSTART") != nil
                && (event.line("DTEND") != nil || event.line("DURATION") != nil)
            guard isAvailability || component.name == "VEVENT" && isAbsence(event) else { continue }
            looked += 1
            guard looked <= 500 else {
                reading.problems.append(.refusedObject("at most 500 absences in an object"))
                return
            }
            do throws(DiagnosedError) {
                let schedule = try EventSchedule(event.lines, &resolver)
                reading.absences += try schedule.occurrences(in: window, limit: 400).list
                    .map { Absence(start: $0.start, end: $0.end) }
            } catch {
                reading.problems.append(error)
            }
        }
    }

    private func isAbsence(_ event: EventProperties) -> Bool {
        guard !event.isCancelled, event.isOrganized(by: user) else { return false }
        if event.word("X-MICROSOFT-CDO-BUSYSTATUS") == "OOF" { return true }
        guard let start = event.line("DTSTART"), (try? CalendarMoment(start))?.isDate == true,
            event.word("TRANSP") != "TRANSPARENT"
        else { return false }
        let categories = event.lines.filter { $0.name == "CATEGORIES" }.flatMap {
            $0.value.split(separator: ",").map { CalendarText.unescape(String($0)) }
        }
        return (categories + [event.text("SUMMARY") ?? ""]).contains(where: Self.says)
    }

    private static func says(_ text: String) -> Bool {
        let small = text.lowercased()
        return words.contains { word in
            guard small.hasPrefix(word) else { return false }
            guard let next = small.dropFirst(word.count).first(where: { $0 != " " }) else { return true }
            return ":;,-–—(/.".contains(next)
        }
    }

    private static func joined(_ absences: [Absence]) -> [Absence] {
        var joined: [Absence] = []
        for absence in absences.sorted(by: { ($0.start, $0.end) < ($1.start, $1.end) }) {
            if let last = joined.last, absence.start <= last.end {
                joined[joined.count - 1] = Absence(start: last.start, end: max(last.end, absence.end))
            } else {
                joined.append(absence)
            }
        }
        return joined
    }
}

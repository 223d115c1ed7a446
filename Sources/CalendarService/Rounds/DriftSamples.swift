import CalendarBackend
import Synchronization
import WireText

/// Of which objects the version is compared next, so that what a server forgot to tell is seen before the audit. Any thread.
///
/// Of each calendar some names are drawn when all its objects are read anyway, once an hour, and taken a few at a time: over hours
/// all come by. It is memory only: a node that starts begins with the next reading.
final class DriftSamples: Sendable {
    /// At once: each is a request.
    static let few = 3
    private static let most = 48

    private struct Ring {
        var hrefs: [String]
        var place = 0
        var due: Timestamp
    }

    private let interval: Int64
    private let rings = Mutex<[String: Ring]>([:])

    /// - Parameter interval: seconds between two looks at a calendar.
    init(interval: Int64) { self.interval = interval }

    /// - Parameter hrefs: of all objects of the calendar.
    func draw(_ user: String, _ calendar: String, from hrefs: some Collection<String>, now: Timestamp) {
        let drawn = Array(hrefs.shuffled().prefix(Self.most))
        rings.withLock { rings in
            if rings.count > 100_000 { rings = [:] }
            let due = rings["\(user)\n\(calendar)"]?.due ?? now
            rings["\(user)\n\(calendar)"] = Ring(hrefs: drawn, due: due)
        }
    }

    /// What is to be compared now; empty when it is not time.
    func next(_ user: String, _ calendar: String, now: Timestamp) -> [CalendarHref] {
        rings.withLock { rings in
            guard var ring = rings["\(user)\n\(calendar)"], ring.due <= now, !ring.hrefs.isEmpty else { return [] }
            let count = min(Self.few, ring.hrefs.count)
            let taken = (0..<count).map { ring.hrefs[(ring.place + $0) % ring.hrefs.count] }
            ring.place = (ring.place + count) % ring.hrefs.count
            ring.due = now.adding(seconds: interval)
            rings["\(user)\n\(calendar)"] = ring
            return taken.map { CalendarHref($0) }
        }
    }
}

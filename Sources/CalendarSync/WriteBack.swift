package import Diagnostics
package import ICalendar

/// The objects of a calendar server, one at a time. Real ones speak CalDAV.
package protocol CalendarObjectStore: Sendable {
    /// An object and the ETag of this very reading; nil when there is none.
    func read(_ href: String) async throws(DiagnosedError) -> StoredCalendarObject?

    /// Writes an object if it still has this ETag, or, with nil, if there is none.
    ///
    /// A thrown error leaves open whether the object was written.
    func put(
        _ href: String, _ octets: [UInt8], matching etag: String?
    ) async throws(DiagnosedError) -> CalendarPutAnswer
}

package struct StoredCalendarObject: Sendable, Hashable {
    /// Of a GET. That of a PUT is never used: servers that schedule change the object afterwards.
    package let etag: String
    package let octets: [UInt8]

    package init(etag: String, octets: [UInt8]) {
        self.etag = etag
        self.octets = octets
    }
}

package enum CalendarPutAnswer: Sendable, Hashable {
    case written
    /// The object has another ETag now: 412.
    case conflict
}

/// Writes join details into an event: reads it, merges, writes if nobody wrote in between, else from the start.
///
/// A write from a stale copy would reset the answers of attendees on every server measured, so none is ever sent. A
/// write whose answer was lost is not sent again blindly: the next reading tells whether it arrived.
package struct WriteBack: Sendable {
    package static let mostTries = 6

    package enum Result: Sendable, Hashable {
        case written(tries: Int)
        case unchanged
        case refused(JoinMerge.Refusal)
    }

    private let store: any CalendarObjectStore
    private let merge: JoinMerge
    private let pause: @Sendable (_ tries: Int) async -> Void

    /// - Parameter pause: before every try but the first.
    package init(
        store: any CalendarObjectStore, merge: JoinMerge, pause: @escaping @Sendable (_ tries: Int) async -> Void
    ) {
        self.store = store
        self.merge = merge
        self.pause = pause
    }

    /// - Parameter base: what the details were made for.
    /// - Throws: `calendar-write-contended` after `mostTries`, the store's error when the last try had no answer, and
    ///   what reading and merging throw.
    package func put(
        _ edit: JoinEdit, at href: String, base: CalendarDocument?
    ) async throws(DiagnosedError) -> Result {
        var lost: DiagnosedError?
        for tries in 1...Self.mostTries {
            if tries > 1 { await pause(tries - 1) }
            let stored: StoredCalendarObject?
            do throws(DiagnosedError) {
                stored = try await store.read(href)
            } catch {
                guard tries < Self.mostTries else { throw error }
                continue
            }
            guard let stored else { return .refused(.noSuchMeeting) }
            let latest = try CalendarDocument(parsing: stored.octets)
            switch try merge.merged(edit, base: base, latest: latest) {
            case .same: return lost == nil ? .unchanged : .written(tries: tries - 1)
            case .refused(let refusal): return .refused(refusal)
            case .write(let document):
                do throws(DiagnosedError) {
                    lost = nil
                    if try await store.put(href, document.octets, matching: stored.etag) == .written {
                        return .written(tries: tries)
                    }
                } catch {
                    lost = error
                }
            }
        }
        if let lost { throw lost }
        throw DiagnosedError(
            .calendarWriteContended, fault: .peer, "join details not written",
            expected: "a calendar object that nobody else writes for a moment",
            found: "another write in each of \(Self.mostTries) tries",
            hint: "the next round of the connector tries again")
    }
}

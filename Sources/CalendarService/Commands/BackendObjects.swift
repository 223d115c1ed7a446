import CalendarBackend
import CalendarSync
import Diagnostics

/// One calendar on a server, as write-back needs it. Errors of the server are kept, for who has to act on their reason.
struct BackendObjects: CalendarObjectStore {
    let backend: any CalendarBackend
    let calendar: CalendarReference

    func read(_ href: String) async throws(DiagnosedError) -> StoredCalendarObject? {
        do {
            guard let object = try await backend.object(CalendarHref(href), in: calendar) else { return nil }
            guard let etag = object.etag, etag.isStrong else { throw CalendarError.weakETag }
            return StoredCalendarObject(etag: etag.text, octets: object.octets)
        } catch {
            throw Connector.diagnosed(error)
        }
    }

    func put(
        _ href: String, _ octets: [UInt8], matching etag: String?
    ) async throws(DiagnosedError) -> CalendarPutAnswer {
        do {
            let outcome = try await backend.put(
                octets, at: CalendarHref(href), in: calendar, etag.map { .match(ETag($0)) } ?? .create)
            switch outcome {
            case .written, .created: return .written
            case .conflict: return .conflict
            case .uidInUse:
                throw DiagnosedError(
                    "calendar-object-refused", fault: .peer, "another object of the calendar has this UID")
            }
        } catch {
            throw Connector.diagnosed(error)
        }
    }
}

import CalendarProtocol
import CoreLink
import Diagnostics
import LinkProtocol
import LinkedService
import WireText

/// Who takes the connector's events: the core, over the link.
protocol CoreTelling: Sendable {
    /// The core has them on its disk when this returns.
    func tell(_ events: [String]) async throws
}

/// The calendar service of the core (`calendar://core`).
struct CoreCalendar: CoreTelling {
    let links: LinkHolder
    private static let patience = Duration.seconds(10)

    init(_ links: LinkHolder) { self.links = links }

    func tell(_ events: [String]) async throws {
        let outcome = await links.link?.call(
            CalendarEvent.destination, text: CalendarEvent.call(events), within: Self.patience)
        switch outcome {
        case .answered(let octets)?:
            guard let root = try? JSONDocument(octets).root, let status = root["status"]?.integer else {
                throw Self.away("an answer that is none")
            }
            guard status == 200 else {
                let reason = (root["reason"]?.string ?? "").prefix(200)
                if (400...499).contains(status), status != 429 { throw Refused(reason: String(reason)) }
                throw Self.away("\(status) \(reason)")
            }
        case .refused(let reason)?: throw Self.away(reason.rawValue)
        case nil: throw Self.away("no link to the core")
        }
    }

    /// The core does not take these, however often they are sent.
    struct Refused: Error { let reason: String }

    private static func away(_ found: String) -> DiagnosedError {
        DiagnosedError(
            .calendarCore, fault: .peer, "the calendar service of the core does not answer", found: found,
            hint: "see the check link; the core's operator sees hds-core's health address")
    }
}

/// Sends what waits, each user's events in their order, and forgets what the core has.
struct EventSender: Sendable {
    let parts: ConnectorParts
    let held: HeldShares
    let core: any CoreTelling
    /// What the core does not take is told once and then left out: one event must not stop all others.
    let refused: @Sendable (_ reason: String) -> Void
    private static let batch = 60

    /// One turn over all shares in which something waits. Throws what is in the way of all.
    func work() async throws {
        var trouble: DiagnosedError?
        for share in parts.outbox.raised.sorted() {
            guard let holding = held.all.first(where: { $0.share == share }) else { continue }
            do {
                while try await send(holding) {}
            } catch let error as DiagnosedError where error.code == .calendarStore {
                // What can not be read in one share holds up no other.
                trouble = trouble ?? error
            }
        }
        if let trouble { throw trouble }
    }

    /// False when nothing waits any more.
    private func send(_ holding: ShareHolding) async throws -> Bool {
        let state = try await parts.state()
        parts.outbox.lower(holding.share)
        do {
            let waiting = try await state.events(ofShare: holding.share, limit: Self.batch)
            guard !waiting.isEmpty else { return false }
            var count = 0, octets = 64
            for event in waiting {
                octets += event.json.utf8.count + 1
                guard octets <= CalendarEvent.mostOctets || count == 0 else { break }
                count += 1
            }
            let batch = waiting.prefix(count)
            try await tell(batch.map(\.json))
            parts.instruments.events(batch.count)
            guard try await parts.store.write(batch.map { .remove($0.place) }, under: holding) else { return false }
            return true
        } catch {
            parts.outbox.raise(holding.share)
            throw error
        }
    }

    private func tell(_ events: [String]) async throws {
        do {
            try await core.tell(events)
        } catch let refusal as CoreCalendar.Refused {
            guard events.count > 1 else { return refused(refusal.reason) }
            for event in events { try await tell([event]) }
        }
    }
}

extension DiagnosedError.Code {
    static let calendarCore: Self = "calendar-core"
}

import Diagnostics
import LinkedService
import ServiceLifecycle
import ServiceRuntime
import WireText

/// After how long without a rehearsal an alarm asks for one.
package struct DrillSection: Decodable, Sendable {
    package let overdueDays: Int

    package enum CodingKeys: String, CodingKey, CaseIterable { case overdueDays = "overdue-days" }

    package init() { overdueDays = 92 }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        overdueDays = try section.value(.overdueDays, default: 92, in: 1...3650)
    }
}

/// Whether a restore and a failover were rehearsed of late, by what their tools leave: the receipt of a backup that was
/// restored on trial, and the end of a run in the failover's journal; and whether the last rehearsal by the timer went
/// well, by its report. Looks every minute.
struct DrillWatch: Service {
    struct Drill: Sendable {
        /// What was rehearsed, as an alarm names it.
        let subject: Loggable
        /// When it was last; nil: never, as far as this node can see.
        let last: @Sendable () async throws -> Timestamp?
        /// What went wrong when it was rehearsed last; nil: nothing.
        var failure: @Sendable () async -> Loggable? = { nil }
    }

    let drills: [Drill]
    let days: Int
    let alarms: AlarmBoard

    func run() async throws {
        await recurring(every: .seconds(60)) { await look(now: .now()) }
    }

    func look(now: Timestamp) async {
        for drill in drills {
            let last: Timestamp?
            do {
                last = try await drill.last()
            } catch {
                alarms.raise(
                    .drillOverdue, about: drill.subject,
                    "when a \(drill.subject) was last rehearsed can not be read: \(Loggable(error: error))")
                continue
            }
            guard let last else {
                alarms.raise(
                    .drillOverdue, about: drill.subject, "no \(drill.subject) was rehearsed that this node knows of")
                continue
            }
            let age = max(0, (now.seconds - last.seconds) / 86_400)
            let detail: Loggable = "the last \(drill.subject) was rehearsed \(Loggable(Int(age))) days ago"
            if let failure = await drill.failure() {
                alarms.raise(.drillOverdue, about: drill.subject, stage: 1, failure)
            } else if age >= Int64(days) {
                alarms.raise(.drillOverdue, about: drill.subject, detail)
            } else {
                alarms.clear(.drillOverdue, about: drill.subject, detail)
            }
        }
    }
}

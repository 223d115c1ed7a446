package import Diagnostics
import Synchronization
package import WireText

/// The alarms that stand, and their way into the journal and the metrics.
///
/// An alarm stands once for each subject it is about (a certificate, a folder). Raising one that stands writes no
/// record again, unless its stage changed (a certificate with 14 days left where 30 were before); clearing one that
/// does not stand does nothing. Callers therefore report what they see, each time. Any thread.
package final class AlarmBoard: Sendable {
    package struct Standing: Sendable {
        package let alarm: Alarm
        /// What it is about, such as the name of a file; empty when there is only one.
        package let subject: Loggable
        package let detail: Loggable
        package let since: Timestamp
        let stage: Int
    }

    private struct Key: Hashable {
        let id: String
        let subject: String
    }

    private let standing = Mutex<[Key: Standing]>([:])
    private let events: any EventRecorder
    private let metrics: MetricRegistry
    private let now: @Sendable () -> Timestamp
    private let onChange: @Sendable () -> Void

    package init(
        events: any EventRecorder, metrics: MetricRegistry,
        now: @escaping @Sendable () -> Timestamp = { Timestamp.now() },
        onChange: @escaping @Sendable () -> Void = {}
    ) {
        self.events = events
        self.metrics = metrics
        self.now = now
        self.onChange = onChange
    }

    package func raise(_ alarm: Alarm, about subject: Loggable = "", stage: Int = 0, _ detail: Loggable) {
        let time = now()
        let isNews = standing.withLock { standing in
            let key = Key(id: alarm.id, subject: subject.text)
            let before = standing[key]
            standing[key] = Standing(
                alarm: alarm, subject: subject, detail: detail, since: before?.since ?? time, stage: stage)
            return before == nil || before?.stage != stage
        }
        guard isNews else { return }
        metrics.gauge(.alarm, [alarm.id]).set(true)
        events.record(alarm.event, [.alarmID: Loggable(reviewed: alarm.id), .alarmState: "raised", .detail: detail])
        onChange()
    }

    package func clear(_ alarm: Alarm, about subject: Loggable = "", _ detail: Loggable) {
        let (wasStanding, isLast) = standing.withLock { standing in
            let removed = standing.removeValue(forKey: Key(id: alarm.id, subject: subject.text))
            return (removed != nil, !standing.keys.contains { $0.id == alarm.id })
        }
        guard wasStanding else { return }
        if isLast { metrics.gauge(.alarm, [alarm.id]).set(false) }
        events.record(
            .alarmCleared, [.alarmID: Loggable(reviewed: alarm.id), .alarmState: "cleared", .detail: detail])
        onChange()
    }

    /// The most severe first, then by id and subject.
    package var current: [Standing] {
        standing.withLock { Array($0.values) }.sorted {
            ($0.alarm.severity.rawValue, $0.alarm.id, $0.subject.text)
                < ($1.alarm.severity.rawValue, $1.alarm.id, $1.subject.text)
        }
    }
}

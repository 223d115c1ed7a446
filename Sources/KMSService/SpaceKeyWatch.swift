import Diagnostics
import KeyManagement
import ServiceLifecycle
import ServiceRuntime
import Synchronization
import WireText

/// Tells which spaces wait for a new key after somebody left: an alarm with their pseudonyms, and a metric.
///
/// All spaces are looked at once an hour, those that were found once a minute, so that the alarm goes away soon after a
/// client has bound a new key.
struct SpaceKeyWatch: Service {
    let due: SpaceKeysDue
    let alarms: AlarmBoard
    let metrics: MetricRegistry
    let log: KMSRequestLog
    /// How a space is called in the alarm: as in the audit trail.
    let name: @Sendable (_ uri: String) -> String
    private let found = Found()

    private final class Found: Sendable {
        let spaces = Mutex<[SpaceKeysDue.Space]>([])
    }

    /// So many are named; the number tells of the others.
    private static let named = 5
    private static let minutesBetweenWalks = 60

    init(
        due: SpaceKeysDue, alarms: AlarmBoard, metrics: MetricRegistry, log: KMSRequestLog,
        name: @escaping @Sendable (_ uri: String) -> String
    ) {
        self.due = due
        self.alarms = alarms
        self.metrics = metrics
        self.log = log
        self.name = name
    }

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            var minute = 0
            while !Task.isCancelled {
                do {
                    try await look(all: minute % Self.minutesBetweenWalks == 0, now: Timestamp.now())
                } catch {
                    log.failure(error, while: "looking for spaces that wait for a new key")
                }
                minute += 1
                try await Task.sleep(for: .seconds(60))
            }
        }
    }

    func look(all: Bool, now: Timestamp) async throws {
        let before = found.spaces.withLock { $0 }
        let spaces = all ? try await due.walk(now: now) : try await due.stillDue(before, now: now)
        found.spaces.withLock { $0 = spaces }
        metrics.gauge(.kmsSpaceKeysDue).set(Double(spaces.count))
        guard !spaces.isEmpty else {
            alarms.clear(.spaceKeyDue, "every space has a key that was bound after the last removal")
            return
        }
        let names = spaces.prefix(Self.named).map { "\(name($0.uri)) since \($0.removal)" }.joined(separator: ", ")
        let more = spaces.count > Self.named ? " and \(spaces.count - Self.named) more" : ""
        alarms.raise(
            .spaceKeyDue, stage: spaces.count,
            "\(Loggable(spaces.count)) spaces wait for a new key: \(Loggable(reviewed: names + more))")
    }
}

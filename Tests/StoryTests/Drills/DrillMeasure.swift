import TestServers

/// What is measured in one drill: people at work from its beginning, and what they notice after the blow.
///
/// Drills of programs on hosts of this process (`DrillRun`) and drills of installed nodes (`DrillDesk`) share it.
final class DrillMeasure {
    var report: DrillReport
    private(set) var blow = ContinuousClock.now
    private let load: KeyLoad

    /// How long anything may take before the drill counts as failed.
    static let limit = Duration.seconds(180)

    /// People begin at once.
    init(_ name: String, shows: String, _ people: [Person]) {
        report = DrillReport(name: name, shows: shows)
        load = KeyLoad(people, pause: .milliseconds(100))
    }

    /// Everybody was answered once.
    func atWork() async throws {
        _ = try await eventually("people at work", within: Self.limit) {
            await load.everybodyAnswered(after: blow)
        }
    }

    /// Times count from here.
    func strike() { blow = .now }

    /// Waits until everybody had an answer to something asked after the blow.
    func recovered() async throws {
        let moment = blow
        report.recovery = blow.duration(
            to: try await eventually("an answer for everybody", within: Self.limit) {
                await load.everybodyAnswered(after: moment)
            })
    }

    /// Waits until everybody had an answer to something asked after this moment, at which the fault ended.
    func restored(since mended: ContinuousClock.Instant) async throws {
        _ = try await eventually("everybody goes on", within: Self.limit) {
            await load.everybodyAnswered(after: mended)
        }
        report.restoration = mended.duration(to: .now)
    }

    /// What went wrong for people until now.
    func failures() async -> [String] { await load.failures }

    /// Everybody stops when he has the answer to what he asked.
    func stop() async { await load.stop() }

    /// Everybody stops, and asks for all that was acknowledged.
    func finish() async throws -> DrillReport {
        await load.stop()
        report.requests = await load.requests
        report.failed = await load.failures.count
        report.longestWait = await load.longest
        report.lost = try await load.missing()
        return report
    }
}

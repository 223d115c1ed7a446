import Diagnostics
import EDiscoveryCollection
import EDiscoveryModel
import LinkedService
import ServiceLifecycle
import WireText

/// Works at reports, one space after the other: the items of a space and the checkpoint are one transaction, so a worker that is
/// killed goes on behind the last space that is whole, with equal items.
actor Collector {
    private let consent: Consent
    private let mirror: Mirror
    private let kms: any KMSAsking
    private let directory: Directory
    private let files: CollectedFiles?
    /// Told what was in the way of a turn; nil when nothing was.
    private let report: @Sendable (DiagnosedError?) -> Void
    private let counted: @Sendable (Int) -> Void

    init(
        consent: Consent, mirror: Mirror, kms: any KMSAsking, directory: Directory, files: CollectedFiles? = nil,
        report: @escaping @Sendable (DiagnosedError?) -> Void, counted: @escaping @Sendable (Int) -> Void
    ) {
        self.consent = consent
        self.mirror = mirror
        self.kms = kms
        self.directory = directory
        self.files = files
        self.report = report
        self.counted = counted
    }

    /// Works at everything that is not over; what is only away for the moment is tried again with the next call, and keeps no
    /// other report from its turn.
    func work() async {
        var trouble: DiagnosedError?
        do {
            let key = try await consent.sealingKey()
            for report in try mirror.reports(under: key) where [.accepted, .collecting].contains(report.progress.state)
            {
                do {
                    try await collect(report)
                } catch let refused as ContentKeys.OfficerRefused {
                    try mirror.update(report.id, under: key) { report in
                        report.progress.fail(refused.reason)
                        return []
                    }
                } catch {
                    trouble = Self.diagnosed(error)
                }
            }
        } catch {
            trouble = Self.diagnosed(error)
        }
        report(trouble)
    }

    private static func diagnosed(_ error: any Error) -> DiagnosedError {
        error as? DiagnosedError
            ?? DiagnosedError(.mirror, fault: .store, "the worker's database does not work", found: "\(error)")
    }

    private func collect(_ report: Report) async throws {
        let request = try report.asked
        let keys = ContentKeys(
            kms, officer: report.officer, matter: request.matter, files: files,
            sealing: { [consent] in try await consent.sealingKey() })
        let collection = SpaceCollection(
            request, subjects: Set(report.subjects), people: directory.person, opener: keys)
        var key = try await consent.sealingKey()
        let total = try mirror.spaces(until: report.until)
        var present = try mirror.update(report.id, under: key) { report in
            report.progress.begin(spaces: total)
            return []
        }
        while let own = present, own.progress.state == .collecting, !Task.isCancelled {
            key = try await consent.sealingKey()
            let started = ContinuousClock.now
            guard
                let (space, octets) = try mirror.space(
                    after: own.progress.checkpoint, until: own.until, under: key)
            else {
                try mirror.update(own.id, under: key) { report in
                    report.progress.finish()
                    return []
                }
                return
            }
            var found: [CollectedItem] = [], missing: Int64 = 0
            if request.spaces.isEmpty || request.spaces.contains(space) {
                let log = try SpaceLog(id: space, items: octets)
                missing = log.missing.reduce(0) { $0 + Int64(clamping: $1.count) }
                found = try await collection.items(of: log)
            }
            let took = started.duration(to: .now)
            var count = 0
            present = try mirror.update(own.id, under: key) { report in
                report.progress.milliseconds +=
                    took.components.seconds * 1000
                    + took.components.attoseconds / 1_000_000_000_000_000
                let taken = report.progress.done(
                    space: space, items: found, missing: missing, limit: request.maximumItems,
                    fails: request.failsOnLimit)
                count = taken.count
                return taken.map { item in
                    var json = JSONWriter(reserving: 1024)
                    item.write(to: &json)
                    return json.bytes()
                }
            }
            counted(count)
        }
    }
}

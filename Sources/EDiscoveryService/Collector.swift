import Diagnostics
import EDiscoveryCollection
import EDiscoveryModel
import LinkedService
import SecretMemory
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
        while try !mirror.noteFacts(under: key) { await Task.yield() }
        let total = try mirror.spaces(until: report.until)
        var present = try mirror.update(report.id, under: key) { report in
            report.progress.begin(spaces: total)
            return []
        }
        var walk: Walk?
        while let own = present, own.progress.state == .collecting, !Task.isCancelled {
            key = try await consent.sealingKey()
            let started = ContinuousClock.now
            let step = try await step(own, request, collection, &walk, key)
            let took = started.duration(to: .now).components
            var count = 0
            present = try mirror.update(own.id, under: key) { report in
                report.progress.milliseconds += took.seconds * 1000 + took.attoseconds / 1_000_000_000_000_000
                count = report.progress.take(step.found, limits: request.limits)
                if step.isLast { report.progress.finish() }
                return Array(step.found.texts.prefix(count))
            }
            counted(count)
        }
    }

    /// A space whose messages are going by.
    private struct Walk {
        let log: SpaceLog
        var flow: SpaceFlow
        /// Where the next page begins.
        var next: UInt64
    }

    /// Messages that are looked at between two checkpoints, of as many spaces as it takes.
    private static let stepLength = 1000

    private func step(
        _ report: Report, _ request: ReportRequest, _ collection: SpaceCollection, _ walk: inout Walk?,
        _ key: SymmetricKey
    ) async throws -> (found: ReportProgress.Step, isLast: Bool) {
        var found = ReportProgress.Step(), seen = 0
        var checkpoint = report.progress.checkpoint
        while seen < Self.stepLength {
            if walk == nil {
                let begun = checkpoint?.place
                let space =
                    begun == nil ? try mirror.space(after: checkpoint?.space, until: report.until) : checkpoint?.space
                guard let space else { return (found, true) }
                // What a part was taken of is part of the report.
                var isWanted = begun == nil ? request.wants(space: space) : true
                let log = try isWanted == false ? nil : mirror.head(of: space, until: report.until, under: key)
                if isWanted == nil, let log {
                    switch try await collection.isNamed(log) {
                    case .success(let isNamed): isWanted = isNamed
                    case .failure(let unopened): found.problems.append(unopened.problem)
                    }
                }
                guard isWanted == true, let log else {
                    (checkpoint, seen) = (.init(space: space), seen + 1)
                    (found.checkpoint, found.spaces) = (checkpoint, found.spaces + 1)
                    continue
                }
                walk = Walk(
                    log: log, flow: SpaceFlow(collection, log, from: begun), next: begun?.sequence ?? 0)
            }
            guard var present = walk else { break }
            // What is thrown between here and the checkpoint is walked again.
            walk = nil
            let page = try mirror.messages(of: present.log, after: present.next, until: report.until, under: key)
            found.add(try await present.flow.take(page.messages))
            seen += page.messages.count + 1
            if let next = page.next {
                present.next = next
                checkpoint = .init(space: present.log.id, place: present.flow.place)
                walk = present
            } else {
                found.add(try await present.flow.end())
                found.missing += try mirror.missing(of: present.log.id, until: report.until)
                found.spaces += 1
                checkpoint = .init(space: present.log.id)
            }
            found.checkpoint = checkpoint
        }
        return (found, false)
    }
}

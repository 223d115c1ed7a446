import AuditTrail
import Foundation
import WireText

/// What the audit trail costs: keeping, and reading it all back as a verifier does.
struct BenchAudit {
    let folder: URL
    let seconds: Double

    func measure() async throws -> [Measurement] {
        let path = folder.appending(path: "audit").path
        let key = try AttestationKey.createP256()
        let trail = try await AuditTrail.open(AuditTrailConfiguration(folder: path, node: "bench", key: key))
        let sealed = String(repeating: "A", count: 256)
        @Sendable func record(_ number: Int) -> AuditRecord {
            var record = AuditRecord(.decision, at: .now())
            record.user = "u:5b1f0c2d9e8a7b6c"
            record.effectiveUser = record.user
            record.client = "c:0c2d9e8a7b6c5b1f"
            record.method = "retrieve"
            record.type = "KEY"
            record.object = "o:9e8a7b6c5b1f0c2d"
            record.requestId = "request-\(number)"
            record.rule = "member"
            record.path = "o:9e8a7b6c5b1f0c2d"
            record.status = 200
            record.durationUs = 120
            record.sealed = sealed
            return record
        }
        // Many at once: what a record costs when the sync is shared, as it is under load.
        var count = 0
        let cpu = processCPUSeconds()
        let start = ContinuousClock.now
        let end = start + .seconds(seconds)
        while ContinuousClock.now < end {
            try await concurrently(tasks: 64, items: 6400) { try await trail.keep(record($0)) }
            count += 6400
        }
        let used = (processCPUSeconds() - cpu) / Double(count) * 1_000_000
        let wall = start.duration(to: .now).inSeconds
        // In one call: no hand-over between threads, only the record itself.
        let many = (0..<10_000).map(record)
        let cpuOfMany = processCPUSeconds()
        for _ in 0..<5 { try await trail.keep(many) }
        let bare = (processCPUSeconds() - cpuOfMany) / 50_000 * 1_000_000
        try await trail.close()

        let verifier = TrailVerifier(folder: path, trust: AttestationTrust(keys: [key.publicKey]))
        let cpuOfVerifying = processCPUSeconds()
        let report = try verifier.verify()
        let verifying = (processCPUSeconds() - cpuOfVerifying) / Double(report.last) * 1_000_000
        return [
            Measurement("audit record kept, 64 at once, CPU", used, "us"),
            Measurement("audit records kept, durable, 64 at once", Double(count) / wall, "1/s"),
            Measurement("audit record, JSON, hashes and write alone, CPU", bare, "us", limit: 6, "aim"),
            Measurement("audit record verified, CPU", verifying, "us"),
        ]
    }
}

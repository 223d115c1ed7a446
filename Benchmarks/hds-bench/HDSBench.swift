import ArgumentParser
import Foundation
import WireText

/// Measures the KMS beside its limits and prints one table.
@main
struct HDSBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hds-bench", abstract: "Measures the KMS beside its limits.",
        discussion:
            "In process first, then the core with links, then the real hds-kms over its link. Run it through deploy/bench, which builds."
    )

    @Flag(help: "One JSON object per line: name, value, unit, limit, limit_name.")
    var json = false

    @Option(help: "Seconds that one measurement lasts.")
    var seconds = 3.0

    @Option(help: "The hds-kms to measure over the link; none: only in process.")
    var kms: String?

    @Option(help: "The hds-core to measure with links; none: not measured.")
    var core: String?

    @Option(help: "A folder made by deploy/lib/pki.sh, for the measurement over the link.")
    var pki: String?

    @Option(help: "The folder of a server that deploy/lib/postgresql.sh runs; none: not measured.")
    var postgresql: String?

    @Option(
        help: """
            Only these, for a profiler: openings, retrievals, creations, spaces, federation, audit, decisions, \
            durable, rotation, scale, sums, search, ediscovery, calendar, postgresql, core, link.
            """)
    var only: [Part] = []

    enum Part: String, ExpressibleByArgument, CaseIterable {
        case openings, retrievals, creations, spaces, federation, audit, decisions, durable, rotation, scale, sums
        case search, ediscovery, calendar, postgresql, core, link
    }

    @Option(help: "Keys of the large store of scale; 10000000 take 4 GB and ten minutes.")
    var keys = 1_000_000

    @Option(help: "Clients with a session each at the KMS over the link.")
    var clients = 10_000

    @Option(help: "Links that connect again at once.")
    var links = 1000

    @Option(help: "Messages of the large case of ediscovery, 1000000 at most.")
    var items = 50_000

    @Flag(
        inversion: .prefixedNo,
        help: "Whether ediscovery exports what it collected; a million items need 20 GB of memory for that.")
    var exports = true

    @Option(help: .hidden)
    var ediscoveryWork: String?

    @Option(help: .hidden)
    var ediscoveryFolder: String?

    private func wants(_ part: Part) -> Bool { only.isEmpty || only.contains(part) }

    func run() async throws {
        if let ediscoveryWork, let ediscoveryFolder {
            return try await BenchEDiscovery.work(ediscoveryWork, in: URL(filePath: ediscoveryFolder))
        }
        let folder = FileManager.default.temporaryDirectory.appending(path: "hds-bench-\(UUIDText.random())")
        try FileManager.default.createDirectory(
            at: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        defer { try? FileManager.default.removeItem(at: folder) }
        var lines = Report(isJSON: json)
        // What was measured is shown, whatever fails later.
        defer { lines.end() }
        let inProcess = InProcess(kms: try await BenchKMS(folder: folder), seconds: seconds)
        if wants(.openings) {
            let limit = try await inProcess.handshakeLimit()
            lines += [Measurement("crypto of one handshake alone", limit, "1/s")]
            lines += try await inProcess.sessionOpenings(limit: limit)
        }
        if wants(.retrievals) { lines += try await inProcess.retrievals() }
        if wants(.creations) { lines += try await inProcess.creations() }
        if wants(.spaces) { lines += try await BenchSpaces(kms: inProcess.kms, seconds: seconds).measure() }
        if wants(.federation) { lines += try await BenchFederation(folder: folder, seconds: seconds).measure() }
        if wants(.audit) { lines += try await BenchAudit(folder: folder, seconds: seconds).measure() }
        if wants(.decisions) { lines += try await BenchDecisions(folder: folder, seconds: seconds).measure() }
        if wants(.durable) { lines += try await BenchDurable(kms: inProcess.kms, folder: folder).measure() }
        if wants(.rotation) { lines += try await BenchRotation(folder: folder, seconds: seconds).measure() }
        if wants(.sums) { lines += try await BenchSums(folder: folder).measure() }
        if wants(.search) { lines += try BenchSearch.measure() }
        if wants(.ediscovery) {
            lines += try await BenchEDiscovery(folder: folder, items: items, exports: exports).measure()
        }
        if wants(.calendar) { lines += try await BenchCalendar(folder: folder).measure() }
        if wants(.rotation), let postgresql {
            lines += try await BenchRotation(folder: folder, seconds: seconds).measure(
                over: BenchPostgreSQL.settings(URL(filePath: postgresql)))
        }
        if wants(.scale) {
            lines += try await BenchScale(folder: folder).measure([10_000, keys])
        }
        if wants(.postgresql), let postgresql {
            lines += try await BenchPostgreSQL(
                server: URL(filePath: postgresql), folder: folder, seconds: seconds
            ).measure()
        }
        if wants(.core), let core, let pki {
            lines += try await BenchThroughCore.measure(
                program: core, pki: URL(filePath: pki), folder: folder, seconds: seconds, links: links)
        }
        if wants(.link), let kms, let pki {
            lines += try await OverTheLink.measure(
                kms: kms, pki: URL(filePath: pki), folder: folder, seconds: seconds, clients: clients)
        }
    }

}

/// What was measured: lines of JSON as they come, or one table at the end.
private struct Report {
    let isJSON: Bool
    private var lines: [Measurement] = []

    init(isJSON: Bool) { self.isJSON = isJSON }

    static func += (report: inout Report, more: [Measurement]) {
        report.lines += more
        guard report.isJSON else { return }
        for line in more { print(line.json) }
        fflush(nil)
    }

    func end() {
        if !isJSON { Table.print(lines) }
    }
}

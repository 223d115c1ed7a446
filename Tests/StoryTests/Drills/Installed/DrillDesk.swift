import Foundation
import Glibc
import TestServers

/// People, network and measuring for drills whose hosts somebody else boots: obeys lines of its standard input, and
/// answers each with one line that begins with `desk: `.
///
/// `deploy/lib/drill-ground.sh` boots systemd nodes into the network namespaces that it names first. Words are parted by
/// single spaces; the last one of `begin`, `detected`, `proof` and `abandon` goes to the end of the line. Hosts are
/// clients, core, auth, kms-1 to kms-3, db-1, db-2 and spare; several are parted by commas.
///
/// | line | does |
/// |---|---|
/// | `people DIR` | six devices of the domain's users log in; DIR is what `make_domain` made |
/// | `begin NAME TEXT` | a drill begins, people go to work; answers when everybody was answered |
/// | `strike` | times count from here; answers the clock's microseconds |
/// | `detected MICROSECONDS HOST TEXT` | a journal said at that time what is wrong |
/// | `proof MICROSECONDS HOST TEXT` | another line of a journal |
/// | `recovered` | waits until everybody has an answer to something asked after the blow |
/// | `mend` | the fault ends now |
/// | `restored` | waits until everybody has an answer to something asked after that |
/// | `figure NAME NUMBER` | a figure of this drill alone |
/// | `cut HOSTS HOSTS`, `cutway HOSTS HOSTS` | nothing passes between them; or from the first to the second |
/// | `loss PERCENT HOSTS HOSTS`, `rate OCTETS HOSTS HOSTS`, `heal` | the network loses, throttles, is good again |
/// | `openings HOST` | connections to it since the blow: the most of one node, the most of one node within a second |
/// | `end` | people stop and ask for all that was acknowledged; answers failed and lost |
/// | `abandon TEXT` | the drill did not pass for this reason |
final class DrillDesk {
    private struct Refusal: Error { let text: String }

    private let network: DrillNetwork
    private let folder: String
    private var people: [Person] = []
    private var measure: DrillMeasure?
    private var blow: Int64 = 0
    private var mended = ContinuousClock.now
    private var reports: [DrillReport] = []

    /// Where the reports go of the run that asks for a desk; nil in any other run.
    static let wanted = ProcessInfo.processInfo.environment["HDS_DRILL_DESK"]

    /// - Parameter folder: where the reports go.
    init(reportsTo folder: String) throws {
        network = try DrillNetwork.shared.get()
        self.folder = folder
    }

    /// Until its input ends.
    func run() async throws {
        Self.answer("ready " + network.hosts.map { "\($0.name)=\($0.place.path)" }.joined(separator: " "))
        while let line = try await onOwnThread({ readLine() }) {
            do {
                Self.answer(try await obey(line))
            } catch let refusal as Refusal {
                Self.answer("refused \(refusal.text)")
            } catch {
                Self.answer("failed " + "\(error)".replacing("\n", with: " "))
            }
        }
        await measure?.stop()
        for person in people { await person.close() }
    }

    private func obey(_ line: String) async throws -> String {
        let words = line.split(separator: " ", maxSplits: 1).map(String.init)
        let rest = words.count > 1 ? words[1] : ""
        switch words.first {
        case "people":
            try await logIn(rest)
            return "people \(people.count)"
        case "begin":
            let parts = try Self.parts(rest, 2)
            await measure?.stop()
            let measure = DrillMeasure(parts[0], shows: parts[1], people)
            self.measure = measure
            try await measure.atWork()
            return "begun"
        case "abandon":
            guard let measure else { return "abandoned" }
            await measure.stop()
            measure.report.fault = rest
            try keep((try? await measure.finish()) ?? measure.report)
            return "abandoned"
        default:
            if let answer = try await obeyNetwork(words.first ?? "", rest) { return answer }
            guard let measure else { throw Refusal(text: "no drill has begun") }
            return try await obey(words.first ?? "", rest, measure)
        }
    }

    private func obey(_ order: String, _ rest: String, _ measure: DrillMeasure) async throws -> String {
        switch order {
        case "strike":
            measure.strike()
            blow = Self.microseconds()
            return "struck \(blow)"
        case "detected", "proof":
            let parts = try Self.parts(rest, 3)
            guard let time = Int64(parts[0]) else { throw Refusal(text: "no time: \(parts[0])") }
            let after = Duration.microseconds(time - blow)
            if order == "detected" { measure.report.detection = after }
            measure.report.proofs.append(
                DrillReport.Proof(after: after, host: parts[1], text: parts[2], isDetection: order == "detected"))
            return order
        case "recovered":
            try await measure.recovered()
            return "recovered \(measure.report.recovery?.milliseconds ?? -1)"
        case "mend":
            mended = .now
            return "mended \(Self.microseconds())"
        case "restored":
            try await measure.restored(since: mended)
            return "restored \(measure.report.restoration?.milliseconds ?? -1)"
        case "figure":
            let parts = try Self.parts(rest, 2)
            guard let value = Int(parts[1]) else { throw Refusal(text: "no number: \(parts[1])") }
            measure.report.figures.append((parts[0], value))
            return "figure"
        case "openings":
            let place = try network.place(rest)
            let counts = network.openings(to: place, since: measure.blow)
            return "openings \(counts.inAll) \(counts.inASecond)"
        case "end":
            let report = try await measure.finish()
            for failure in Set(await measure.failures()) { print("failed: \(failure)") }
            self.measure = nil
            try keep(report)
            return "ended \(report.failed) \(report.lost) \(report.passed ? "passed" : "failed")"
        default: throw Refusal(text: "unknown order \(order)")
        }
    }

    /// Nil when it is no order to the network.
    private func obeyNetwork(_ order: String, _ rest: String) async throws -> String? {
        func hosts(_ text: String) throws -> [NetworkPlace] { try text.split(separator: ",").map(network.place) }
        switch order {
        case "cut", "cutway":
            let parts = try Self.parts(rest, 2)
            let (some, others) = (try hosts(parts[0]), try hosts(parts[1]))
            network.wire.set(.cut, from: some, to: others)
            if order == "cut" { network.wire.set(.cut, from: others, to: some) }
        case "loss", "rate":
            let parts = try Self.parts(rest, 3)
            guard let number = Int(parts[0]) else { throw Refusal(text: "no number: \(parts[0])") }
            network.wire.set(
                order == "loss" ? Wire.Condition(loss: Double(number) / 100) : Wire.Condition(octetsPerSecond: number),
                between: try hosts(parts[1]), and: try hosts(parts[2]))
        case "heal": network.wire.mend()
        default: return nil
        }
        return order
    }

    private func logIn(_ folder: String) async throws {
        for person in people { await person.close() }
        people = []
        var values = ["mail_domain": "example.com"]
        for name in ["alice", "bob"] {
            values[name] = try String(contentsOfFile: "\(folder)/\(name).password", encoding: .utf8)
                .trimmingCharacters(in: .newlines)
        }
        let deployment = Deployment(Domain(folder: folder, values: values))
        let mark = UUID().uuidString.prefix(8)
        for name in ["alice", "bob"] {
            for device in 1...3 {
                people.append(try await Person.logIn(name, in: deployment, device: "\(mark)-\(device)"))
            }
        }
    }

    private func keep(_ report: DrillReport) throws {
        var report = report
        report.proofs.sort { $0.after < $1.after }
        reports.append(report)
        func write(_ text: String, _ name: String) throws {
            try text.write(toFile: "\(folder)/\(name)", atomically: true, encoding: .utf8)
        }
        try write(reports.map(\.json).joined(separator: "\n") + "\n", "report.json")
        try write(reports.map(\.text).joined(separator: "\n\n") + "\n", "report.txt")
        try write(DrillPage(title: "Drills on installed systemd nodes", reports: reports).html, "report.html")
    }

    private static func parts(_ text: String, _ count: Int) throws -> [String] {
        let parts = text.split(separator: " ", maxSplits: count - 1).map(String.init)
        guard parts.count == count else { throw Refusal(text: "\(count) words expected: \(text)") }
        return parts
    }

    private static func microseconds() -> Int64 {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1_000_000 + Int64(now.tv_nsec) / 1000
    }

    /// Past the buffers of the standard output, which may keep it.
    private static func answer(_ text: String) {
        let line = Array("desk: \(text)\n".utf8)
        _ = line.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
    }
}

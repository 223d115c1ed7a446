import ArgumentParser
import Diagnostics
import Glibc
import ServiceRuntime
import WireText

/// `hdsctl journal-trial`: whether this machine's journal keeps up with the services.
struct JournalTrialCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "journal-trial",
        abstract: "Write records into the journal at a rate, and count what arrived.",
        discussion: """
            Records like those of requests to the KMS. Run it as a service, so that the limits of the bundle's units hold:
            systemd-run --wait --pipe --unit hds-journal-trial hdsctl journal-trial
            Exit code 0 when all arrived, 74 when some are lost.
            """)

    @Option(help: "How many records in a second, 1 to 100000.")
    var perSecond = 1000
    @Option(help: "For how many seconds, 1 to 600.")
    var seconds = 5
    @Flag(help: "Print one JSON object.")
    var json = false

    func run() throws {
        guard (1...100_000).contains(perSecond), (1...600).contains(seconds) else {
            throw ValidationError("--per-second is 1 to 100000, --seconds is 1 to 600")
        }
        try reporting {
            let trial = UUIDText.random()
            let metrics = MetricRegistry()
            let events = LogSystem(service: "hdsctl", format: .journal, metrics: metrics).events
            let began = KernelClock.nanoseconds(CLOCK_MONOTONIC)
            let all = perSecond * seconds
            for number in 1...all {
                events.record(.journalTrial, Self.fields(number, of: trial))
                // Each record at its time, so that it is a rate and no burst.
                let due = began + Int64(number) * 1_000_000_000 / Int64(perSecond)
                let now = KernelClock.nanoseconds(CLOCK_MONOTONIC)
                if due > now + 1_000_000 { usleep(UInt32((due - now) / 1000)) }
            }
            let took = Double(KernelClock.nanoseconds(CLOCK_MONOTONIC) - began) * 1e-9
            let arrived = try count(of: trial)
            let rate = Int((Double(all) / took).rounded())
            if json {
                var writer = JSONWriter()
                writer.beginObject()
                writer.member("trial", trial)
                writer.member("written", all)
                writer.member("perSecond", rate)
                writer.member("arrived", arrived)
                writer.endObject()
                print(writer.text())
            } else {
                print("\(all) records at \(rate) in a second, \(arrived) arrived")
            }
            guard arrived == all else {
                throw DiagnosedError(
                    "journal-lost", fault: .store, "records did not arrive in the journal", expected: "\(all)",
                    found: "\(arrived)",
                    hint:
                        "journalctl -u systemd-journald says what was suppressed; raise RateLimitBurst= in journald.conf "
                        + "or LogRateLimitBurst= of the unit")
            }
        }
    }

    /// As many fields as a request has.
    private static func fields(_ number: Int, of trial: String) -> LogFields {
        [
            .count: Loggable(number), .trackingID: Loggable(reviewed: trial), .kmsRequestID: Loggable(reviewed: trial),
            .userID: "0123456789abcdef", .effectiveUserID: "0123456789abcdef", .clientID: "0123456789abcdef",
            .status: "200", .durationMicroseconds: "1234", .auditID: "trial",
        ]
    }

    private func count(of trial: String) throws -> Int {
        // What was sent is written when the journal has been synced.
        _ = system("journalctl --sync >/dev/null 2>&1")
        // The id is made here, of hexadecimal digits and dashes.
        let question = "journalctl -q --no-pager -o cat --output-fields=COUNT TRACKING_ID=\(trial) 2>/dev/null | wc -l"
        guard let pipe = popen(question, "r") else {
            throw DiagnosedError("journal-unreadable", fault: .configuration, "journalctl can not be started")
        }
        defer { pclose(pipe) }
        var line = [CChar](repeating: 0, count: 64)
        guard fgets(&line, Int32(line.count), pipe) != nil else { return 0 }
        let digits = line.prefix { $0 >= 0x30 && $0 <= 0x39 }.map { UInt8(bitPattern: $0) }
        return Int(String(decoding: digits, as: UTF8.self)) ?? 0
    }
}

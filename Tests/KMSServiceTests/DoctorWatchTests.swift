import Diagnostics
import Glibc
import ServiceRuntime
import TestServers
import Testing
import WireText

@testable import KMSService

@Suite("What the doctor found, as alarms")
struct DoctorWatchTests {
    private let folder = TemporaryFolder()
    private let health = HealthRegistry(events: Doctor.Silence(), metrics: MetricRegistry())
    private let now = Timestamp(seconds: 1_790_000_000)
    private var file: String { folder.path + "/doctor.json" }

    private func leave(_ octets: [UInt8]) throws {
        let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        guard descriptor >= 0, write(descriptor, octets, octets.count) == octets.count else {
            throw TestPKI.Failure(what: "write \(file)")
        }
        close(descriptor)
    }

    private var standing: [String] { health.alarms.current.map { "\($0.alarm.id) \($0.subject)" } }

    @Test("[HDS-DOCTOR-FAILED] each check that fails is an alarm with what to do, until a later report passes")
    func alarms() throws {
        let watch = DoctorWatch(file: file, alarms: health.alarms)
        watch.look(now: now)
        #expect(standing.isEmpty, "a machine without the timer has no report")
        let checks = [
            DoctorCheck("pins", .fail, "no key is pinned", fix: "compare the pins"),
            DoctorCheck("clock", .fail, "an hour ahead", fix: "start chrony"),
            DoctorCheck("dns", .warn, "slow", fix: "see"),
            DoctorCheck("store", .pass, "well"),
        ]
        try leave(DoctorReport(time: now, node: "kms-1", checks: checks).bytes())
        watch.look(now: now)
        watch.look(now: now)
        #expect(standing == ["HDS-DOCTOR-FAILED clock", "HDS-DOCTOR-FAILED pins"])
        #expect(health.alarms.current.last?.detail.text == "pins: no key is pinned; to do: compare the pins")
        try leave(DoctorReport(time: now, node: "kms-1", checks: [checks[1]]).bytes())
        watch.look(now: now)
        #expect(standing == ["HDS-DOCTOR-FAILED clock"])
        try leave(DoctorReport(time: now, node: "kms-1", checks: [checks[3]]).bytes())
        watch.look(now: now)
        #expect(standing.isEmpty)
    }

    @Test("a report that is old or can not be read is told as that: nobody looks any more")
    func stale() throws {
        let watch = DoctorWatch(file: file, alarms: health.alarms)
        try leave(DoctorReport(time: now, node: nil, checks: [DoctorCheck("store", .pass, "well")]).bytes())
        watch.look(now: now.adding(seconds: DoctorWatch.oldest))
        #expect(standing == ["HDS-DOCTOR-FAILED doctor"])
        #expect(health.alarms.current.first?.detail.text.contains("50 hours ago") == true)
        try leave(Array("{".utf8))
        watch.look(now: now)
        #expect(standing == ["HDS-DOCTOR-FAILED doctor"])
        try leave(DoctorReport(time: now, node: nil, checks: []).bytes())
        watch.look(now: now)
        #expect(standing.isEmpty)
    }

    @Test("a report reads back as it was written; what is none is refused")
    func report() throws {
        let checks = [DoctorCheck("core", .fail, "away", fix: "look"), DoctorCheck("disk", .pass, "room")]
        let report = try DoctorReport(DoctorReport(time: now, node: "n", checks: checks).bytes())
        #expect(report.time == now && report.node == "n" && report.checks == checks && report.result == .fail)
        for text in ["", "[]", "{}", #"{"time":"2027-01-01T00:00:00Z","checks":[{}]}"#] {
            #expect(throws: DiagnosedError.self) { try DoctorReport(Array(text.utf8)) }
        }
    }

    @Test("dates of HTTP are read in their one form")
    func dates() {
        #expect(HTTPDate.parse("Sun, 06 Nov 1994 08:49:37 GMT") == Timestamp(iso8601: "1994-11-06T08:49:37Z"))
        for text in ["", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun, 06 Foo 1994 08:49:37 GMT"]
        {
            #expect(HTTPDate.parse(text) == nil)
        }
    }
}

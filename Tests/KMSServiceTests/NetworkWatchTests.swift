import CoreLink
import Diagnostics
import HTTPClient
import Synchronization
import TestServers
import Testing
import WireText

@testable import KMSService
@testable import LinkedService
@testable import ServiceRuntime
@testable import TLSChannel

@Suite("Proxy, name service and pins as the operator sees them")
struct NetworkWatchTests {
    private final class Journal: EventRecorder {
        private let kept = Mutex<[(event: Event, fields: LogFields)]>([])
        func isRecorded(_ severity: Severity) -> Bool { true }
        func write(_ event: Event, _ fields: LogFields) { kept.withLock { $0.append((event, fields)) } }
        var ids: [String] { kept.withLock { $0.map(\.event.id) } }
        func text(of id: String) -> String? {
            kept.withLock { $0.last { $0.event.id == id }.map { $0.event.message.text($0.fields) } }
        }
    }

    private let journal = Journal()
    private let health: HealthRegistry

    init() { health = HealthRegistry(events: journal, metrics: MetricRegistry()) }

    private var alarms: [String] { health.alarms.current.map { "\($0.alarm.id) \($0.subject.text)" } }

    private func check(_ id: String) -> HealthFinding? {
        health.report.checks.first { $0.check.id == id }?.finding
    }

    // MARK: - Ways

    @Test(
        "[HDS-PROXY-FAIL] a real proxy that is away raises it for each target, and tunnels clear it",
        .enabled(if: TestProxy.isInstalled))
    func proxy() async throws {
        let watch = NetworkWatch(health)
        let pki = try TestPKI.shared.get()
        let listener = try await FaultRelay(to: 1)
        let port = listener.port
        let gone = try WebProxy(host: "127.0.0.1", port: try LoopbackPort.take())
        let trust = TLSTrust(roots: [pki.coreRoot])
        let away = WebClient(trust: trust, route: WebRoute(proxy: gone) { watch.take($0) })
        _ = try? await away.send(WebRequest(url: "https://localhost:\(port)/"))
        await away.close()
        #expect(alarms == ["HDS-PROXY-FAIL localhost:\(port)"])
        #expect(check("proxy")?.state == .fail && check("proxy")?.detail.text.contains(gone.name) == true)
        #expect(health.alarms.current[0].detail.text.contains("proxy-unreachable"))

        let real = try await TestProxy.start(.tinyproxy)
        let way = try WebProxy(host: "127.0.0.1", port: real.port)
        let client = WebClient(trust: trust, route: WebRoute(proxy: way) { watch.take($0) })
        // Nobody speaks TLS there, but the tunnel stands.
        _ = try? await client.send(WebRequest(url: "https://localhost:\(port)/", timeout: .seconds(20)))
        await client.close()
        #expect(alarms.isEmpty && check("proxy")?.state == .ok)
        #expect(journal.ids.contains("HDS-ALARM-CLEARED"))
        await listener.close()
        try await onOwnThread { real.end() }
    }

    @Test("one target without a tunnel is told while others have theirs")
    func targets() {
        let watch = NetworkWatch(health)
        let error = DiagnosedError(.proxyRefused, fault: .peer, "no tunnel to b:1", hint: "allow it")
        watch.take(.tunnel(target: "a:1", failure: nil))
        watch.take(.tunnel(target: "b:1", failure: error))
        watch.take(.tunnel(target: "a:1", failure: nil))
        #expect(alarms == ["HDS-PROXY-FAIL b:1"] && check("proxy")?.state == .fail)
        watch.take(.tunnel(target: "b:1", failure: nil))
        #expect(alarms.isEmpty && check("proxy")?.state == .ok)
    }

    @Test("[HDS-DNS-SLOW] slow lookups raise it, a quick one clears it, and a refusal at once says nothing")
    func lookups() {
        let watch = NetworkWatch(health)
        watch.take(.lookup(host: "core.example", time: .milliseconds(20), failed: false))
        #expect(alarms.isEmpty && check("dns")?.state == .ok)
        watch.take(.lookup(host: "core.example", time: .milliseconds(2100), failed: false))
        #expect(alarms == ["HDS-DNS-SLOW core.example"] && check("dns")?.state == .warn)
        #expect(journal.text(of: "HDS-DNS-SLOW")?.contains("2100 ms") == true)
        watch.take(.lookup(host: "core.example", time: .milliseconds(3), failed: true))
        #expect(alarms.count == 1)
        watch.take(.lookup(host: "core.example", time: .seconds(10), failed: true))
        watch.take(.lookup(host: "core.example", time: .milliseconds(3), failed: false))
        #expect(alarms.isEmpty && check("dns")?.state == .ok)
    }

    @Test("[HDS-DNS-SLOW] a lookup that nobody answers raises it before it ends")
    func unansweredLookup() {
        let watch = NetworkWatch(health)
        watch.take(.lookupWaits(host: "core.example"))
        #expect(alarms == ["HDS-DNS-SLOW core.example"] && check("dns")?.state == .warn)
        #expect(journal.text(of: "HDS-DNS-SLOW")?.contains("no answer yet") == true)
        watch.take(.lookup(host: "core.example", time: .milliseconds(3), failed: false))
        #expect(alarms.isEmpty && check("dns")?.state == .ok)
    }

    // MARK: - Pins

    private static let pins = (0..<3).map { SPKIPin(digest: [UInt8](repeating: UInt8($0), count: 32))! }

    private func session(_ matched: [SPKIPin], _ inspection: TLSInspection.Seen? = nil) -> TLSSession {
        TLSSession(
            version: "TLSv1.3", cipherSuite: "x", keyExchange: "x25519", applicationProtocol: nil, channelBinding: nil,
            matchedPins: matched,
            inspection: inspection)
    }

    @Test("no pin and no backup are told at the start and in health, and so is a core that shows the backup")
    func pins() throws {
        let all = Self.pins
        #expect(PinFinding.of([], nil).state == .warn && PinFinding.of([all[0]], nil).state == .warn)
        #expect(PinFinding.of([all[0]], session([all[0]])).detail.text.contains("no backup"))
        #expect(PinFinding.of(all, nil).state == .ok && PinFinding.of(all, session([all[0]])).state == .ok)
        #expect(PinFinding.of(all, session([all[0], all[1]])).state == .ok)
        let backup = PinFinding.of(all, session([all[1]]))
        #expect(backup.state == .warn && backup.detail.text.contains(all[1].text))
        #expect(backup.fix?.text.contains("add a new backup") == true)
        #expect(PinFinding.of(all, session([], .init(name: "gate", until: .now()))).state == .warn)

        _ = try checks("[\(all[0].text)]")
        #expect(health.report.warnings.map(\.id) == ["core-pins"] && check("pins")?.state == .warn)
        #expect(journal.text(of: "HDS-WARNING")?.contains("no backup") == true)
    }

    private func checks(_ pins: String) throws -> LinkChecks {
        let text = NetworkSectionsTests.shown.replacing("  ca: /etc/hds/proxy-ca.pem", with: "")
            .replacing("  pins: []", with: "  pins: \(pins)")
        return try LinkChecks(
            health, events: journal, metrics: MetricRegistry(), core: NetworkSectionsTests.decode(text).core)
    }

    @Test(
        "each way of not being the right core raises HDS-CLOUD-PIN-MISMATCH with what was seen; a right one clears it",
        arguments: [
            DiagnosedError.Code.tlsPinMismatch, .tlsUntrusted, .tlsPathLength, .tlsNameMismatch, .tlsInspectionOver,
            .linkUnproven,
        ])
    func mismatch(code: DiagnosedError.Code) throws {
        let checks = try checks("[\(Self.pins[0].text), \(Self.pins[1].text)]")
        var state = LinkState(phase: .waiting)
        state.lastError = DiagnosedError(code, fault: .peer, "not the core", found: "[/CN=x sha256/abc]")
        state.failures = 1
        checks.report(state, address: "wss://core")
        #expect(alarms == ["HDS-CLOUD-PIN-MISMATCH "])
        #expect(health.alarms.current[0].detail.text.contains("[/CN=x sha256/abc]"))
        var open = LinkState(phase: .open)
        open.tls = session([Self.pins[0]])
        checks.report(open, address: "wss://core")
        #expect(alarms.isEmpty && check("pins")?.state == .ok && check("link")?.state == .ok)
    }

    @Test("what says nothing of the core's identity does not raise it")
    func otherFaults() throws {
        let checks = try checks("[\(Self.pins[0].text), \(Self.pins[1].text)]")
        for code in [DiagnosedError.Code.linkNoToken, .httpConnectFailed, .tlsExpired, .proxyUnreachable] {
            var state = LinkState(phase: .waiting)
            state.lastError = DiagnosedError(code, fault: .peer, "other")
            state.failures = 2
            checks.report(state, address: "wss://core")
            #expect(alarms == ["HDS-CLOUD-UNREACHABLE "], "\(code)")
        }
    }

    @Test("an inspected link is told in health and in the journal, with name and end")
    func inspected() throws {
        let checks = try checks("[\(Self.pins[0].text), \(Self.pins[1].text)]")
        var open = LinkState(phase: .open)
        open.tls = session([], .init(name: "gate", until: try #require(Timestamp(iso8601: "2027-04-01T00:00:00Z"))))
        checks.report(open, address: "wss://core")
        #expect(check("link")?.state == .warn)
        #expect(check("link")?.detail.text.contains("TLS is inspected by gate until 2027-04-01") == true)
        #expect(journal.text(of: "HDS-LINK-INSPECTED")?.contains("by gate until 2027-04-01") == true)
    }
}

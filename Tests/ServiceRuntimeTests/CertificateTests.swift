import Cryptography
import Diagnostics
import Glibc
import SecretMemory
import Synchronization
import TLSChannel
import TestServers
import Testing
import WireText

@testable import ServiceRuntime

/// Certificates of a server in files, as a reload takes them and as alarms see them.
@Suite("Certificates of a server")
struct CertificateTests {
    private let events = RecordedEvents()
    private let health: HealthRegistry
    private let folder = TestServers.TemporaryFolder()
    private let pki: TestPKI

    init() throws {
        health = HealthRegistry(events: events, metrics: MetricRegistry())
        pki = try TestPKI.shared.get()
    }

    private func file(_ certificates: [Certificate], named name: String = "chain.pem") throws -> FileLocation {
        let path = folder.path + "/" + name
        let text = certificates.map(\.pem).joined()
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        defer { close(descriptor) }
        _ = Array(text.utf8).withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        return FileLocation(path)
    }

    private func watch(host: String, _ file: FileLocation, now: @escaping @Sendable () -> Timestamp = { .now() }) {
        let end = pki.core.certificateChain[0].notAfter
        health.watchCertificates("the certificate", host: host, file: { file }, fix: "replace it", now: now) { end }
    }

    /// Looks again at both checks; the alarms that stand.
    private func look() async -> [String] {
        await health.lookAgain(at: HealthRegistry.certificateChecks)
        return health.alarms.current.map(\.alarm.id)
    }

    @Test("[HDS-CERT-DOMAIN] a certificate of another name is told with both names, and cleared by one that fits")
    func domain() async throws {
        let place = try file(pki.core.certificateChain)
        watch(host: "core.example.com", place)
        #expect(await look() == ["HDS-CERT-DOMAIN"])
        let detail = health.alarms.current.first?.detail.text ?? ""
        #expect(detail.contains("core.example.com") && detail.contains("localhost"), "\(detail)")
        let fitting = HealthRegistry(events: events, metrics: MetricRegistry())
        fitting.watchCertificates("it", host: "localhost", file: { place }, fix: "x", expires: { .now() })
        await fitting.lookAgain(at: ["certificate-file"])
        #expect(fitting.alarms.current.isEmpty)
    }

    @Test("[HDS-CERT-DOMAIN] it is cleared when the file is replaced")
    func domainCleared() async throws {
        let place = try file(pki.core.certificateChain)
        let name = Mutex("other.example.com")
        health.watchCertificates(
            "the certificate", host: "x", file: { place }, fix: "x",
            isFor: { certificate, _ in certificate.isValid(forHost: name.withLock { $0 }) },
            expires: { Timestamp.now().adding(seconds: 90 * 86_400) })
        #expect(await look() == ["HDS-CERT-DOMAIN"])
        name.withLock { $0 = "localhost" }
        #expect(await look().isEmpty)
        #expect(events.ids == ["HDS-CERT-DOMAIN", "HDS-ALARM-CLEARED"])
    }

    @Test(
        "[HDS-CERT-CHAIN] a file that is missing, out of order, of strangers or over is told, and cleared by a good one"
    )
    func chain() async throws {
        let (chain, stranger) = (pki.core.certificateChain, pki.customerRoot)
        let place = try file(chain)
        let clock = Mutex(Timestamp.now())
        watch(host: "localhost", place, now: { clock.withLock { $0 } })
        #expect(await look().isEmpty)
        for (what, certificates) in [
            ("the CA first", [chain[1], chain[0]]), ("another's CA", [chain[0], stranger]), ("none", []),
        ] {
            _ = try file(certificates)
            #expect(await look().contains("HDS-CERT-CHAIN"), "\(what)")
            _ = try file(chain)
            #expect(await look().isEmpty, "\(what)")
        }
        unlink(place.path)
        #expect(await look() == ["HDS-CERT-CHAIN"])
        _ = try file(chain)
        clock.withLock { $0 = chain[0].notAfter.adding(seconds: 1) }
        #expect(await look().contains("HDS-CERT-CHAIN"))
        clock.withLock { $0 = .now() }
        #expect(await look().isEmpty)
    }

    @Test(
        "a reload refuses a key of another certificate, a chain out of order and one that is over, and says what to do")
    func replacement() throws {
        let chain = pki.core.certificateChain
        let key = try PrivateKey.generateP256()
        let credentials = Credentials(folder: nil)
        func section(_ certificates: [Certificate], _ key: PrivateKey) throws -> ServerIdentitySection {
            let place = try file(certificates)
            let keyPath = folder.path + "/key.pem"
            let descriptor = open(keyPath, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
            defer { close(descriptor) }
            _ = try key.pem().withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            let text = "certificate: \(place.path)\nprivate-key: \(keyPath)\n"
            return try ConfigurationFile.decode(Array(text.utf8), file: "test")
        }
        #expect(try section(chain, pki.core.privateKey).replacement(credentials).certificateChain == chain)
        let stranger = try section(chain, key)
        let refusal = #expect(throws: DiagnosedError.self) { try stranger.replacement(credentials) }
        #expect(refusal?.code == .certificateUnusable && refusal?.hint != nil && refusal?.expected != nil)
        let swapped = try section([chain[0], pki.customerRoot], pki.core.privateKey)
        #expect(throws: DiagnosedError.self) { try swapped.replacement(credentials) }
        let good = try section(chain, pki.core.privateKey)
        #expect(throws: DiagnosedError.self) {
            try good.replacement(credentials, now: chain[0].notAfter.adding(seconds: 1))
        }
        // A start takes it all the same: an alarm tells, and the service is there.
        #expect(try good.identity(credentials).certificateChain == chain)
    }

    @Test("[HDS-RELOAD-REFUSED] each refusal is told, and a configuration that is taken clears it")
    func refusedReloads() async throws {
        struct Settings: RuntimeConfiguration {
            let runtime: RuntimeSection
            let word: String
            let list: [String]
            enum CodingKeys: String, CodingKey, CaseIterable { case runtime, word, list }
        }
        func text(_ word: String, list: String = "[a, b]") -> [UInt8] {
            Array("word: \(word)\nlist: \(list)\nruntime: {health: {address: \"127.0.0.1:0\"}}\n".utf8)
        }
        let path = folder.path + "/x.yaml"
        func put(_ bytes: [UInt8]) {
            let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
            defer { close(descriptor) }
            _ = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        }
        put(text("one"))
        let told = Mutex<[String]>([])
        let plan = ServicePlan<Settings>(
            services: [], selfTest: {},
            reload: { new in
                if new.word == "bad" { throw DiagnosedError("bad", fault: .configuration, "the word is bad") }
            }, reloadable: ["word"])
        let log = LogSystem(service: "x", metrics: MetricRegistry())
        let reload = Reload(
            identity: ServiceIdentity(name: "x", version: "1"), file: path, contents: text("one"), plan: plan,
            log: log, health: health, notifier: Notifier { line in told.withLock { $0.append(line) } })
        for word in ["bad", "bad", "[broken"] {
            put(text(word))
            await reload.run()
            #expect(health.alarms.current.map(\.alarm.id) == ["HDS-RELOAD-REFUSED"])
        }
        #expect(events.ids == ["HDS-RELOAD-REFUSED", "HDS-RELOAD-REFUSED", "HDS-RELOAD-REFUSED"])
        put(text("two", list: "[a, c]"))
        await reload.run()
        #expect(health.alarms.current.isEmpty)
        #expect(
            health.report.warnings.map(\.text.text) == ["the configuration file differs in list, which needs a restart"]
        )
        put(text("three"))
        await reload.run()
        #expect(health.report.warnings.isEmpty)
        let words = told.withLock { $0 }.map { $0.prefix { $0 != "=" } }
        #expect(words == Array(repeating: ["RELOADING", "READY"], count: 5).flatMap { $0 })
    }

    @Test("differences are of what is said, by their deepest key, and not of how it is written")
    func differences() {
        func keys(_ old: String, _ new: String) -> [String] {
            ConfigurationDifference.keys(Array(old.utf8), Array(new.utf8))
        }
        #expect(keys("a: 1\nb: {c: 2}", "# other\nb:\n  c: '2'\na: 1\n").isEmpty)
        #expect(keys("a: 1\nb: {c: 2, d: 3}", "a: 2\nb: {c: 2, d: 4}") == ["a", "b.d"])
        #expect(keys("a: 1", "a: 1\nb: {c: 2}") == ["b"])
        #expect(keys("a: [1, 2]", "a: [1, 3]") == ["a"])
        #expect(keys("a: [1, 2]", "a: [1]") == ["a"])
        #expect(keys("a: [{b: 1, c: 2}]", "a: [{b: 1, c: 3}]") == ["a.c"])
        #expect(keys("a: {b: 1}", "a: 1") == ["a"])
    }
}

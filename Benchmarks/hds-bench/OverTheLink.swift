import Cryptography
import Encryption
import Foundation
import Glibc
import HTTPServer
import JOSEEncryption
import JOSESignature
import KMSProtocol
import Logging
import MasterKey
import SecretMemory
import ServiceLifecycle
import TLSChannel
import WireText

/// Starts the real hds-kms, plays core and authorization service for it, and measures from outside.
enum OverTheLink {
    static func measure(kms: String, pki: URL, folder: URL, seconds: Double, clients: Int) async throws -> [Measurement]
    {
        let tokenKey = try PrivateKey.generateP256()
        let core = BenchCore(tokenKey: tokenKey)
        let identity = TLSServerIdentity(
            certificateChain: try Certificate.all(
                inPEM: String(contentsOf: pki.appending(path: "core/core.pem"), encoding: .utf8)),
            privateKey: try PrivateKey(
                pem: String(contentsOf: pki.appending(path: "core/core.key"), encoding: .utf8)))
        let server = core.server(identity: identity, port: 0)
        var logger = Logger(label: "bench")
        logger.logLevel = .critical
        let services = ServiceGroup(services: [server], logger: logger)
        let serving = Task { try await services.run() }
        let port = try await server.boundPort
        do {
            let lines = try await measure(
                kms: kms, pki: pki, folder: folder, port: port, core, tokenKey, seconds, clients)
            // The KMS has ended, and with it all connections: the server ends by itself.
            await services.triggerGracefulShutdown()
            try await serving.value
            return lines
        } catch {
            serving.cancel()
            throw error
        }
    }

    private static func measure(
        kms: String, pki: URL, folder: URL, port: Int, _ core: BenchCore, _ tokenKey: PrivateKey, _ seconds: Double,
        _ clients: Int
    ) async throws -> [Measurement] {
        let process = try BenchProcess(
            kms, configuration: try configuration(pki: pki, folder: folder, port: port), folder: folder)
        defer { process.stop() }
        let start = try await process.start()
        await core.waitForLink()
        var lines = [Measurement("start of hds-kms to READY", start * 1000, "ms", limit: 500, "most wanted")]
        // Idle for as long as one self-test takes to come round.
        try await Task.sleep(for: .seconds(2))
        let idle = try process.memory()
        lines.append(Measurement("hds-kms idle, resident", idle.resident, "MB", limit: 40, "most wanted"))
        lines.append(Measurement("hds-kms idle, private (RssAnon)", idle.anonymous, "MB", limit: 10, "most wanted"))
        let host = "kms.example.com"
        let chain = try Certificate.all(
            inPEM: String(contentsOf: pki.appending(path: "customer/kms.pem"), encoding: .utf8))
        let user = UUIDText.random()
        let token = try BenchTokens.token(user, key: tokenKey, issuer: issuer(port))
        let session = try await open(core, host: host, leaf: chain[0], user: user, token: token)
        let create = try session.wrapped("create", "/keys") { $0.member("count", 100) }
        guard case .keys(let keys) = try session.open(await core.ask(create, source: user)).body else {
            throw BenchFailure("no keys over the link")
        }
        let space = try session.wrapped("create", "/resources") { $0.member("keyUris", keys.map(\.uri)) }
        _ = try session.open(await core.ask(space, source: user))
        lines += try await retrievals(core, session, keys, process, seconds)
        lines += try await busyRetrievals(core, host, chain[0], tokenKey, port, process, seconds)
        lines += try await creations(core, host, chain[0], tokenKey, port, process, seconds)
        lines += try await sessions(clients, core, host, chain[0], tokenKey, port, process)
        let after = try process.memory()
        lines.append(Measurement("hds-kms after all this, resident", after.resident, "MB"))
        return lines
    }

    /// So many in the usual three seconds of a measurement.
    private static func scaled(_ count: Int, _ seconds: Double) -> Int {
        max(200, Int(Double(count) * seconds / 3))
    }

    static func issuer(_ port: Int) -> String { "https://localhost:\(port)" }

    private static func retrievals(
        _ core: BenchCore, _ session: BenchSession, _ keys: [KMSKey], _ process: BenchProcess, _ seconds: Double
    ) async throws -> [Measurement] {
        var texts: [[UInt8]] = []
        for index in 0..<2000 { texts.append(try session.wrapped("retrieve", keys[index % keys.count].uri)) }
        for text in texts.prefix(300) { _ = try session.open(await core.ask(text, source: "bench")) }
        var samples: [Double] = []
        let end = ContinuousClock.now + .seconds(seconds)
        while ContinuousClock.now < end {
            for text in texts.prefix(200) {
                let start = ContinuousClock.now
                _ = try await core.ask(text, source: "bench")
                samples.append(start.duration(to: .now).inSeconds * 1_000_000)
            }
        }
        // Many at once, as over a busy link: what one costs the service.
        let work = texts
        let total = scaled(40_000, seconds)
        let cpu = try process.cpuSeconds()
        let start = ContinuousClock.now
        try await concurrently(tasks: 32, items: total) { index in
            _ = try await core.ask(work[index % work.count], source: "bench")
        }
        let wall = start.duration(to: .now).inSeconds
        let used = (try process.cpuSeconds() - cpu) / Double(total) * 1_000_000
        return [
            Measurement("key retrieval over the link, p50", percentile(samples, 0.5), "us"),
            Measurement("key retrieval over the link, p99", percentile(samples, 0.99), "us"),
            Measurement(
                "key retrieval over the link, CPU in hds-kms", used, "us", limit: 60, "aim of the issue; goal 40"),
            Measurement("key retrievals over the link, 32 at once", Double(total) / wall, "1/s"),
        ]
    }

    /// Eight users with a session each and 16 requests on their way: what one costs when wake-ups, reads of the socket and
    /// syncs of the trail are shared by more.
    private static func busyRetrievals(
        _ core: BenchCore, _ host: String, _ leaf: Certificate, _ tokenKey: PrivateKey, _ port: Int,
        _ process: BenchProcess, _ seconds: Double
    ) async throws -> [Measurement] {
        var texts: [[UInt8]] = []
        var sources: [String] = []
        for _ in 0..<8 {
            let user = UUIDText.random()
            let token = try BenchTokens.token(user, key: tokenKey, issuer: issuer(port))
            let session = try await open(core, host: host, leaf: leaf, user: user, token: token)
            let create = try session.wrapped("create", "/keys") { $0.member("count", 100) }
            guard case .keys(let keys) = try session.open(await core.ask(create, source: user)).body else {
                throw BenchFailure("no keys over the link")
            }
            let space = try session.wrapped("create", "/resources") { $0.member("keyUris", keys.map(\.uri)) }
            _ = try session.open(await core.ask(space, source: user))
            for index in 0..<500 {
                texts.append(try session.wrapped("retrieve", keys[index % keys.count].uri))
                sources.append(user)
            }
        }
        let (work, senders, total) = (texts, sources, scaled(60_000, seconds))
        // Each task stays with its session.
        @Sendable func one(_ index: Int) async throws {
            let item = index % 8 * 500 + index / 8 % 500
            _ = try await core.ask(work[item], source: senders[item])
        }
        try await concurrently(tasks: 128, items: 4000, one)
        let cpu = try process.cpuSeconds()
        let start = ContinuousClock.now
        try await concurrently(tasks: 128, items: total, one)
        let wall = start.duration(to: .now).inSeconds
        let used = (try process.cpuSeconds() - cpu) / Double(total) * 1_000_000
        return [
            Measurement(
                "key retrieval over the link, 8 sessions with 16 each, CPU in hds-kms", used, "us", limit: 60,
                "aim of the issue; goal 40"),
            Measurement("key retrievals over the link, 8 sessions with 16 each", Double(total) / wall, "1/s"),
        ]
    }

    private static func creations(
        _ core: BenchCore, _ host: String, _ leaf: Certificate, _ tokenKey: PrivateKey, _ port: Int,
        _ process: BenchProcess, _ seconds: Double
    ) async throws -> [Measurement] {
        var sessions: [BenchSession] = []
        for _ in 0..<32 {
            let user = UUIDText.random()
            let token = try BenchTokens.token(user, key: tokenKey, issuer: issuer(port))
            sessions.append(try await open(core, host: host, leaf: leaf, user: user, token: token))
        }
        let total = scaled(10_000, seconds)
        var texts: [[UInt8]] = []
        for index in 0..<total {
            texts.append(try sessions[index % 32].wrapped("create", "/keys") { $0.member("count", 1) })
        }
        let work = texts
        let samples = Samples()
        let start = ContinuousClock.now
        try await concurrently(tasks: 32, items: total) { index in
            let begun = ContinuousClock.now
            _ = try await core.ask(work[index], source: "bench-\(index % 32)")
            samples.add(begun.duration(to: .now).inSeconds * 1000)
        }
        let wall = start.duration(to: .now).inSeconds
        return [
            Measurement(
                "key creations over the link, 32 sessions", Double(total) / wall, "1/s", limit: 3000, "least wanted"),
            Measurement("key creation over the link, p50", percentile(samples.values, 0.5), "ms"),
            Measurement("key creation over the link, p99", percentile(samples.values, 0.99), "ms"),
        ]
    }

    static func open(
        _ core: BenchCore, host: String, leaf: Certificate, user: String, token: String
    ) async throws -> BenchSession {
        let kid = KMSNames(host: host).staticKey(serialNumber: leaf.serialNumberDecimal)
        let (text, own) = try BenchKMS.opening(user, token: token, key: leaf.publicKey, kid: kid)
        return try BenchKMS.session(
            reply: await core.ask(text, source: user), own: own, key: leaf.publicKey, user: user, token: token)
    }

    private static func configuration(pki: URL, folder: URL, port: Int) throws -> URL {
        let secret = folder.appending(path: "client-secret")
        try "bench-secret\n".write(to: secret, atomically: false, encoding: .utf8)
        chmod(secret.path, 0o600)
        let masterKey = folder.appending(path: "master.key")
        try KeyEncryptionKey.create().save(toNewFile: masterKey.path)
        let ca = pki.appending(path: "core/root.pem").path
        let text = """
            runtime:
              health: {address: "127.0.0.1:0"}
              log: {level: info, format: text}
              allow-root: true
            node: bench
            organisation: bench
            host: kms.example.com
            machine-account: bench
            static-key:
              private-key: \(pki.appending(path: "customer/kms.key").path)
              certificate: \(pki.appending(path: "customer/kms.pem").path)
            master-key: \(masterKey.path)
            policy:
              session-openings-per-second: 1000000
              requests-per-user-and-minute: 100000000
              requests-per-device-and-minute: 100000000
              key-reads-per-user-and-hour: 1000000000
            control: {socket: \(folder.appending(path: "control").path)}
            audit: {folder: \(folder.appending(path: "link-audit").path)}
            store: {file: \(folder.appending(path: "link.sqlite").path)}
            core:
              link: wss://localhost:\(port)/link/v1
              ca: \(ca)
            authorization:
              issuers:
                - issuer: \(issuer(port))
                  jwks: \(issuer(port))/jwks.json
                  ca: \(ca)
                  customer-controlled: true
              service-account:
                token-endpoint: \(issuer(port))/token
                ca: \(ca)
                client-id: kms
                client-secret: \(secret.path)
            """
        let file = folder.appending(path: "hds-kms.yaml")
        try text.write(to: file, atomically: false, encoding: .utf8)
        return file
    }
}

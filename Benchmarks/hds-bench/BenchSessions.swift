import Cryptography
import KMSProtocol
import Synchronization
import WireText

extension OverTheLink {
    /// So many clients at the real KMS, each with a session of its own that asks now and then.
    static func sessions(
        _ count: Int, _ core: BenchCore, _ host: String, _ leaf: Certificate, _ tokenKey: PrivateKey, _ port: Int,
        _ process: BenchProcess
    ) async throws -> [Measurement] {
        let before = try process.memory()
        let sessions = Mutex<[BenchSession]>([])
        let opening = ContinuousClock.now
        try await concurrently(tasks: 32, items: count) { _ in
            let user = UUIDText.random()
            let token = try BenchTokens.token(user, key: tokenKey, issuer: issuer(port))
            let session = try await open(core, host: host, leaf: leaf, user: user, token: token)
            sessions.withLock { $0.append(session) }
        }
        let opened = opening.duration(to: .now).inSeconds
        // Nobody's turn comes twice before everybody's has.
        let clients = sessions.withLock { $0 }.shuffled()
        let samples = Samples()
        let asking = ContinuousClock.now
        try await concurrently(tasks: 32, items: count) { index in
            let text = try clients[index].wrapped("update", "/ping")
            let begun = ContinuousClock.now
            _ = try clients[index].open(await core.ask(text, source: clients[index].user))
            samples.add(begun.duration(to: .now).inSeconds * 1000)
        }
        let asked = asking.duration(to: .now).inSeconds
        let after = try process.memory()
        return [
            Measurement("sessions opened over the link, \(count) clients", Double(count) / opened, "1/s"),
            Measurement("requests of \(count) clients, one each, 32 at once", Double(count) / asked, "1/s"),
            Measurement("request of one of \(count) clients, p99", percentile(samples.values, 0.99), "ms"),
            Measurement("hds-kms with \(count) sessions more, resident more", after.resident - before.resident, "MB"),
        ]
    }
}

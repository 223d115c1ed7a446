import Foundation
import KMSProtocol
import KeyManagement
import WireText

/// Spaces by size: retrieving must not depend on how many take part; and a space that begins with many keys.
struct BenchSpaces: Sendable {
    let kms: BenchKMS
    let seconds: Double

    func measure() async throws -> [Measurement] {
        let user = UUIDText.random()
        let session = try await kms.session(user, token: try kms.token(user))
        var lines: [Measurement] = []
        var smallest: Double?
        for count in [10, 1_000, 50_000] {
            let (keys, space) = try await kms.createSpace(session, keys: 20)
            for start in stride(from: 1, to: count, by: 1_000) {
                let users = (start..<min(count, start + 1_000)).map { _ in UUIDText.random() }
                let add = try session.wrapped("create", "/authorizations") {
                    $0.member("resourceUri", space)
                    $0.member("userIds", users)
                }
                _ = try session.open(await kms.handler.reply(to: add, source: ""))
            }
            let used = try await retrieval(session, keys)
            lines.append(
                Measurement(
                    "key retrieval, \(count) take part, CPU", used, "us", limit: smallest.map { $0 * 1.5 },
                    smallest == nil ? nil : "1.5 times that with 10"))
            smallest = smallest ?? used
        }
        lines.append(try await creation(session))
        return lines
    }

    private func retrieval(_ session: BenchSession, _ keys: [KMSKey]) async throws -> Double {
        var texts: [[UInt8]] = []
        for index in 0..<1_000 { texts.append(try session.wrapped("retrieve", keys[index % keys.count].uri)) }
        for text in texts.prefix(200) { _ = try session.open(await kms.handler.reply(to: text, source: "")) }
        var count = 0
        let cpu = processCPUSeconds()
        let end = ContinuousClock.now + .seconds(seconds / 3)
        while ContinuousClock.now < end {
            for text in texts {
                guard case .answer = await kms.handler.reply(to: text, source: "") else {
                    throw BenchFailure("a retrieval was declined")
                }
            }
            count += texts.count
        }
        return (processCPUSeconds() - cpu) / Double(count) * 1_000_000
    }

    private func creation(_ session: BenchSession) async throws -> Measurement {
        var samples: [Double] = []
        for _ in 0..<20 {
            var uris: [String] = []
            // A request makes at most 100.
            for _ in 0..<2 {
                let create = try session.wrapped("create", "/keys") { $0.member("count", 100) }
                guard case .keys(let keys) = try session.open(await kms.handler.reply(to: create, source: "")).body
                else {
                    throw BenchFailure("no keys")
                }
                uris += keys.map(\.uri)
            }
            let keys = uris
            let space = try session.wrapped("create", "/resources") { $0.member("keyUris", keys) }
            let start = ContinuousClock.now
            let reply = await kms.handler.reply(to: space, source: "")
            samples.append(start.duration(to: .now).inSeconds * 1000)
            _ = try session.open(reply)
        }
        return Measurement("space creation with 200 keys, durable, p50", percentile(samples, 0.5), "ms")
    }
}

extension BenchKMS {
    /// A space of the session's user, with keys.
    func createSpace(_ session: BenchSession, keys count: Int) async throws -> (keys: [KMSKey], space: String) {
        let create = try session.wrapped("create", "/keys") { $0.member("count", count) }
        guard case .keys(let keys) = try session.open(await handler.reply(to: create, source: "")).body else {
            throw BenchFailure("no keys")
        }
        let space = try session.wrapped("create", "/resources") { $0.member("keyUris", keys.map(\.uri)) }
        guard case .resource(let resource) = try session.open(await handler.reply(to: space, source: "")).body else {
            throw BenchFailure("no space")
        }
        return (keys, resource.uri)
    }
}

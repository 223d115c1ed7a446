import Foundation
import Glibc
import KeyManagement
import Synchronization
import WireText

/// Durable creations by eight clients that each wait for their answer, one key a request and keys in tens, beside what the
/// disk itself can sync in the same run.
struct BenchDurable: Sendable {
    static let clients = 8

    let kms: BenchKMS
    let folder: URL
    var name = ""

    func measure() async throws -> [Measurement] {
        let disk = try syncs()
        var lines = [Measurement(name + "appends of 4 KiB, each synced, one at a time", disk, "1/s")]
        for count in [1, 10] {
            let (rate, samples) = try await creations(of: count, requests: count == 1 ? 16_000 : 4_000)
            let what = count == 1 ? "creations of one key" : "creations of ten keys"
            lines.append(
                Measurement(
                    name + "\(what), durable, \(Self.clients) clients, requests", rate, "1/s",
                    limit: name.isEmpty && count == 1 ? 5_000 : disk,
                    name.isEmpty && count == 1 ? "aim on two quiet cores" : "synced appends, same run"))
            if count > 1 {
                lines.append(
                    Measurement(
                        name + "keys made in tens, durable, \(Self.clients) clients", rate * Double(count), "1/s",
                        limit: name.isEmpty ? 12_000 : nil, name.isEmpty ? "aim on two quiet cores" : nil))
            }
            lines.append(Measurement(name + "\(what), p99", percentile(samples, 0.99), "ms"))
        }
        return lines
    }

    /// Appends a second to a file in the same folder, each followed by a sync, as a commit without company would be.
    private func syncs() throws -> Double {
        let path = folder.appending(path: "syncs-\(UUIDText.random())").path
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw BenchFailure("no file \(path)") }
        defer {
            close(descriptor)
            unlink(path)
        }
        let page = [UInt8](repeating: 7, count: 4096)
        var count = 0
        let start = ContinuousClock.now
        while start.duration(to: .now) < .seconds(1) {
            guard write(descriptor, page, page.count) == page.count, fdatasync(descriptor) == 0 else {
                throw BenchFailure("\(path) can not be written")
            }
            count += 1
        }
        return Double(count) / start.duration(to: .now).inSeconds
    }

    private func creations(of count: Int, requests: Int) async throws -> (rate: Double, milliseconds: [Double]) {
        var texts: [[[UInt8]]] = []
        for _ in 0..<Self.clients {
            let user = UUIDText.random()
            let session = try await kms.session(user, token: try kms.token(user))
            var own: [[UInt8]] = []
            for _ in 0..<(requests / Self.clients) {
                own.append(try session.wrapped("create", "/keys") { $0.member("count", count) })
            }
            texts.append(own)
        }
        let work = texts
        let samples = Samples()
        let start = ContinuousClock.now
        try await concurrently(tasks: Self.clients, items: Self.clients) { client in
            for text in work[client] {
                let begun = ContinuousClock.now
                guard case .answer = await kms.handler.reply(to: text, source: "bench") else {
                    throw BenchFailure("a creation was declined")
                }
                samples.add(begun.duration(to: .now).inSeconds * 1000)
            }
        }
        return (Double(requests) / start.duration(to: .now).inSeconds, samples.values)
    }
}

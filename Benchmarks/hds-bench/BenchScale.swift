import Foundation
import Glibc
import KeyManagement
import KeyStore
import KeyStoreSQLite
import KMSProtocol
import MasterKey
import SecretMemory
import WireText

/// Retrieval from stores of many keys: latency, memory and bytes for each key, by the number of keys.
///
/// The keys are truly sealed and put in by the store's import, as a restore does it, in random order of their ids.
struct BenchScale: Sendable {
    let folder: URL
    /// Spaces that the keys lie in.
    private static let spaces = 200
    private static let retrievals = 30_000

    func measure(_ sizes: [Int]) async throws -> [Measurement] {
        var lines: [Measurement] = []
        var small: (p50: Double, p99: Double)?
        for size in sizes {
            let loaded = try await LoadedStore.make(folder: folder, keys: size, spaces: Self.spaces)
            defer { loaded.remove() }
            let store = try SQLiteKeyStore(path: loaded.path)
            let kms = try await BenchKMS(loaded.kms, store: store)
            var texts: [[UInt8]] = []
            texts.reserveCapacity(Self.retrievals)
            for _ in 0..<Self.retrievals {
                texts.append(try loaded.session.wrapped("retrieve", loaded.uri(Int.random(in: 0..<size))))
            }
            // What a service that has run for a while has at hand.
            for text in texts.prefix(2_000) {
                // A refusal throws.
                _ = try loaded.session.open(await kms.handler.reply(to: text, source: "bench"))
            }
            let before = try residentMegabytes()
            var samples: [Double] = []
            samples.reserveCapacity(texts.count)
            for text in texts {
                let start = ContinuousClock.now
                guard case .answer = await kms.handler.reply(to: text, source: "bench") else {
                    throw BenchFailure("a retrieval was declined")
                }
                samples.append(start.duration(to: .now).inSeconds * 1_000_000)
            }
            let (p50, p99) = (percentile(samples, 0.5), percentile(samples, 0.99))
            let name = "\(size) keys: "
            let limit = small.map { ($0.p50 * 1.5, $0.p99 * 1.5) }
            let of = small == nil ? nil : "1.5 times that of \(sizes[0]) keys"
            lines += [
                Measurement(name + "key retrieval, p50", p50, "us", limit: limit?.0, of),
                Measurement(name + "key retrieval, p99", p99, "us", limit: limit?.1, of),
                Measurement(name + "resident memory gained by retrieving", try residentMegabytes() - before, "MB"),
                Measurement(
                    name + "octets of the database for each key", Double(loaded.octets) / Double(size), "octets"),
                Measurement(name + "sealed and loaded", Double(size) / loaded.seconds, "1/s"),
            ]
            small = small ?? (p50, p99)
            await store.close()
        }
        return lines
    }

    private func residentMegabytes() throws -> Double {
        let text = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        let line = text.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
        return (Double(line?.split(whereSeparator: { !$0.isNumber }).first ?? "") ?? .nan) / 1024
    }
}

/// A SQLite file with many keys, and a session whose user may retrieve them all.
struct LoadedStore {
    let path: String
    let kms: BenchKMS
    let session: BenchSession
    let octets: Int
    /// How long sealing and loading took.
    let seconds: Double
    private let ids: [UUID]
    private let prefix: String

    func uri(_ number: Int) -> String { prefix + ids[number].uuidString.lowercased() }

    /// Makes spaces by requests, then copies that store and adds keys that are sealed like those of the spaces.
    static func make(folder: URL, keys: Int, spaces: Int) async throws -> LoadedStore {
        let kms = try await BenchKMS(folder: folder)
        guard let small = kms.file else { throw BenchFailure("no file") }
        let user = UUIDText.random()
        let session = try await kms.session(user, token: try kms.token(user))
        var models: [(resource: String, erasable: SymmetricKey, boundAt: Timestamp?, content: [UInt8])] = []
        var prefix = ""
        for _ in 0..<spaces {
            let uri = try await kms.createSpace(session, keys: 1).keys[0].uri
            let id = String(uri.suffix(36))
            prefix = String(uri.dropLast(36))
            guard let record = try await kms.store.key(id), let resource = record.resource,
                let erasable = record.erasable
            else { throw BenchFailure("no bound key \(uri)") }
            // A key's own layer is bound to its id: what lies inside is sealed anew for each.
            let content = try kms.ring.open(record).withUnsafeBytes { Array($0) }
            let key = try kms.ring.erasableKey(erasable, of: resource)
            models.append((resource, key, record.boundAt, content))
        }
        await kms.store.close()

        let path = folder.appending(path: "loaded-\(UUIDText.random()).sqlite").path
        let start = ContinuousClock.now
        let source = try SQLiteExport(path: small)
        let target = try SQLiteImport(path: path)
        for table in StoreTable.allCases {
            var rows: [[StoreTable.Value]] = []
            try source.rows(of: table) { rows.append($0) }
            try target.insert(rows, into: table)
        }
        var ids: [UUID] = []
        ids.reserveCapacity(keys)
        var rows: [[StoreTable.Value]] = []
        for number in 0..<keys {
            let model = models[number % models.count]
            let id = UUID()
            ids.append(id)
            let sealed = try model.content.withUnsafeBytes {
                try kms.ring.seal(
                    key: $0, id: id.uuidString.lowercased(), version: 1, resource: model.resource,
                    erasable: model.erasable)
            }
            rows.append([
                .octets(withUnsafeBytes(of: id.uuid) { Array($0) }), .integer(1),
                RecordID(model.resource).map { id in id.withOctets { .octets(Array($0)) } } ?? .null,
                model.boundAt.map { .integer($0.milliseconds) } ?? .null, .octets(sealed),
            ])
            if rows.count == 10_000 {
                try target.insert(rows, into: .keys)
                rows.removeAll(keepingCapacity: true)
            }
        }
        try target.insert(rows, into: .keys)
        try target.commit()
        let seconds = start.duration(to: .now).inSeconds
        var status = stat()
        guard stat(path, &status) == 0 else { throw BenchFailure("no file \(path)") }
        return LoadedStore(
            path: path, kms: kms, session: session, octets: Int(status.st_size), seconds: seconds, ids: ids,
            prefix: prefix)
    }

    func remove() {
        for end in ["", "-wal", "-shm", ".lock"] { unlink(path + end) }
    }
}

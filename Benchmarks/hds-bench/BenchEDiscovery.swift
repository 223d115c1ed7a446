import Cryptography
import EDiscoveryService
import Foundation
import Glibc
import JOSESignature
import KMSClient
import KMSProtocol
import SecretMemory
import TestVectors
import WireText

/// Reports of real messages: into the mirror, collected with keys on behalf of participants, exported in every form and sealed.
/// The KMS answers in the process at once, so the figures are those of the worker.
///
/// Collecting and exporting are processes of their own: that tells their CPU time and memory apart from what makes the
/// messages, and one can be killed.
struct BenchEDiscovery {
    let folder: URL
    /// Messages of the large case.
    let items: Int
    let exports: Bool

    /// What an officer may expect of two cores for text.
    private static let aim = 5000.0
    private static let small = 10_000
    /// Few, so that one has more messages than a page or a worker's memory should hold.
    private static let rooms = 20

    func measure() async throws -> [Measurement] {
        guard ChatCorpus.english.isAvailable else { return [] }
        let corpus = try ChatCorpus.english.messages(ofRoom: 60)
        let small = try await measure(corpus, Self.small), large = try await measure(corpus, items)
        func rate(_ name: String, _ run: Run) -> [Measurement] {
            [
                Measurement(name, Double(items) / run.seconds, "items/s", limit: Self.aim, "aim"),
                Measurement("the same, CPU of an item", run.cpu / Double(items) * 1_000_000, "us"),
            ]
        }
        func memory(_ name: String, _ run: Run, _ before: Run) -> Measurement {
            Measurement(name, run.resident, "MB", limit: before.resident * 1.5, "1.5 times that with \(Self.small)")
        }
        var lines = [Measurement("items of the feed into the mirror, CPU of an item", large.mirrored, "us")]
        lines += rate("report of \(items) messages, collected", large.collected)
        if let exported = large.exported, let before = small.exported {
            lines += rate("export of them in seven forms, sealed", exported)
            lines += rate("collected and exported", large.collected + exported)
            lines.append(memory("most memory, exporting \(items)", exported, before))
        }
        lines += [
            memory("most memory, collecting \(items)", large.collected, small.collected),
            Measurement(
                "collecting, killed in the middle and taken over: more CPU",
                (large.resumed.cpu / large.collected.cpu - 1) * 100, "%"),
        ]
        return lines
    }

    /// What a process took.
    private struct Run {
        var seconds: Double
        var cpu: Double
        /// The most, in MB.
        var resident: Double

        static func + (one: Run, other: Run) -> Run {
            Run(
                seconds: one.seconds + other.seconds, cpu: one.cpu + other.cpu,
                resident: max(one.resident, other.resident))
        }
    }

    private struct Figures {
        var mirrored: Double
        var collected: Run
        var exported: Run?
        var resumed: Run
    }

    private func measure(_ corpus: [ChatMessage], _ count: Int) async throws -> Figures {
        let place = folder.appending(path: "ediscovery-\(count)")
        try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
        defer {
            try? FileManager.default.removeItem(atPath: Self.scratch(place))
            try? FileManager.default.removeItem(at: place)
        }
        let key = try SymmetricKey.random()
        try key.withUnsafeBytes { try Data($0).write(to: place.appending(path: "key")) }
        let officer = try PrivateKey.generateP256()
        var json = JSONWriter()
        json.beginObject()
        json.name("keys")
        json.beginArray()
        JWK(publicKey: officer.publicKey, kid: "officer", use: "enc").write(to: &json)
        json.endArray()
        json.endObject()
        try Data(json.bytes()).write(to: place.appending(path: "recipients.json"))
        let run = try Self.run(in: place)
        var feed = Feed(corpus: corpus, key: key, rooms: Self.rooms)
        var mirrored = 0.0, made = 0
        while made < count {
            let batch = try feed.next(min(256, count - made))
            made += min(256, count - made)
            let before = processCPUSeconds()
            try await run.add(batch)
            mirrored += processCPUSeconds() - before
        }
        func report() async throws -> String {
            try await run.ask("reports.create", #"{"name":"all","limits":{"maxItems":10000000}}"#)["id"]?.string ?? ""
        }
        func state(_ id: String) async throws -> (state: String?, items: Int) {
            let answer = try await run.ask("reports.get", #"{"id":"\#(id)"}"#)
            return (answer["state"]?.string, Int(answer["summary"]?["items"]?.integer ?? 0))
        }
        let whole = try await report()
        let collected = try Self.child("collect", place)
        let found = try await state(whole)
        guard found == ("completed", count) else { throw BenchFailure("the report did not complete: \(found)") }
        // Once more, killed in the middle.
        let cut = try await report()
        let first = try Self.start("collect", place)
        var killed = false
        while !killed {
            try await Task.sleep(for: .milliseconds(2))
            let now = try await state(cut)
            if now.items >= count / 2 || now.state == "completed" { killed = kill(first, SIGKILL) == 0 }
        }
        let before = try Self.end(first, since: .now)
        let resumed = before + (try Self.child("collect", place))
        guard try await state(cut) == ("completed", count) else { throw BenchFailure("it was not taken over") }
        var exported: Run?
        if exports {
            _ = try await run.ask("exports.create", #"{"reportId":"\#(whole)","encryptTo":"officer"}"#)
            exported = try Self.child("export", place)
            let list = try await run.ask("exports.list", "{}").rawText
            guard list.contains(#""state":"completed""#) else {
                throw BenchFailure("the export did not complete: \(list)")
            }
        }
        return Figures(
            mirrored: mirrored / Double(count) * 1_000_000, collected: collected, exported: exported, resumed: resumed)
    }

    private static func run(in place: URL) throws -> CollectingRun {
        let key = SymmetricKey(copying: [UInt8](try Data(contentsOf: place.appending(path: "key"))))
        let signer = try PrivateKey.generateP256()
        return try CollectingRun(
            folder: place.path, scratch: scratch(place), recipients: place.appending(path: "recipients.json").path
        ) { operation, _ in try answer(operation, key, signer) }
    }

    /// In memory where the machine has room for it, as the configuration advises: two files an item, made and deleted, are slow on a
    /// disk.
    private static func scratch(_ place: URL) -> String {
        access("/dev/shm", W_OK) == 0
            ? "/dev/shm/hds-bench-" + place.path.replacing("/", with: "-") : place.path + "/scratch"
    }

    // MARK: - Processes

    /// What the process that `start` began does.
    static func work(_ what: String, in place: URL) async throws {
        let run = try run(in: place)
        if what == "export" { try await run.export() } else { await run.collect() }
        // What wait4 says of it counts the memory of the process that started it as well.
        let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
        try Data((line ?? "").utf8).write(to: place.appending(path: "memory"))
    }

    private static func resident(_ place: URL) -> Double {
        let text = (try? String(contentsOf: place.appending(path: "memory"), encoding: .utf8)) ?? ""
        return (Double(text.split { !$0.isNumber }.first ?? "") ?? .nan) / 1024
    }

    private static func start(_ what: String, _ place: URL) throws -> pid_t {
        let arguments = ["hds-bench", "--ediscovery-work", what, "--ediscovery-folder", place.path]
        var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        pointers.append(nil)
        defer { for pointer in pointers { free(pointer) } }
        var process: pid_t = 0
        guard posix_spawn(&process, "/proc/self/exe", nil, nil, pointers, environ) == 0 else {
            throw BenchFailure("a process can not be started")
        }
        return process
    }

    private static func end(_ process: pid_t, since start: ContinuousClock.Instant) throws -> Run {
        var status: Int32 = 0, usage = rusage()
        while wait4(process, &status, 0, &usage) < 0, errno == EINTR {}
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        return Run(
            seconds: start.duration(to: .now).inSeconds, cpu: seconds(usage.ru_utime) + seconds(usage.ru_stime),
            resident: 0)
    }

    private static func child(_ what: String, _ place: URL) throws -> Run {
        let begun = ContinuousClock.now
        var run = try end(start(what, place), since: begun)
        run.resident = resident(place)
        return run
    }

    private static func answer(_ operation: KMSOperation, _ key: SymmetricKey, _ signer: PrivateKey) throws -> KMSAnswer
    {
        let time = Timestamp(milliseconds: 0)
        switch operation {
        case .createSealingKey:
            return KMSAnswer(status: 200, requestID: nil, body: .sealingKey(KMSSealingKey(key: key, createDate: time)))
        case .useKey(let uri, _):
            return KMSAnswer(
                status: 200, requestID: nil,
                body: .key(
                    KMSKey(
                        uri: uri, key: key, userID: "u", clientID: "c", createDate: time, expirationDate: time,
                        resourceURI: "kms://k/resources/00000000-0000-4000-8000-000000000001")))
        case .createSignature(let digest):
            let payload = #"{"type":"hds-ediscovery-export","digest":"\#(Base64URL.encode(digest))"}"#
            let jws = try JWS.sign(
                Array(payload.utf8), with: signer, algorithm: .es256, kid: nil, typ: "hds-ediscovery-export+jws")
            return KMSAnswer(status: 201, requestID: nil, body: .signature(jws))
        default: return KMSAnswer(status: 200, requestID: nil)
        }
    }

    /// As the core tells it: a beginning of each room with its people, then messages of the corpus, over and over.
    private struct Feed {
        let corpus: [ChatMessage]
        let key: SymmetricKey
        let rooms: Int
        private var made = 0
        private var places: [Int64]

        init(corpus: [ChatMessage], key: SymmetricKey, rooms: Int) {
            (self.corpus, self.key, self.rooms) = (corpus, key, rooms)
            places = Array(repeating: 0, count: rooms)
        }

        private static func name(_ kind: Int, _ number: Int) -> String {
            let digits = String(number, radix: 16)
            return "00000000-0000-4000-800\(kind)-" + String(repeating: "0", count: 12 - digits.count) + digits
        }

        mutating func next(_ count: Int) throws -> [[UInt8]] {
            var items: [[UInt8]] = []
            for number in made..<(made + count) {
                let message = corpus[number % corpus.count]
                let place = number % rooms
                if places[place] == 0 { items.append(beginning(place)) }
                places[place] += 1
                items.append(try post(message, number, place, places[place]))
            }
            made += count
            return items
        }

        private func beginning(_ room: Int) -> [UInt8] {
            var json = JSONWriter()
            json.beginObject()
            json.member("type", "conversation")
            json.name("conversation")
            json.beginObject()
            json.member("id", Self.name(1, room))
            json.member("creator", Self.name(2, 0))
            json.name("participants")
            json.beginArray()
            for person in 0..<20 {
                json.beginObject()
                json.member("id", Self.name(2, person))
                json.endObject()
            }
            json.endArray()
            json.member("published", Timestamp(milliseconds: 0).iso8601)
            json.endObject()
            json.endObject()
            return json.bytes()
        }

        private func post(_ message: ChatMessage, _ number: Int, _ room: Int, _ sequence: Int64) throws -> [UInt8] {
            var json = JSONWriter(reserving: 1024)
            json.beginObject()
            json.member("type", "activity")
            json.name("activity")
            json.beginObject()
            json.member("id", Self.name(0, number))
            json.member("verb", "post")
            json.member("actor", Self.name(2, number % 20))
            json.member("sequence", sequence)
            json.member("published", Timestamp(milliseconds: message.published).iso8601)
            json.member("encryptionKeyUrl", "kms://k/keys/\(sequence / 1000)")
            json.name("target")
            json.beginObject()
            json.member("id", Self.name(1, room))
            json.endObject()
            json.name("object")
            json.beginObject()
            json.member("displayName", try EncryptedText(encrypting: message.text, under: key).jwe)
            json.endObject()
            json.endObject()
            json.endObject()
            return json.bytes()
        }
    }
}

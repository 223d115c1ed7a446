package import Diagnostics
import Glibc
package import WireText

/// What a failover did so far: one line before and one after each step, each on the disk before the next thing happens.
///
/// Lines are JSON objects: `time`, `run`, `step`, `state` (`begun`, `done`, `refused`), and what belongs to the step. A
/// last line that was cut off by a crash is left out: its step was not begun or is done again, and every step may be.
package final class FailoverJournal {
    package struct Entry: Sendable, Equatable {
        package var run: String
        package var step: String
        package var state: String
        package var target: String?
        package var epoch: Int64?
        package var detail: String?

        package init(
            run: String, step: String, state: String, target: String? = nil, epoch: Int64? = nil, detail: String? = nil
        ) {
            self.run = run
            self.step = step
            self.state = state
            self.target = target
            self.epoch = epoch
            self.detail = detail
        }
    }

    package let path: String
    package private(set) var entries: [Entry] = []
    private let descriptor: Int32
    private var isOpen = true

    package init(path: String) throws(DiagnosedError) {
        self.path = path
        descriptor = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw Self.unusable(path, String(cString: strerror(errno))) }
        // Two failovers at a time are none.
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            throw DiagnosedError(
                "failover-runs", fault: .client, "another hdsctl failover works with \(path)",
                hint: "wait for it to end")
        }
        entries = Self.entries(in: try read())
    }

    deinit { close() }

    /// Lets another run have it; to be called once nothing is noted any more.
    package func close() {
        guard isOpen else { return }
        isOpen = false
        // Said in so many words: a process that is being started may still share the descriptor.
        flock(descriptor, LOCK_UN)
        _ = Glibc.close(descriptor)
    }

    /// A run that was begun and is not over: its id, the server that was to take over, and the epoch that it began in.
    package var unfinished: (run: String, target: String, epoch: Int64)? {
        guard let last = entries.last(where: { $0.step == "run" }), last.state == "begun", let target = last.target,
            let epoch = last.epoch
        else { return nil }
        return (last.run, target, epoch)
    }

    /// Durable when it returns.
    package func note(_ entry: Entry, at time: Timestamp = .now()) throws(DiagnosedError) {
        var json = JSONWriter()
        json.beginObject()
        json.member("time", time.iso8601)
        json.member("run", entry.run)
        json.member("step", entry.step)
        json.member("state", entry.state)
        json.member("target", ifPresent: entry.target)
        if let epoch = entry.epoch { json.member("epoch", epoch) }
        json.member("detail", ifPresent: entry.detail)
        json.endObject()
        // A line that a crash cut off is ended first.
        let line = Array((endsInside ? "\n" : "").utf8) + Array((json.text() + "\n").utf8)
        guard write(descriptor, line, line.count) == line.count, fsync(descriptor) == 0 else {
            throw Self.unusable(path, String(cString: strerror(errno)))
        }
        endsInside = false
        entries.append(entry)
    }

    private var endsInside = false

    private func read() throws(DiagnosedError) -> [UInt8] {
        var octets: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while octets.count < 16 << 20 {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            guard count >= 0 else { throw Self.unusable(path, String(cString: strerror(errno))) }
            guard count > 0 else { break }
            octets += chunk[..<count]
        }
        endsInside = octets.last.map { $0 != UInt8(ascii: "\n") } ?? false
        return octets
    }

    private static func entries(in octets: [UInt8]) -> [Entry] {
        octets.split(separator: UInt8(ascii: "\n")).compactMap { line in
            guard let root = try? JSONDocument(line).root, let run = root["run"]?.string,
                let step = root["step"]?.string, let state = root["state"]?.string
            else { return nil }
            return Entry(
                run: run, step: step, state: state, target: root["target"]?.string, epoch: root["epoch"]?.integer,
                detail: root["detail"]?.string)
        }
    }

    /// When a run last came to its end, by the journal at that path, which may be in use; nil: none is known of.
    package static func lastDone(path: String) -> Timestamp? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return nil }
        defer { _ = Glibc.close(descriptor) }
        var octets: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while case let count = Glibc.read(descriptor, &chunk, chunk.count), count > 0 { octets += chunk[..<count] }
        return octets.split(separator: UInt8(ascii: "\n")).reversed().lazy.compactMap { line in
            guard let root = try? JSONDocument(line).root, root["step"]?.string == "run",
                root["state"]?.string == "done"
            else { return nil }
            return root["time"]?.string.flatMap { Timestamp(iso8601: $0) }
        }.first
    }

    private static func unusable(_ path: String, _ found: String) -> DiagnosedError {
        DiagnosedError(
            "failover-journal", fault: .configuration, "the journal of the failover can not be kept in \(path)",
            found: found, hint: "name another file with --journal")
    }
}

package import AuditTrail
import Cryptography
package import Diagnostics
import Dispatch
import Glibc
package import KeyManagement
package import SecretMemory
import Synchronization
package import WireText

/// The journal of what must not come back: a file of this node outside the database (security model, rule 20).
///
/// `append` returns when the entry is on the disk; what waits together shares one write and one sync. What a failed
/// write left behind is cut off before anything else is written; at a start, what a crash left behind the last whole
/// entry is put aside and cut off: it was never acknowledged. While the disk takes no writes every `append` fails with
/// `journal-blocked`, and works again by itself. Any thread may call.
package final class RemovalJournal: Sendable {
    package static let ending = ".removals"
    /// So much at the end of a file may be what a crash left of one write; more than that was there before.
    private static let tornLimit = 4 << 20

    private struct Waiting {
        let position: Int64
        let time: Timestamp
        let content: JournalEntry.Content
        /// Nil: nobody waits.
        let completion: (@Sendable (Result<UInt64, DiagnosedError>) -> Void)?
    }

    private struct State {
        var waiting: [Waiting] = []
        var isWriting = false
        var isClosed = false
        var blocked: DiagnosedError?
        var tip: JournalTip
    }

    fileprivate struct Writer {
        var file: any AppendFile
        var tip: JournalTip
        var length: Int
        var isDirty = false
        /// The last entry that was pruned.
        var pruned: UInt64?
        /// Another file stands under the name now.
        var isReplaced = false
    }

    package let header: JournalHeader
    package let path: String
    /// What a crash had left behind the last whole entry, and where it is now.
    package let cut: String?
    let key: SymmetricKey
    private let files: any TrailFileSystem
    private let lock: JournalLock
    private let thread = DispatchQueue(label: "hds.removals")
    private let writer: Mutex<Writer>
    private let state: Mutex<State>

    /// Opens the node's journal in the folder, or begins it. Blocks.
    /// - Parameter key: of the journal with that id.
    package static func open(
        folder: String, host: String, node: String, now: Timestamp, files: any TrailFileSystem = PosixFileSystem(),
        key: (String) -> SymmetricKey
    ) throws -> RemovalJournal {
        guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
            throw blocked("the folder of the journal of removals can not be made", folder)
        }
        let path = "\(folder)/\(node)\(ending)"
        let lock = try JournalLock(path + ".lock")
        if access(path, F_OK) != 0 {
            let header = JournalHeader(journal: UUIDText.random(), host: host, node: node, begun: now)
            try SealedFile.replace(path, with: header.octets())
            try files.synchronizeFolder(folder)
        }
        let scan = try JournalScan(path) { _, _, _ in true }
        guard scan.header.node == node, scan.header.host == host else {
            throw DiagnosedError(
                .journalBroken, fault: .configuration, "\(path) is the journal of another node",
                expected: "\(node) of \(host)", found: "\(scan.header.node) of \(scan.header.host)",
                hint: "give each node a folder of its own")
        }
        let key = key(scan.header.journal)
        let mark = JournalMark.read(path + JournalMark.ending, journal: scan.header.journal, key: key)
        if let mark, mark.number > scan.tip.number { throw shortened(path, mark.number, scan.tip.number) }
        if let behind = scan.header.behind, behind.number > mark?.pruned ?? 0 {
            throw shortened(path, 1, scan.tip.number)
        }
        let file = try files.openSegment(path)
        let cut = try cut(scan, path, file)
        return RemovalJournal(
            path: path, cut: cut, key: key, files: files, lock: lock, file: file, scan: scan, pruned: mark?.pruned)
    }

    private init(
        path: String, cut: String?, key: SymmetricKey, files: any TrailFileSystem, lock: JournalLock,
        file: any AppendFile, scan: JournalScan, pruned: UInt64?
    ) {
        header = scan.header
        (self.path, self.cut, self.key, self.files, self.lock) = (path, cut, key, files, lock)
        writer = Mutex(Writer(file: file, tip: scan.tip, length: scan.length, pruned: pruned))
        state = Mutex(State(tip: scan.tip))
    }

    /// Nothing is thrown away: a tail that was never acknowledged may still help whoever looks for what happened.
    private static func cut(_ scan: JournalScan, _ path: String, _ file: any AppendFile) throws -> String? {
        guard case .broken(let place, let size) = scan.end else { return nil }
        guard size - place <= tornLimit else { throw shortened(path, scan.tip.number + 1, scan.tip.number) }
        let source = try BackupFile.open(path)
        _ = try source.read(place)
        let aside = "\(path).cut-\(scan.tip.number)"
        try SealedFile.replace(aside, with: try source.read(size - place))
        try file.truncate(to: place)
        try file.synchronize()
        return aside
    }

    /// Where it is, on the disk.
    package var tip: JournalTip { state.withLock { $0.tip } }
    /// Why nothing can be written now; nil when it can.
    package var blocked: DiagnosedError? { state.withLock { $0.blocked } }

    /// How many wait for the next write.
    var waiting: Int { state.withLock { $0.waiting.count } }

    // MARK: Writing

    /// On the disk when it returns the entry's number.
    package func append(_ removals: [Removal], position: Int64, now: Timestamp) async throws -> UInt64 {
        try await withCheckedThrowingContinuation { continuation in
            submit(
                Waiting(position: position, time: now, content: .removals(removals)) {
                    continuation.resume(with: $0)
                })
        }
    }

    /// Says that an entry did not come about. Nobody waits for it: where it gets lost, a restore takes away what somebody
    /// was about to take away.
    package func void(_ number: UInt64, position: Int64, now: Timestamp) {
        submit(Waiting(position: position, time: now, content: .void(number), completion: nil))
    }

    /// Renews the mark: up to `now` everything that was acknowledged stands in the journal. Tries the disk as well.
    package func mark(now: Timestamp) async throws {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            thread.async { [self] in continuation.resume(with: Result { try writeMark(now) }) }
        }
    }

    /// What waits is still written; nothing more is taken.
    package func close() async {
        state.withLock { $0.isClosed = true }
        await withCheckedContinuation { continuation in
            thread.async { continuation.resume() }
        }
        lock.release()
    }

    private func submit(_ waiting: Waiting) {
        let (isTaken, starts) = state.withLock { state in
            guard !state.isClosed else { return (false, false) }
            state.waiting.append(waiting)
            defer { state.isWriting = true }
            return (true, !state.isWriting)
        }
        guard isTaken else {
            waiting.completion?(.failure(Self.blocked("the journal of removals is closed", path)))
            return
        }
        if starts { thread.async { [self] in writeAll() } }
    }

    private func writeAll() {
        while true {
            let batch = state.withLock { state in
                defer { state.waiting = [] }
                if state.waiting.isEmpty { state.isWriting = false }
                return state.waiting
            }
            guard !batch.isEmpty else { return }
            let outcome = writer.withLock { writer in Result { try write(batch, &writer) } }
            switch outcome {
            case .success(let tip):
                state.withLock { ($0.tip, $0.blocked) = (tip, nil) }
                let first = tip.number - UInt64(batch.count)
                for (index, waiting) in batch.enumerated() {
                    waiting.completion?(.success(first + UInt64(index) + 1))
                }
            case .failure(let error):
                let blocked = Self.blocked("what is taken away can not be written down", path, error)
                state.withLock { $0.blocked = blocked }
                for waiting in batch { waiting.completion?(.failure(blocked)) }
            }
        }
    }

    private func write(_ batch: [Waiting], _ writer: inout Writer) throws -> JournalTip {
        try writer.clean(files, path)
        var octets: [UInt8] = []
        var tip = writer.tip
        for waiting in batch {
            let entry = JournalEntry(
                number: tip.number + 1, position: waiting.position, time: waiting.time, content: waiting.content)
            let (more, chain) = try entry.octets(after: tip.chain, key: key)
            octets += more
            tip = JournalTip(number: entry.number, position: entry.position, time: entry.time, chain: chain)
        }
        writer.isDirty = true
        try writer.file.append(octets)
        try writer.file.synchronize()
        writer.isDirty = false
        writer.length += octets.count
        writer.tip = tip
        return tip
    }

    private func writeMark(_ now: Timestamp) throws {
        do {
            var tip = try writer.withLock { writer in
                try writer.clean(files, path)
                var tip = writer.tip
                tip.pruned = writer.pruned
                return tip
            }
            tip.time = now
            try SealedFile.replace(
                path + JournalMark.ending, with: try JournalMark.octets(tip, journal: header.journal, key: key))
            state.withLock { $0.blocked = nil }
        } catch {
            let blocked = Self.blocked("the mark of the journal of removals can not be written", path, error)
            state.withLock { $0.blocked = blocked }
            throw blocked
        }
    }

    // MARK: Pruning

    /// Drops the oldest entries, all that are older than `limit`; answers how many. Blocks nobody but other writers.
    package func prune(before limit: Timestamp, now: Timestamp) async throws -> Int {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Int, any Error>) in
            thread.async { [self] in continuation.resume(with: Result { try pruned(before: limit, now) }) }
        }
    }

    private func pruned(before limit: Timestamp, _ now: Timestamp) throws -> Int {
        var (behind, count) = (JournalTip?.none, 0)
        var isOver = false
        // The walk stops at the first entry that is still needed; `scan` then says where that begins.
        let scan = try JournalScan(path) { _, octets, _ in
            guard !isOver, let clear = JournalEntry.Clear(octets), clear.time < limit else {
                isOver = true
                return false
            }
            behind = JournalTip(
                number: clear.number, position: clear.position, time: clear.time,
                chain: Array(octets.suffix(SHA256.byteCount)))
            count += 1
            return true
        }
        guard let behind else { return 0 }
        // First the mark: a file that begins later than its mark knows was cut off by somebody else.
        writer.withLock { $0.pruned = behind.number }
        try writeMark(now)
        try writer.withLock { writer in
            try writer.clean(files, path)
            var header = scan.header
            header.behind = behind
            let source = try BackupFile.open(path)
            _ = try source.read(scan.length)
            let octets = header.octets() + (try source.read(writer.length - scan.length))
            try SealedFile.replace(path, with: octets)
            (writer.isReplaced, writer.length) = (true, octets.count)
            try writer.clean(files, path)
        }
        return count
    }

    private static func blocked(_ what: String, _ path: String, _ error: (any Error)? = nil) -> DiagnosedError {
        let reason = String(cString: strerror(errno))
        return DiagnosedError(
            .journalBlocked, fault: .store, "\(what): \((error as? DiagnosedError)?.summary ?? path)",
            expected: "a disk that takes writes", found: (error as? DiagnosedError)?.found ?? reason,
            hint: "free space on its disk or look after it; removals are taken again by themselves")
    }

    private static func shortened(_ path: String, _ expected: UInt64, _ found: UInt64) -> DiagnosedError {
        DiagnosedError(
            .journalBroken, fault: .store, "\(path) is broken or was cut off",
            expected: "entry \(expected)", found: "\(found) whole entries",
            hint:
                "find out who could write to it; move it away with its mark, keep both for a restore, and the service "
                + "begins another one")
    }
}

extension RemovalJournal.Writer {
    /// Opens what has taken the place of the file, and cuts off what a failed write left behind.
    fileprivate mutating func clean(_ files: any TrailFileSystem, _ path: String) throws {
        if isReplaced {
            file = try files.openSegment(path)
            try files.synchronizeFolder(path.folderOfFile)
            isReplaced = false
        }
        guard isDirty else { return }
        try file.truncate(to: length)
        isDirty = false
    }
}

/// Keeps a second writer away, until it is released or gone.
final class JournalLock: Sendable {
    private let descriptor: Int32

    init(_ path: String) throws(DiagnosedError) {
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0, flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let reason = String(cString: strerror(errno))
            if descriptor >= 0 { Glibc.close(descriptor) }
            throw DiagnosedError(
                .journalBlocked, fault: .configuration, "the journal of removals can not be locked: \(path)",
                found: reason, hint: "one service for each folder: stop the other one, or see whose folder it is")
        }
    }

    deinit { Glibc.close(descriptor) }

    func release() { flock(descriptor, LOCK_UN) }
}

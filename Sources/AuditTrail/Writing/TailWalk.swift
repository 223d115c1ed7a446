import Diagnostics
import WireText

/// Walks the last segment and tells where it ends: a torn tail is passed over, a change in the middle is an error.
///
/// What a crash can leave behind the last acknowledged record is anything but further records. So the first line that
/// is no record ends the segment if no record follows it; else somebody changed it.
struct TailWalk {
    private let path: String
    private let segment: SegmentName

    init(folder: TrailFolder, segment: SegmentName) throws {
        path = folder.path(of: segment)
        self.segment = segment
    }

    /// Octets up to the last good record, with its line feed.
    func walk(_ walker: inout ChainWalker, each: (Int64, [UInt8]) throws -> Void) throws -> Int {
        var number = 0
        do {
            try walker.begin(segment)
            let reader = try LineReader(path)
            var end = 0
            while let line = try nextLine(reader, after: end) {
                number += 1
                if LineHeader(line) == nil, try !hasRecord(reader) { return end }
                try walker.take(line)
                try each(walker.seq, walker.chain)
                end = reader.offset
            }
            return end
        } catch let error as DiagnosedError {
            throw error.at("\(segment)" + (number > 0 ? " line \(number)" : ""))
        }
    }

    /// A tail without any line feed may be longer than a line is allowed to be: it is no record.
    private func nextLine(_ reader: LineReader, after end: Int) throws(DiagnosedError) -> [UInt8]? {
        do {
            return try reader.next()
        } catch  where error.code == .auditLineMalformed {
            return nil
        }
    }

    private func hasRecord(_ reader: LineReader) throws(DiagnosedError) -> Bool {
        while let line = try nextLine(reader, after: reader.offset) {
            if LineHeader(line) != nil { return true }
        }
        return false
    }
}

/// Brings the file of roots in order after a crash.
struct RootsRepair {
    let folder: TrailFolder

    func cutTornLine() throws(DiagnosedError) {
        let size = SmallFile.size(folder.rootsPath)
        guard size > 0 else { return }
        let reader = try LineReader(folder.rootsPath)
        while try reader.next() != nil {}
        guard !reader.rest.isEmpty else { return }
        let file = try PosixAppendFile(folder.rootsPath)
        try file.truncate(to: size - reader.rest.count)
        try file.synchronize()
    }

    /// The crash was between the first record of a segment and the file of roots: entries that records carry and the
    /// file does not are added. That they are genuine is found out with the rest of the file.
    func addMissingRoot(of last: SegmentName) throws {
        guard last.first > 1, let line = try LineReader(folder.path(of: last)).next() else { return }
        let record = try StoredRecord(line: line).record
        guard record.kind == .root, let jws = record.jws else { return }
        var known = false
        var successions: Set<String> = []
        try RootsFile(path: folder.rootsPath).forEach { entry, _ in
            if entry == .root(jws) { known = true }
            if case .succession(let text) = entry { successions.insert(text) }
        }
        guard !known else { return }
        var missing: [RootsFile.Entry] = []
        if let before = try folder.segments().last(where: { $0 < last }) {
            let reader = try LineReader(folder.path(of: before))
            while let line = try reader.next() {
                guard LineHeader(line)?.kind == .key, let text = try StoredRecord(line: line).record.jws,
                    !successions.contains(text)
                else { continue }
                missing.append(.succession(text))
            }
        }
        let file = try PosixAppendFile(folder.rootsPath)
        try file.append((missing + [.root(jws)]).flatMap(\.line))
        try file.synchronize()
    }
}

extension RootsFile {
    /// Roots and successions, without keys.
    func count() throws -> Int {
        var count = 0
        try forEach { entry, _ in
            if case .key = entry { return }
            count += 1
        }
        return count
    }
}

extension AuditRecord {
    init(gap: GapStatement, key: AttestationKey, at now: Timestamp) throws {
        self.init(.gap, at: now)
        own.detail = gap.reason
        own.trail = gap.trail
        own.source = gap.node
        own.count = gap.lastSeq
        own.jws = try key.sign(gap.json(), as: .gap)
    }
}

import Diagnostics
package import WireText

/// What to look for in a trail; members that are nil match everything.
package struct AuditQuery: Sendable {
    package var id: AuditID?
    /// Chosen by clients: several hits are usual.
    package var requestId: String?
    /// A pseudonym; matches the user and the effective user.
    package var user: String?
    package var object: String?
    package var kind: AuditRecord.Kind?
    package var since: Timestamp?
    /// Not included.
    package var until: Timestamp?
    package var newestFirst = false
    package var limit = Int.max

    package init() {}
}

/// Reads a trail's records one at a time, in memory that does not grow with the trail; verifies nothing.
///
/// Works beside a running writer: a line that is being written is not seen yet.
package struct TrailReader: Sendable {
    let folder: TrailFolder

    package init(folder: String) { self.folder = TrailFolder(path: folder) }

    /// Every record that matches, in the order of the trail or the reverse.
    package func forEach(_ query: AuditQuery, _ body: (StoredRecord) throws -> Void) throws {
        let segments = try self.segments(since: query.id?.time ?? query.since)
        let matcher = LineMatcher(query)
        var left = query.id == nil ? query.limit : min(1, query.limit)
        for segment in query.newestFirst ? segments.reversed() : segments {
            guard left > 0 else { return }
            let lines = try Lines(folder.path(of: segment), backward: query.newestFirst)
            while left > 0, let line = try lines.next() {
                guard matcher.mayMatch(line), let stored = try? StoredRecord(line: line), query.matches(stored) else {
                    continue
                }
                left -= 1
                try body(stored)
            }
        }
    }

    package func records(_ query: AuditQuery) throws -> [StoredRecord] {
        var records: [StoredRecord] = []
        try forEach(query) { records.append($0) }
        return records
    }

    /// Which of the ids stand in the trail; one pass from the time of the oldest.
    package func present(_ ids: [AuditID]) throws -> Set<AuditID> {
        guard let oldest = ids.min() else { return [] }
        var missing = Set(ids)
        var found: Set<AuditID> = []
        for segment in try segments(since: oldest.time) {
            let reader = try LineReader(folder.path(of: segment))
            while !missing.isEmpty, let line = try reader.next() {
                guard let id = LineHeader(line)?.id, missing.remove(id) != nil else { continue }
                found.insert(id)
            }
        }
        return found
    }

    package func ids(since seq: Int64) throws -> [AuditID] {
        let all = try folder.segments()
        let start = all.lastIndex { $0.first <= seq + 1 } ?? 0
        var ids: [AuditID] = []
        for segment in all[start...] {
            let reader = try LineReader(folder.path(of: segment))
            while let line = try reader.next() {
                if let header = LineHeader(line), header.seq > seq { ids.append(header.id) }
            }
        }
        return ids
    }

    /// The segments in which a record made at a time can stand: from the one before the last that began by then. A
    /// record may have been kept long after it was made, never before.
    private func segments(since time: Timestamp?) throws(DiagnosedError) -> [SegmentName] {
        let all = try folder.segments()
        guard let time else { return all }
        var start = all.count
        while start > 0 {
            start -= 1
            if let begin = try folder.firstHeader(of: all[start])?.time, begin <= time { break }
        }
        // One more: clocks are set back sometimes.
        return Array(all[max(0, start - 1)...])
    }
}

extension AuditQuery {
    fileprivate func matches(_ stored: StoredRecord) -> Bool {
        let record = stored.record
        return (id == nil || record.id == id) && (requestId == nil || record.requestId == requestId)
            && (user == nil || record.user == user || record.effectiveUser == user)
            && (object == nil || record.object == object) && (kind == nil || record.kind == kind)
            && (since.map { record.time >= $0 } ?? true) && (until.map { record.time < $0 } ?? true)
    }
}

/// Passes over lines that can not match without parsing them.
private struct LineMatcher {
    private let needles: [[UInt8]]

    init(_ query: AuditQuery) {
        func needle(_ text: String) -> [UInt8] {
            var json = JSONWriter()
            json.value(text)
            return json.bytes()
        }
        needles = [query.id?.description, query.requestId, query.user, query.object, query.kind?.rawValue]
            .compactMap { $0.map(needle) }
    }

    func mayMatch(_ line: [UInt8]) -> Bool {
        needles.allSatisfy { ByteSearch.contains(line, $0) }
    }
}

/// The lines of a file in either direction.
private struct Lines {
    private let forward: LineReader?
    private let backward: BackwardLineReader?

    init(_ path: String, backward isBackward: Bool) throws(DiagnosedError) {
        forward = isBackward ? nil : try LineReader(path)
        backward = isBackward ? try BackwardLineReader(path) : nil
    }

    func next() throws(DiagnosedError) -> [UInt8]? {
        if let forward { return try forward.next() }
        return try backward?.next()
    }
}

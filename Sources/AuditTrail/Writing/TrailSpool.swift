import Diagnostics
import WireText

/// The closed segments of a trail: how much they take, which may be deleted, and the file of roots that outlives them.
struct TrailSpool: Sendable {
    struct Segment: Sendable {
        let name: SegmentName
        let octets: Int
        /// Its records are older than the end of this hour since 1970.
        let endHour: Int64
    }

    private(set) var segments: [Segment] = []
    private(set) var octets = 0
    private(set) var exportedThrough: Int64 = 0
    /// Not in the file of roots yet.
    var pendingRoots: [RootsFile.Entry] = []

    mutating func closed(_ name: SegmentName, octets: Int, at hour: Int64) {
        segments.append(Segment(name: name, octets: octets, endHour: hour))
        self.octets += octets
    }

    /// Appends what is pending to the file of roots. A failure is no failure of the trail, for the root stands in the
    /// chain too: it is tried again with the next batch and at the next start, and until then nothing is deleted.
    mutating func flushRoots(in folder: TrailFolder, _ files: any TrailFileSystem) {
        guard !pendingRoots.isEmpty else { return }
        let existed = SmallFile.size(folder.rootsPath)
        guard let file = try? files.openSegment(folder.rootsPath) else { return }
        do throws(DiagnosedError) {
            try file.append(pendingRoots.flatMap(\.line))
            try file.synchronize()
            try files.synchronizeFolder(folder.path)
            pendingRoots = []
        } catch {
            // A half line would make the file unreadable.
            try? file.truncate(to: existed)
        }
    }

    /// At each head, so that a clock that jumped ahead does not empty the spool before somebody sees the alarm.
    private static let maximumAged = 2

    /// Deletes the oldest segments that are past the retention, a few at a time, and exported ones while more than half
    /// of the limit is used after it reached 80 %. Their roots stay.
    mutating func prune(
        in folder: TrailFolder, _ files: any TrailFileSystem, trail: String, current: TrailTip, limit: Int,
        oldestHour: Int64
    ) {
        if let mark = try? ExportMark.read(from: folder), mark.trail == trail { exportedThrough = mark.through }
        guard pendingRoots.isEmpty else { return }
        var aged = 0
        var isNear = octets + current.octets >= limit / 10 * 8
        while let oldest = segments.first {
            let next = segments.count > 1 ? segments[1].name.first : current.segment.first
            let isExported = next - 1 <= exportedThrough
            let isAged = oldest.endHour <= oldestHour && aged < Self.maximumAged
            guard isAged || (isNear && isExported) else { return }
            if isAged { aged += 1 }
            guard (try? files.remove(folder.path(of: oldest.name))) != nil else { return }
            segments.removeFirst()
            octets -= oldest.octets
            isNear = isNear && octets + current.octets >= limit / 2
        }
    }
}

import Cryptography
import Diagnostics
import Glibc
package import WireText

/// A copy of all sealed segments with roots, key and manifest, verified before; it can be verified like a trail.
///
/// Only when everything is on the other disk does the trail learn that these segments may go when space runs short.
package struct AuditExport {
    package struct Summary: Sendable, Equatable {
        package let trail: String
        package let first: Int64
        package let last: Int64
        package let segments: Int
        package let octets: Int
    }

    private let source: TrailFolder
    private let target: TrailFolder
    private let trust: AttestationTrust

    package init(folder: String, to target: String, trust: AttestationTrust) {
        source = TrailFolder(path: folder)
        self.target = TrailFolder(path: target)
        self.trust = trust
    }

    /// - Parameter marks: whether the trail learns of it.
    package func run(now: Timestamp, marks: Bool = true) throws -> Summary {
        _ = try TrailVerifier(folder: source.path, trust: trust).verify()
        let segments = try source.segments()
        let roots = try RootChain(RootsFile(path: source.rootsPath), node: segments[0].node, trust: trust)
        let sealed = segments.filter { segment in roots.roots.contains { $0.statement.first == segment.first } }
        guard let first = sealed.first, let last = sealed.last,
            let end = roots.roots.last(where: { $0.statement.first == last.first })
        else {
            throw DiagnosedError(
                .auditSegmentMissing, fault: .client, "no segment is sealed yet",
                hint: "a segment is sealed by its root when its hour is over")
        }
        guard mkdir(target.path, 0o700) == 0 else {
            throw DiagnosedError.auditFile(
                "the folder of the export can not be made", target.path, errno: errno, fault: .configuration,
                fix: "name a new folder in one that is there")
        }
        var files: [(name: String, octets: Int, digest: String)] = []
        for name in sealed.map(\.description) { files.append(try copy(name, end: nil)) }
        files.append(try copy("roots", end: end.jws))
        let summary = Summary(
            trail: end.statement.trail, first: first.first, last: end.statement.last, segments: sealed.count,
            octets: files.reduce(0) { $0 + $1.octets })
        try write(manifest(summary, files, now), to: target.path + "/manifest.json")
        try FolderSync.synchronize(folder: target.path)
        try FolderSync.synchronize(folderOf: target.path)
        // What was copied is what will be left: it is verified as an auditor would.
        _ = try TrailVerifier(folder: target.path, trust: trust).verify()
        if marks {
            try ExportMark(trail: summary.trail, through: summary.last, time: now).write(to: source)
        }
        return summary
    }

    /// Line by line, so that a line that is being written stays out; ends after the line that holds `end`.
    private func copy(_ name: String, end: String?) throws -> (name: String, octets: Int, digest: String) {
        let reader = try LineReader("\(source.path)/\(name)")
        let file = try PosixAppendFile("\(target.path)/\(name)")
        var hasher = SHA256Hasher()
        var octets = 0
        var buffer: [UInt8] = []
        var isDone = false
        while !isDone {
            while buffer.count < 1 << 20, !isDone {
                guard let line = try reader.next() else {
                    isDone = true
                    break
                }
                buffer += line
                buffer.append(0x0A)
                if let end, line == RootsFile.Entry.root(end).line.dropLast() { isDone = true }
            }
            hasher.update(buffer)
            octets += buffer.count
            try file.append(buffer)
            buffer.removeAll(keepingCapacity: true)
        }
        try file.synchronize()
        return (name, octets, Hexadecimal.encode(hasher.finalize()))
    }

    private func manifest(
        _ summary: Summary, _ files: [(name: String, octets: Int, digest: String)], _ now: Timestamp
    ) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("format", "hds-audit-export-1")
        json.member("trail", summary.trail)
        json.member("first", summary.first)
        json.member("last", summary.last)
        json.member("time", now.iso8601)
        json.name("files")
        json.beginArray()
        for file in files {
            json.beginObject()
            json.member("name", file.name)
            json.member("octets", file.octets)
            json.member("sha256", file.digest)
            json.endObject()
        }
        json.endArray()
        json.endObject()
        return json.bytes() + [0x0A]
    }

    private func write(_ bytes: [UInt8], to path: String) throws(DiagnosedError) {
        let file = try PosixAppendFile(path)
        try file.append(bytes)
        try file.synchronize()
    }
}

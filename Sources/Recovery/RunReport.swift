package import Diagnostics
import Glibc
package import WireText

/// What one run of a timer did: a nightly backup with its proof, or a rehearsal of a restore.
///
/// A file each, JSON, in a folder of the service's user. Who may write there may write such a report, so it counts for
/// nothing that matters: that a backup was proved says its sealed receipt (`VerifiedBackups`). A report tells people what
/// happened, and the service that a run failed.
package struct RunReport: Sendable, Equatable {
    package enum Kind: String, Sendable, CaseIterable {
        case backup
        case restoreDrill = "restore-drill"
    }

    package struct Table: Sendable, Equatable {
        package let name: String
        package let rows: Int64
        /// Hexadecimal, as the manifest has it and the restored rows gave it.
        package let digest: String
    }

    package let kind: Kind
    package let host: String
    package let node: String
    package let started: Timestamp
    package var ended: Timestamp
    /// Why it failed and what to do; nil when it did what it should.
    package var failure: String?
    /// The backup that it was about.
    package var file: String?
    /// When that was made.
    package var created: Timestamp?
    package var octets: Int64 = 0
    package var tables: [Table] = []
    /// How many keys, taken at random, were opened.
    package var opened = 0
    /// How many files of earlier backups were deleted because they are older than they may become.
    package var deleted = 0
    /// What a restore would not know, each with its time range.
    package var gaps: [String] = []

    package init(_ kind: Kind, host: String, node: String, started: Timestamp) {
        (self.kind, self.host, self.node) = (kind, host, node)
        (self.started, ended) = (started, started)
    }

    package mutating func take(_ outcome: Restore.Outcome) {
        created = outcome.header.created
        tables = outcome.manifest.tables.map {
            Table(name: $0.name, rows: Int64($0.rows), digest: Hexadecimal.encode($0.digest))
        }
        opened = outcome.opened
        gaps = outcome.report?.gaps ?? []
    }

    // MARK: The file

    package func write(to json: inout JSONWriter) {
        json.member("kind", kind.rawValue)
        json.member("host", host)
        json.member("node", node)
        json.member("started", started.iso8601)
        json.member("ended", ended.iso8601)
        json.member("passed", failure == nil)
        json.member("failure", ifPresent: failure)
        json.member("file", ifPresent: file)
        json.member("created", ifPresent: created?.iso8601)
        json.member("octets", octets)
        json.name("tables")
        json.beginArray()
        for table in tables {
            json.beginObject()
            json.member("name", table.name)
            json.member("rows", table.rows)
            json.member("sha256", table.digest)
            json.endObject()
        }
        json.endArray()
        json.member("opened", opened)
        json.member("deleted", deleted)
        json.member("gaps", gaps)
    }

    /// Nil when it is of another form.
    package init?(_ node: JSONNode) {
        func time(_ name: String) -> Timestamp? { node[name]?.string.flatMap { Timestamp(iso8601: $0) } }
        guard let kind = node["kind"]?.string.flatMap({ Kind(rawValue: $0) }), let host = node["host"]?.string,
            let name = node["node"]?.string, let started = time("started"), let ended = time("ended"),
            let passed = node["passed"]?.boolean
        else { return nil }
        self.init(kind, host: host, node: name, started: started)
        self.ended = ended
        failure = passed ? nil : node["failure"]?.string ?? "it does not say why"
        file = node["file"]?.string
        created = time("created")
        octets = node["octets"]?.integer ?? 0
        tables = (node["tables"]?.elements ?? []).compactMap { table in
            guard let name = table["name"]?.string, let rows = table["rows"]?.integer,
                let digest = table["sha256"]?.string
            else { return nil }
            return Table(name: name, rows: rows, digest: digest)
        }
        opened = Int(node["opened"]?.integer ?? 0)
        deleted = Int(node["deleted"]?.integer ?? 0)
        gaps = node["gaps"]?.strings ?? []
    }
}

/// The folder with the reports of the timers' runs: so many of each kind are kept, the oldest go first.
package struct RunReports: Sendable {
    package static let kept = 60
    private static let longest = 1 << 18
    private static let ending = ".json"
    package let folder: String

    package init(folder: String) { self.folder = folder }

    /// Keeps a report, and deletes the oldest of its kind where there are too many.
    package func keep(_ report: RunReport) throws(DiagnosedError) {
        guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
            throw DiagnosedError(
                .backupFile, fault: .configuration, "the folder of reports \(folder) can not be made",
                found: String(cString: strerror(errno)), hint: "see whether the folder above it may be written")
        }
        var json = JSONWriter()
        json.beginObject()
        report.write(to: &json)
        json.endObject()
        // In the order of time by their names.
        let moment = report.started.iso8601.filter { $0 != ":" && $0 != "." && $0 != "-" }
        try SealedFile.replace(
            "\(folder)/\(report.kind.rawValue)-\(moment)\(Self.ending)",
            with: json.bytes() + [UInt8(ascii: "\n")])
        for name in names(of: report.kind).dropFirst(Self.kept) { unlink("\(folder)/\(name)") }
    }

    /// Newest first; without `kind` all of them. What is no report is left out.
    package func list(_ kind: RunReport.Kind? = nil) -> [RunReport] {
        let kinds = kind.map { [$0] } ?? RunReport.Kind.allCases
        return kinds.flatMap { kind in names(of: kind).prefix(Self.kept).compactMap { read($0) } }
            .sorted { $0.started > $1.started }
    }

    /// The newest of its kind; nil when there is none.
    package func newest(_ kind: RunReport.Kind) -> RunReport? {
        for name in names(of: kind) {
            if let report = read(name), report.kind == kind { return report }
        }
        return nil
    }

    private func read(_ name: String) -> RunReport? {
        guard let bytes = try? BackupFile.open("\(folder)/\(name)").read(Self.longest),
            let root = try? JSONDocument(bytes).root
        else { return nil }
        return RunReport(root)
    }

    /// Newest first.
    private func names(of kind: RunReport.Kind) -> [String] {
        ((try? BackupFile.names(in: folder)) ?? []).reversed().filter {
            $0.hasPrefix(kind.rawValue + "-") && $0.hasSuffix(Self.ending)
        }
    }
}

import EDiscoveryModel

/// What writers are told, in its order.
enum ExportStep: Sendable {
    case begin(SpacePlace)
    case add(ExportEntry)
    case end(SpacePlace)
    case finish
}

/// Some of the forms of an export, written beside the others.
actor WriterLane {
    private let writers: [any ExportWriter]

    init(_ make: @Sendable () throws -> [any ExportWriter]) rethrows { writers = try make() }

    func take(_ steps: [ExportStep]) throws {
        for step in steps {
            for writer in writers {
                switch step {
                case .begin(let space): try writer.begin(space)
                case .add(let entry): try writer.add(entry)
                case .end(let space): try writer.end(space)
                case .finish: try writer.finish()
                }
            }
        }
    }
}

/// All lanes of an export. Steps are handed on in batches: while one is written, the next one is read.
struct WriterLanes {
    private let lanes: [WriterLane]
    private var batch: [ExportStep] = []
    private var weight = 0
    private var running: Task<Void, any Error>?

    private static let heaviest = 512 << 10
    private static let longest = 256

    init(_ settings: ExportSettings, _ folder: PackageFolder) throws {
        let wants = { @Sendable (form: ExportFormat) in settings.formats.contains(form) }
        lanes = [
            WriterLane {
                var writers: [any ExportWriter] = []
                if wants(.eml) || wants(.mbox) { writers.append(MailFiles(folder, settings)) }
                if settings.hasTexts { writers.append(TextFiles(folder)) }
                return writers
            },
            try WriterLane {
                var writers: [any ExportWriter] = [try ProblemList(folder)]
                if wants(.csv) { writers.append(try ItemTable(folder, settings)) }
                if wants(.dat) { writers.append(try ConcordanceFile(folder, settings)) }
                if wants(.edrm) { writers.append(try EDRMFile(folder, settings)) }
                if wants(.html) { writers.append(Transcripts(folder, settings)) }
                return writers
            },
        ]
    }

    /// - Parameter octets: about how much memory it holds.
    mutating func take(_ step: ExportStep, octets: Int = 0) async throws {
        batch.append(step)
        weight += octets
        if weight >= Self.heaviest || batch.count >= Self.longest { try await hand() }
    }

    mutating func finish() async throws {
        batch.append(.finish)
        try await hand()
        try await running?.value
        running = nil
    }

    /// Waits until nothing is written any more, whatever came of it.
    func settle() async { _ = await running?.result }

    private mutating func hand() async throws {
        let steps = batch
        (batch, weight) = ([], 0)
        try await running?.value
        running = Task { [lanes] in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for lane in lanes { group.addTask { try await lane.take(steps) } }
                try await group.waitForAll()
            }
        }
    }
}

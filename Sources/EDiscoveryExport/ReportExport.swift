import Cryptography
import Diagnostics
import EDiscoveryModel
import JOSESignature
import WireText

/// One export of a report: pulls its items and files from a source and writes a BagIt package whose octets depend on the
/// source and the settings alone.
///
/// One pass; in memory are some items, one piece of a file and the buffers of the files that are being written. The package
/// appears at its place whole or not at all: until then it stands beside it under `.partial`, which the next run takes away.
/// Of equal input every file is equal, but for `proof/root.jws` and the manifests that name it when the signer's algorithm
/// is a random one.
///
/// ```swift
/// let statement = try await ReportExport(settings).write(to: folder, from: source) { digest in
///     try await kms.signature(of: digest)
/// }
/// ```
package struct ReportExport {
    private let settings: ExportSettings
    private let isDurable: Bool

    /// - Parameter isDurable: whether `write` waits until all of it is on the disk; not needed where the package is only on its way
    ///   to sealed volumes and made anew after a power failure.
    package init(_ settings: ExportSettings, isDurable: Bool = true) {
        (self.settings, self.isDurable) = (settings, isDurable)
    }

    /// - Parameters:
    ///   - place: the folder to make; nothing may be there.
    ///   - sign: a compact JWS for the SHA-256 of the statement, as `ExportSignature` reads it, with the `typ` of
    ///     `ExportStatement.type`.
    package func write(
        to place: String, from source: ExportSource, sign: (_ digest: [UInt8]) async throws -> String
    ) async throws -> ExportStatement {
        let folder = try PackageFolder(place)
        do {
            let statement = try await fill(folder, from: source)
            try await prove(statement, in: folder, sign: sign)
            try folder.finish(settings, isDurable: isDurable)
            return statement
        } catch {
            folder.abandon()
            throw error
        }
    }

    private func fill(_ folder: PackageFolder, from source: ExportSource) async throws -> ExportStatement {
        var lanes = try WriterLanes(settings, folder)
        do {
            return try await fill(folder, from: source, &lanes)
        } catch {
            await lanes.settle()
            throw error
        }
    }

    private func fill(
        _ folder: PackageFolder, from source: ExportSource, _ lanes: inout WriterLanes
    ) async throws -> ExportStatement {
        let lines = try folder.file("items.jsonl")
        var spaces = SpaceCursor(file: try folder.file("spaces.jsonl"), next: source.nextSpace)
        var counts = ExportCounts()
        var tree = MerkleTree()
        var documents: Int64 = 0
        var last: CollectedItem?
        var lastNumber: String?
        var current: SpacePlace?
        while var item = try await source.nextItem() {
            if let last {
                guard last < item else {
                    throw DiagnosedError(
                        .exportOrder, fault: .internal, "the items of the report are out of their order",
                        expected: "space, sequence and id ascending", found: "item \(counts.items + 1)")
                }
            }
            last = item
            if item.space != current?.space.id {
                if let current { try await lanes.take(.end(current)) }
                let space = try await spaces.find(item.space)
                current = space
                try await lanes.take(.begin(space))
            }
            guard let current else { continue }
            let number = try settings.numbering.number(documents)
            let index = documents
            documents += 1
            var places: [ExportedItem.Place] = []
            for position in item.files.indices {
                places.append(try await fetch(position, of: &item, document: documents, into: folder, from: source))
                documents += 1
            }
            let exported = ExportedItem(item: item, number: number, files: places)
            lastNumber = exported.lastNumber
            let line = try ItemLine.encode(exported)
            tree.append(MerkleTree.leaf(line))
            counts.add(exported)
            try lines.write(line)
            try lines.write("\n")
            let entry = ExportEntry(exported, index: index, space: current, settings: settings)
            try await lanes.take(.add(entry), octets: line.count)
        }
        if let current { try await lanes.take(.end(current)) }
        try await lanes.finish()
        try await spaces.finish()
        try lines.close()
        return try ExportStatement(
            settings: settings, counts: counts, root: tree.root, payload: try folder.payloadDigest(),
            lastNumber: lastNumber)
    }

    /// Brings the octets of a file into the package. What does not work becomes a problem of the item: a report is not lost for
    /// a file.
    private func fetch(
        _ position: Int, of item: inout CollectedItem, document: Int64, into folder: PackageFolder,
        from source: ExportSource
    ) async throws -> ExportedItem.Place {
        let number = try settings.numbering.number(document)
        let nowhere = ExportedItem.Place(number: number, path: nil)
        let file = item.files[position]
        guard let reference = file.reference else {
            let isExplained = item.problems.contains { !$0.isWarning }
            if settings.wantsFiles, !isExplained {
                item.problems.append(Problem(.fileMissing, "the octets of file \(number) were not collected"))
            }
            return nowhere
        }
        guard let chunks = try await source.file(reference) else {
            item.problems.append(Problem(.fileMissing, "the collection does not have the octets of file \(number)"))
            return nowhere
        }
        let ending = ExportName.ending(file.name).map { "." + $0 } ?? ""
        let target = try folder.file("native/\(settings.numbering.folder(document))/\(number)\(ending)")
        var count: UInt64 = 0
        do {
            while let chunk = try await chunks() {
                count += UInt64(chunk.count)
                try target.write(chunk)
            }
            let digest = try target.finish()
            guard file.digest.map({ $0 == digest }) ?? true, file.size.map({ $0 == count }) ?? true else {
                target.discard()
                item.problems.append(
                    Problem(.fileHashMismatch, "the octets of file \(number) are not those that were collected"))
                return nowhere
            }
            try target.keep(digest)
            item.files[position].digest = digest
            item.files[position].size = count
        } catch {
            target.discard()
            throw error
        }
        return ExportedItem.Place(number: number, path: target.path)
    }

    private func prove(
        _ statement: ExportStatement, in folder: PackageFolder, sign: ([UInt8]) async throws -> String
    ) async throws {
        let digest = SHA256.hash(statement.octets)
        let signature = try await sign(digest)
        let parts = signature.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, Base64URL.decode(parts[1]).flatMap({ ExportSignature.digest($0) }) == digest,
            (try? ExportSignature.header(signature))?.typ == ExportStatement.type
        else {
            throw DiagnosedError(
                .exportSignature, fault: .internal, "the signer gave no signature of the statement",
                expected: "a compact JWS with its digest, typ \(ExportStatement.type)")
        }
        let root = try folder.file(ExportStatement.path)
        try root.write(statement.octets)
        try root.close()
        let file = try folder.file(ExportStatement.signaturePath)
        try file.write(signature)
        try file.close()
    }
}

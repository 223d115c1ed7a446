import Cryptography
import Diagnostics
import EDiscoveryModel
package import JOSESignature
import WireText

/// Checks an export's folder offline, against the key that its maker is known by.
///
/// Both ways: no file is missing, changed or too many; tag manifest, payload manifest, statement, tree, numbers, files' digests and
/// order all say the same. Reads every file once, and the lines of the items once more; memory does not grow with the export.
package struct ExportVerifier {
    private let folder: String
    private let key: JWK

    package init(folder: String, key: JWK) {
        self.folder = folder
        self.key = key
    }

    package struct Finding: Sendable, Hashable {
        package enum Fault: String, Sendable, CaseIterable {
            case missing, extra, changed, malformed, order, tree, signature, counts
        }
        /// Below the export's folder, made visible.
        package let file: String
        package let fault: Fault
        package let text: String
    }

    package struct Report: Sendable {
        /// The first of them; `count` counts on.
        package fileprivate(set) var findings: [Finding] = []
        package fileprivate(set) var count = 0
        package fileprivate(set) var statement: ExportStatement?
        package fileprivate(set) var files = 0
        fileprivate var octets: Int64 = 0
        /// Whether the files are those of the manifest: else their sum says nothing new.
        fileprivate var isWhole: Bool { !findings.contains { [.missing, .extra, .changed].contains($0.fault) } }
        package var isSound: Bool { count == 0 && statement != nil }
        static let limit = 1000

        fileprivate mutating func add(_ file: String, _ fault: Finding.Fault, _ text: String) {
            count += 1
            guard findings.count < Self.limit else { return }
            findings.append(Finding(file: ExportName.visible(file), fault: fault, text: text))
        }
    }

    /// Throws only when the folder can not be read.
    package func verify() throws -> Report {
        var report = Report()
        let tree = try FolderTree(folder)
        try verifyTags(&report)
        let payload = try verifyPayload(tree, &report)
        guard let statement = verifyStatement(&report) else { return report }
        report.statement = statement
        if payload != statement.payload {
            report.add(
                "manifest-sha256.txt", .signature,
                "its lines are not those that were signed: a file was changed, added or left out")
        }
        let info = BagText.info(
            report: statement.report, matter: statement.matter, created: statement.created, octets: report.octets,
            files: Int64(report.files))
        if report.isWhole, PackageReader.smallFile(folder + "/bag-info.txt", limit: 64 << 10) != Array(info.utf8) {
            report.add("bag-info.txt", .changed, "it does not say what was signed and what is there")
        }
        verifyItems(statement, &report)
        return report
    }

    // MARK: Files

    private static let tags = ["bag-info.txt", "bagit.txt", "manifest-sha256.txt"]

    private func verifyTags(_ report: inout Report) throws {
        let name = "tagmanifest-sha256.txt"
        var listed: [String: String] = [:]
        if let file = try? PackageReader(folder + "/" + name), file.count <= 64 << 10 {
            while let line = try file.line(limit: 4096) {
                guard let (digest, path) = Manifest.parse(line), Self.tags.contains(path), listed[path] == nil else {
                    report.add(name, .malformed, "a line of it is none of a tag manifest")
                    continue
                }
                listed[path] = digest
            }
        } else {
            report.add(name, .missing, "it is not there")
        }
        for tag in Self.tags {
            guard let digest = try? digest(of: tag) else { continue }
            guard let expected = listed[tag] else {
                report.add(tag, .extra, "the tag manifest does not name it")
                continue
            }
            if digest != expected { report.add(tag, .changed, "its digest is not that of the tag manifest") }
        }
        let declaration = PackageReader.smallFile(folder + "/bagit.txt", limit: 4096) ?? []
        if declaration != Array(BagText.declaration.utf8) {
            report.add("bagit.txt", .malformed, "it is not the declaration of a bag of version 1.0 in UTF-8")
        }
    }

    private func digest(of path: String) throws -> String {
        let reader = try PackageReader(folder + "/" + path)
        var hasher = SHA256Hasher()
        while let chunk = try reader.read() { hasher.update(chunk) }
        return Hexadecimal.encode(hasher.finalize())
    }

    /// Walks the folder and the manifest beside each other; both are in the order of the paths' octets.
    ///
    /// - Returns: the digest over the manifest's lines without those of the proof.
    private func verifyPayload(_ folderTree: FolderTree, _ report: inout Report) throws -> [UInt8] {
        var tree = folderTree
        var hasher = SHA256Hasher()
        var lines = try ManifestLines(folder, &report)
        var seen = Set<String>()
        var listed = lines.next(&report, &hasher)
        while true {
            let entry = try tree.next()
            if let entry, !entry.path.hasPrefix("data/") {
                seen.insert(entry.path)
                if entry.kind != .file || !(Self.tags + ["tagmanifest-sha256.txt"]).contains(entry.path) {
                    report.add(entry.path, .extra, "no export has such a file")
                }
                continue
            }
            while let due = listed, entry.map({ due.path.utf8.lexicographicallyPrecedes($0.path.utf8) }) ?? true {
                report.add(due.path, .missing, "the manifest names it, and it is not there")
                listed = lines.next(&report, &hasher)
            }
            guard let entry else { break }
            guard entry.kind == .file else {
                report.add(entry.path, .extra, "it is no plain file, or an empty folder")
                continue
            }
            guard let due = listed, due.path == entry.path else {
                report.add(entry.path, .extra, "the manifest does not name it")
                continue
            }
            report.files += 1
            report.octets += (try? PackageReader(folder + "/" + entry.path).count) ?? 0
            do {
                if try digest(of: entry.path) != due.digest {
                    report.add(entry.path, .changed, "its digest is not that of the manifest")
                }
            } catch {
                report.add(entry.path, .missing, "it can not be read")
            }
            listed = lines.next(&report, &hasher)
        }
        for tag in Self.tags where !seen.contains(tag) { report.add(tag, .missing, "it is not there") }
        return hasher.finalize()
    }

    // MARK: Statement and items

    private func verifyStatement(_ report: inout Report) -> ExportStatement? {
        let path = "data/" + ExportStatement.path
        let signaturePath = "data/" + ExportStatement.signaturePath
        guard let octets = PackageReader.smallFile(folder + "/" + path, limit: ExportStatement.maximumBytes) else {
            report.add(path, .missing, "there is no statement that could be verified")
            return nil
        }
        let statement: ExportStatement
        do {
            statement = try ExportStatement(octets: octets)
        } catch {
            report.add(path, .malformed, error.summary)
            return nil
        }
        guard let signature = PackageReader.smallFile(folder + "/" + signaturePath, limit: 1 << 20) else {
            report.add(signaturePath, .missing, "there is no signature")
            return statement
        }
        do {
            if try !ExportSignature.verify(String(decoding: signature, as: UTF8.self), of: octets, with: key) {
                report.add(path, .signature, "the signature is one over another statement")
            }
        } catch {
            let reason = (error as? DiagnosedError)?.summary ?? "it can not be verified"
            report.add(signaturePath, .signature, "not a signature of the given key: \(reason)")
        }
        return statement
    }

    private func verifyItems(_ statement: ExportStatement, _ report: inout Report) {
        let path = "data/items.jsonl"
        var counts = ExportCounts()
        var tree = MerkleTree()
        do {
            let lines = try PackageReader(folder + "/" + path)
            var natives = try NativeDigests(folder)
            var last: CollectedItem?
            while let line = try lines.line() {
                tree.append(MerkleTree.leaf(line))
                let exported: ExportedItem
                do {
                    exported = try ItemLine.decode(line)
                } catch {
                    report.add(path, .malformed, "line \(tree.count): \(error.summary)")
                    continue
                }
                if let last, !(last < exported.item) {
                    report.add(path, .order, "line \(tree.count) is out of its order")
                }
                last = exported.item
                counts.add(exported)
                for (file, place) in zip(exported.item.files, exported.files) {
                    guard let native = place.path else { continue }
                    let digest = try natives.digest(of: "data/" + native)
                    if digest == nil || digest != file.digest.map({ Hexadecimal.encode($0) }) {
                        report.add(
                            "data/" + native, .changed, "it is not the file that line \(tree.count) of \(path) names")
                    }
                }
            }
        } catch {
            report.add(path, .malformed, (error as? DiagnosedError)?.summary ?? "it can not be read")
        }
        if tree.count != statement.size {
            report.add(path, .counts, "it has \(tree.count) lines, and \(statement.size) were signed")
        }
        if tree.root != statement.root {
            report.add(path, .tree, "the tree over its lines does not have the signed root")
        }
        var json = JSONWriter()
        counts.write(to: &json)
        if json.bytes() != statement.counts {
            report.add(path, .counts, "the numbers of the statement are not those of its lines")
        }
    }
}

/// The lines of the payload manifest, in the order that is demanded of them.
private struct ManifestLines {
    private let reader: PackageReader?
    private var last = ""

    init(_ folder: String, _ report: inout ExportVerifier.Report) throws {
        reader = try? PackageReader(folder + "/manifest-sha256.txt")
    }

    mutating func next(
        _ report: inout ExportVerifier.Report, _ hasher: inout SHA256Hasher
    ) -> (digest: String, path: String)? {
        while let reader, let line = try? reader.line(limit: 4096) {
            guard let entry = Manifest.parse(line), entry.path.hasPrefix("data/") else {
                report.add("manifest-sha256.txt", .malformed, "a line of it is none of a manifest")
                continue
            }
            guard last.utf8.lexicographicallyPrecedes(entry.path.utf8) else {
                report.add(
                    "manifest-sha256.txt", .order, "a line of it is out of its order: \(ExportName.visible(entry.path))"
                )
                continue
            }
            last = entry.path
            if !entry.path.hasPrefix("data/proof/") { hasher.update(line + [0x0A]) }
            return entry
        }
        return nil
    }
}

/// The manifest's digests of files, asked for in the order of their paths.
private struct NativeDigests {
    private let reader: PackageReader
    private var current: (digest: String, path: String)?
    private var isAtEnd = false

    init(_ folder: String) throws { reader = try PackageReader(folder + "/manifest-sha256.txt") }

    mutating func digest(of path: String) throws -> String? {
        while !isAtEnd, current.map({ $0.path.utf8.lexicographicallyPrecedes(path.utf8) }) ?? true {
            guard let line = try reader.line(limit: 4096) else {
                isAtEnd = true
                break
            }
            current = Manifest.parse(line)
        }
        return current?.path == path ? current?.digest : nil
    }
}

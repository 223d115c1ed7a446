import Cryptography
import Diagnostics
import Glibc
import WireText
import ZIPVolume

/// A package as ZIP volumes `export.001.zip`, `export.002.zip` …, each a ZIP file of its own, no larger than asked for; unpacked
/// into one folder they are the package again.
///
/// Entries in the order of their paths, below `export/`. A file is never divided: who opens one volume with any tool must find whole
/// files. So a file that needs more than a volume is refused before anything is written, with the size that would do.
package enum VolumeSet {
    package struct Volume: Sendable, Hashable {
        package let name: String
        package let octets: Int64
        package let digest: [UInt8]
        package let files: Int
    }

    /// The list of the volumes, as `sha256sum --check` reads it.
    package static let list = "export.sha256"
    private static let top = "export/"

    /// - Parameters:
    ///   - package: a package's folder.
    ///   - folder: is there; in it stands nothing of these names.
    ///   - split: octets of the largest volume; nil for one volume whatever its size.
    package static func write(
        _ package: String, to folder: String, split: Int64? = nil, deflates: Bool = true
    ) throws -> [Volume] {
        if let split { try demandRoom(package, split) }
        var volumes: [Volume] = []
        var tree = try FolderTree(package)
        var writer = try Writer(folder, number: 1, deflates: deflates)
        while let (path, kind) = try tree.next() {
            guard kind == .file else {
                throw DiagnosedError(
                    .exportVolume, fault: .client, "the package has something that is no file",
                    found: ExportName.visible(path))
            }
            let reader = try PackageReader(package + "/" + path)
            let need = ZIPVolume.bound(name: top + path, size: reader.count)
            if let split, writer.files > 0, writer.zip.bound + need > split {
                volumes.append(try writer.finish())
                writer = try Writer(folder, number: volumes.count + 1, deflates: deflates)
            }
            try writer.add(top + path, reader)
        }
        volumes.append(try writer.finish())
        let file = try PackageFile(list, at: folder + "/" + list)
        for volume in volumes { try file.write(Manifest.line(volume.digest, volume.name)) }
        try file.close()
        return volumes
    }

    private static func demandRoom(_ package: String, _ split: Int64) throws {
        var tree = try FolderTree(package)
        var largest: (need: Int64, path: String) = (0, "")
        while let (path, kind) = try tree.next() {
            guard kind == .file else { continue }
            let size = try PackageReader(package + "/" + path).count
            let need = ZIPVolume.bound(name: top + path, size: size) + ZIPVolume.endBound
            if need > largest.need { largest = (need, path) }
        }
        guard largest.need <= split else {
            throw DiagnosedError(
                .exportVolume, fault: .client,
                "the file \(largest.path) does not fit into a volume, and files are not divided",
                expected: "volumes of \(largest.need) octets or more", found: "\(split)",
                hint: "export again with larger volumes or without a limit")
        }
    }

    private struct Writer {
        let zip: ZIPVolume
        let name: String
        let path: String
        var files = 0

        init(_ folder: String, number: Int, deflates: Bool) throws {
            let digits = String(number)
            name = "export." + String(repeating: "0", count: max(0, 3 - digits.utf8.count)) + digits + ".zip"
            path = folder + "/" + name
            zip = try ZIPVolume(path, deflates: deflates)
        }

        mutating func add(_ name: String, _ reader: PackageReader) throws {
            try zip.begin(name, size: reader.count)
            var rest = reader.count
            while rest > 0, let chunk = try reader.read(upTo: Int(min(rest, 256 << 10))) {
                try zip.write(chunk)
                rest -= Int64(chunk.count)
            }
            guard rest == 0 else {
                throw DiagnosedError.exportFile(
                    "a file of the package became shorter while it was read", name, errno: EIO)
            }
            files += 1
        }

        func finish() throws -> Volume {
            try zip.finish()
            let reader = try PackageReader(path)
            var hasher = SHA256Hasher()
            while let chunk = try reader.read() { hasher.update(chunk) }
            return Volume(name: name, octets: reader.count, digest: hasher.finalize(), files: files)
        }
    }
}

import Glibc
package import SecretMemory
package import WireText

extension RemovalJournal {
    /// Deletes the journals of other nodes in this folder that ended before `limit`, with what belongs to them, and what
    /// crashes had left behind entries before then; answers the nodes. One that does not open is left alone, and so is one
    /// that its node has open.
    package func removeEnded(before limit: Timestamp, key: (String) -> SymmetricKey) throws -> [String] {
        let folder = path.folderOfFile
        var nodes: [String] = []
        for name in try BackupFile.names(in: folder) {
            let file = "\(folder)/\(name)"
            if name.contains(Self.ending + ".cut-") {
                guard let modified = KernelClock.modified(file), modified * 1000 < limit.milliseconds else { continue }
                unlink(file)
            }
            guard name.hasSuffix(Self.ending), file != path, let lock = try? JournalLock(file + ".lock") else {
                continue
            }
            defer { lock.release() }
            guard let scan = try? JournalScan(file, { _, _, _ in true }), scan.end == .whole,
                scan.header.host == header.host, scan.tip.time < limit,
                let mark = JournalMark.read(
                    file + JournalMark.ending, journal: scan.header.journal, key: key(scan.header.journal)),
                mark.number == scan.tip.number, mark.time < limit
            else { continue }
            for ending in ["", JournalMark.ending, ".lock"] { unlink(file + ending) }
            nodes.append(scan.header.node)
        }
        return nodes
    }
}

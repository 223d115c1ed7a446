package import KeyManagement
package import SecretMemory
package import WireText

/// What the journals of all nodes say, and what they can not say.
package struct JournalReading: Sendable {
    /// One node's journal, or its absence.
    package struct Node: Sendable, Equatable {
        package let node: String
        /// Nil: no file of it was given.
        package var file: String?
        package var entries = 0
        /// Up to here everything that the node acknowledged is known; nil: nothing is known.
        package var knownUntil: Timestamp?
        /// Why what came later is not known; nil when the journal is whole up to its mark.
        package var trouble: String?
    }

    package private(set) var nodes: [Node] = []
    package private(set) var removals: [Removal] = []

    /// Reads every journal in the folders; `tips` are those that the backup knows, by node, `since` is when it was made.
    package init(
        folders: [String], host: String, tips: [NodeHeads], since: Timestamp? = nil, key: (String) -> SymmetricKey
    ) throws {
        var seen: Set<String> = []
        for folder in folders {
            for name in try BackupFile.names(in: folder) where name.hasSuffix(RemovalJournal.ending) {
                let path = "\(folder)/\(name)"
                guard let read = try read(path, host: host, tips, since: since, key) else { continue }
                seen.insert(read)
            }
        }
        for tip in tips {
            guard let journal = tip.journal, !seen.contains(journal) else { continue }
            nodes.append(Node(node: tip.node, trouble: "its journal was not given"))
        }
        nodes.sort { $0.node < $1.node }
    }

    /// The id of the journal; nil when it is one of another KMS.
    private mutating func read(
        _ path: String, host: String, _ tips: [NodeHeads], since: Timestamp?, _ key: (String) -> SymmetricKey
    ) throws -> String? {
        var found: [UInt64: [Removal]] = [:]
        var opened: SymmetricKey?
        var mark: JournalTip?
        var anchors: [UInt64: [[UInt8]]] = [:]
        var isForked = false
        let scan = try JournalScan(path) { header, octets, before in
            let key = opened ?? key(header.journal)
            if opened == nil {
                opened = key
                mark = JournalMark.read(path + JournalMark.ending, journal: header.journal, key: key)
                for tip in [mark] + tips.filter({ $0.journal == header.journal }).map(\.tip) {
                    if let tip { anchors[tip.number, default: []].append(tip.chain) }
                }
            }
            guard let entry = JournalEntry(octets, after: before, key: key) else { return false }
            if let chains = anchors[entry.number], chains.contains(where: { $0 != Array(octets.suffix($0.count)) }) {
                isForked = true
                return false
            }
            switch entry.content {
            case .removals(let removals): found[entry.number] = removals
            case .void(let number): found[number] = nil
            }
            return true
        }
        guard scan.header.host == host else { return nil }
        let own = opened ?? key(scan.header.journal)
        mark = mark ?? JournalMark.read(path + JournalMark.ending, journal: scan.header.journal, key: own)
        removals += found.sorted { $0.key < $1.key }.flatMap(\.value)
        var node = Node(
            node: scan.header.node, file: path, entries: Int(scan.tip.number), knownUntil: scan.tip.time)
        let furthest =
            ([mark] + tips.filter { $0.journal == scan.header.journal }.map(\.tip))
            .compactMap { $0?.number }.max() ?? 0
        let known = tips.first { $0.journal == scan.header.journal }?.tip?.number
        if let behind = scan.header.behind, behind.number > mark?.pruned ?? 0 {
            node.trouble = "its beginning up to entry \(behind.number) was cut off, and not by its node"
            node.knownUntil = nil
        } else if let behind = scan.header.behind,
            known.map({ $0 < behind.number }) ?? since.map({ $0 <= behind.time }) ?? false
        {
            node.trouble = "what it had up to \(behind.time) was pruned, and the backup is older"
            node.knownUntil = nil
        } else if isForked {
            node.trouble = "it is another journal than the backup or its mark knows"
        } else if furthest > scan.tip.number {
            node.trouble = "it ends with entry \(scan.tip.number), and entry \(furthest) was written"
        } else if case .broken = scan.end {
            node.trouble = "behind entry \(scan.tip.number) it is not what was written"
        } else if let mark {
            node.knownUntil = max(scan.tip.time, mark.time)
        } else {
            node.trouble = "its mark was not given, and shows alone that no entry is missing at its end"
        }
        nodes.append(node)
        return scan.header.journal
    }
}

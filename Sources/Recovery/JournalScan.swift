import Cryptography
import Diagnostics
import KeyManagement
import SecretMemory
import WireText

/// A walk through the file of a journal, up to its end or to the first entry that is not what was written there.
struct JournalScan {
    enum End: Equatable {
        case whole
        /// The file ends within an entry, or its last entries are not what was written.
        case broken(at: Int, size: Int)
    }

    let header: JournalHeader
    private(set) var tip: JournalTip
    private(set) var end = End.whole
    /// Octets up to the end of the last whole entry.
    private(set) var length: Int
    /// Octets before the first entry.
    let begin: Int

    /// - Parameter body: gets each entry's octets with the chain before; answers whether it is what was written.
    init(
        _ path: String, _ body: (_ header: JournalHeader, _ octets: [UInt8], _ before: [UInt8]) throws -> Bool
    ) throws {
        let file = try BackupFile.open(path)
        let size = try file.size()
        let start = try file.read(JournalEntry.magic.count + 4)
        guard start.starts(with: JournalEntry.magic), start.count == JournalEntry.magic.count + 4 else {
            throw Self.none(path)
        }
        let text = try file.read(min(1 << 16, Self.number(start.suffix(4))))
        guard let header = JournalHeader(text) else { throw Self.none(path) }
        self.header = header
        length = start.count + text.count
        tip =
            header.behind
            ?? JournalTip(number: 0, position: 0, time: header.begun, chain: SHA256.hash(start + text))
        begin = length
        while length < size {
            let mark = try file.read(4)
            let count = mark.count == 4 ? Self.number(mark[...]) : 0
            guard (JournalEntry.minimum...JournalEntry.maximum).contains(count), count <= size - length - 4 else {
                break
            }
            let octets = try file.read(count)
            let chain = Array(octets.suffix(SHA256.byteCount))
            guard octets.count == count, let clear = JournalEntry.Clear(octets), clear.number == tip.number + 1,
                SHA256.hash(tip.chain + octets.dropLast(SHA256.byteCount)) == chain,
                try body(header, octets, tip.chain)
            else { break }
            tip = JournalTip(number: clear.number, position: clear.position, time: clear.time, chain: chain)
            length += 4 + count
        }
        if length < size { end = .broken(at: length, size: size) }
    }

    private static func number(_ octets: ArraySlice<UInt8>) -> Int { octets.reduce(0) { $0 << 8 | Int($1) } }

    static func none(_ path: String) -> DiagnosedError {
        DiagnosedError(
            .journalBroken, fault: .store, "\(path) does not begin as a journal of removals does",
            expected: "the file as the service wrote it",
            hint: "move it away and keep it; the service begins another one")
    }
}

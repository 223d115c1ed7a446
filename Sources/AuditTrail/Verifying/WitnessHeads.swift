import Diagnostics
import Glibc
import JOSESignature
import WireText

/// The heads that a witness keeps, one JWS a line, held against a trail.
struct WitnessHeads {
    let path: String
    /// Chain after each witnessed record of the trail asked for.
    private(set) var chains: [Int64: [UInt8]] = [:]
    /// The witness's newest head, of whatever trail of the node.
    private(set) var newest: HeadStatement?
    /// Of the trail asked for.
    private(set) var highest: HeadStatement?
    private(set) var count = 0

    /// Lines that a crash tore.
    private(set) var unreadable = 0

    /// Reads all; lines of other nodes and torn lines are passed over. A head by a key that is not believed, a statement
    /// of another kind and two heads that contradict each other are breaks.
    init(_ path: String, node: String, trail: String, trust: AttestationTrust) throws {
        self.path = path
        let reader = try LineReader(path)
        var number = 0
        while let line = try reader.next() {
            number += 1
            guard !line.isEmpty else { continue }
            do {
                let head = try Self.statement(line, trust)
                guard head.node == node else { continue }
                newest = head
                guard head.trail == trail else { continue }
                count += 1
                if let known = chains.updateValue(head.chain, forKey: head.seq), known != head.chain {
                    throw DiagnosedError(
                        .auditWitnessContradicts, fault: .client, "two witnessed heads contradict each other",
                        expected: Hexadecimal.encode(known), found: Hexadecimal.encode(head.chain))
                }
                if head.seq >= highest?.seq ?? 0 { highest = head }
            } catch let error as DiagnosedError where Self.isTorn(error) {
                // Who can tear a line can as well remove it: nothing is lost by going on.
                unreadable += 1
            } catch let error as DiagnosedError {
                throw error.at("\(path) line \(number)")
            }
        }
    }

    private static func isTorn(_ error: DiagnosedError) -> Bool {
        error.code == .joseMalformed || error.code == .joseSignatureInvalid || error.code == .attestationInvalid
    }

    /// The newest valid head of a node; a torn or foreign last line is passed over. Nil when there is none.
    static func newest(in path: String, node: String, trust: AttestationTrust) throws -> HeadStatement? {
        guard access(path, F_OK) == 0 else { return nil }
        let reader = try BackwardLineReader(path)
        for _ in 0..<1000 {
            guard let line = try reader.next() else { return nil }
            if let head = try? statement(line, trust), head.node == node { return head }
        }
        return nil
    }

    private static func statement(_ line: [UInt8], _ trust: AttestationTrust) throws -> HeadStatement {
        try HeadStatement(try trust.verify(String(decoding: line, as: UTF8.self), as: .head).payload)
    }
}

import Cryptography
import Diagnostics
import Glibc
import JOSESignature
import WireText
import WireText

/// The heads that a witness keeps, one a line, held against a trail; where time stamps stand beside them, with these.
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

    /// Time stamps that hold, those that nobody asked to verify, and what the one over the highest head says.
    private(set) var stamps = 0
    private(set) var uncheckedStamps = 0
    private(set) var newestStamp: (seq: Int64, time: Timestamp, signer: String)?

    /// Reads all; lines of other nodes and torn lines are passed over. A head by a key that is not believed, a statement
    /// of another kind, two heads that contradict each other and a time stamp that does not hold are breaks.
    ///
    /// - Parameter authorities: roots of time-stamping authorities; empty: time stamps are counted and not verified.
    init(
        _ path: String, node: String, trail: String, trust: AttestationTrust, authorities: [Certificate] = []
    ) throws {
        self.path = path
        let reader = try LineReader(path)
        var number = 0
        while let line = try reader.next() {
            number += 1
            guard !line.isEmpty else { continue }
            do {
                guard let stamped = StampedHead(line) else {
                    unreadable += 1
                    continue
                }
                let head = try Self.statement(stamped.jws, trust)
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
                if let token = stamped.token { try take(token, over: stamped.jws, head, authorities) }
            } catch let error as DiagnosedError where Self.isTorn(error) {
                // Who can tear a line can as well remove it: nothing is lost by going on.
                unreadable += 1
            } catch let error as DiagnosedError {
                throw error.at("\(path) line \(number)")
            }
        }
    }

    private mutating func take(
        _ token: [UInt8], over jws: String, _ head: HeadStatement, _ authorities: [Certificate]
    ) throws {
        guard !authorities.isEmpty else {
            uncheckedStamps += 1
            return
        }
        let stamp: TimeStampToken
        do {
            stamp = try TimeStampToken(der: token, over: StampedHead.digest(of: jws), roots: authorities)
        } catch let error as DiagnosedError {
            // No peer is at fault: it is what an auditor finds in a file.
            throw DiagnosedError(
                error.code, fault: .client, error.summary, expected: error.expected, found: error.found,
                hint: "the line was changed, or the certificates are those of another authority")
        }
        stamps += 1
        guard head.seq >= newestStamp?.seq ?? 0 else { return }
        // Of two stamps over one head the earlier one says more.
        if let known = newestStamp, known.seq == head.seq, known.time <= stamp.time { return }
        newestStamp = (head.seq, stamp.time, stamp.signer)
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
            if let jws = StampedHead(line)?.jws, let head = try? statement(jws, trust), head.node == node {
                return head
            }
        }
        return nil
    }

    private static func statement(_ jws: String, _ trust: AttestationTrust) throws -> HeadStatement {
        try HeadStatement(try trust.verify(jws, as: .head).payload)
    }
}

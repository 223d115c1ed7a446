import TestServers

/// What goes wrong in one run, and when: drawn from the seed, and made smaller by `Shrinker`.
struct Plan: Sendable {
    struct Fault: Sendable, CustomStringConvertible {
        enum Kind: Sendable, Equatable {
            /// Nothing passes in these directions between a node and the core.
            case cut(Int, toCore: Bool, toNode: Bool)
            /// Connections of a node end; either end may not be told.
            case broken(Int, node: Bool, core: Bool)
            case stopped(Int)
            case killed(Int)
            case coreRestart
            /// The network is slow.
            case slow
            case databaseAway
            case databaseSlow
            /// A node does not reach the database.
            case databaseCut(Int)
            /// The standby is promoted; a node may stay with the old primary.
            case failover(with: Int?)
            case freeze
            /// The wall clock of a node jumps.
            case clock(Int, seconds: Int64)
            /// A client is offline.
            case offline(Int)
        }

        var kind: Kind
        /// Milliseconds.
        var start: Int64
        var length: Int64
        var description: String { "\(start)…\(start + length) ms \(kind)" }
    }

    static let nodes = 3
    static let clients = 4

    var seed: UInt64
    var faults: [Fault]
    var isSynchronous: Bool
    /// Milliseconds until which people work.
    var work: Int64
    /// Whether the run waits until every node is back.
    var isDeep: Bool

    init(seed: UInt64) {
        var random = SeededGenerator(seed: seed &* 0x2545_F491_4F6C_DD1D &+ 7)
        func draw(_ range: ClosedRange<Int64>) -> Int64 { Int64.random(in: range, using: &random) }
        self.seed = seed
        isSynchronous = draw(0...2) == 0
        isDeep = draw(0...7) == 0
        var faults: [Fault] = []
        for _ in 0..<draw(2...7) {
            let kind: Fault.Kind
            let node = Int(draw(0...2))
            switch draw(0...99) {
            case 0..<12: kind = .cut(node, toCore: draw(0...2) > 0, toNode: draw(0...2) > 0)
            case 12..<24: kind = .broken(node, node: draw(0...1) == 0, core: draw(0...1) == 0)
            case 24..<36: kind = .stopped(node)
            case 36..<46: kind = .killed(node)
            case 46..<54: kind = .coreRestart
            case 54..<58: kind = .slow
            case 58..<63: kind = .databaseAway
            case 63..<70: kind = .databaseSlow
            case 70..<78: kind = .databaseCut(node)
            case 78..<84: kind = .failover(with: draw(0...1) == 0 ? node : nil)
            case 84..<92: kind = .freeze
            case 92..<96: kind = .clock(node, seconds: draw(-20...20))
            default: kind = .offline(Int(draw(0...3)))
            }
            // One of each at a time, and one promotion in all.
            guard !faults.contains(where: { Self.collide($0.kind, kind) }) else { continue }
            let length: Int64
            switch kind {
            case .coreRestart: length = draw(50...1500)
            case .failover: length = draw(2500...5000)
            case .broken: length = 0
            default: length = [draw(50...700), draw(400...2500), draw(2000...7000)][Int(draw(0...2))]
            }
            faults.append(Fault(kind: kind, start: draw(1500...6000), length: length))
        }
        self.faults = faults.sorted { $0.start < $1.start }
        work = 7000
    }

    private static func collide(_ one: Fault.Kind, _ other: Fault.Kind) -> Bool {
        switch (one, other) {
        case (.failover, .failover), (.freeze, .freeze), (.coreRestart, .coreRestart), (.slow, .slow),
            (.databaseSlow, .databaseSlow), (.databaseAway, .databaseAway), (.failover, .databaseAway),
            (.databaseAway, .failover):
            true
        case (.cut(let left, _, _), .cut(let right, _, _)), (.stopped(let left), .stopped(let right)),
            (.killed(let left), .killed(let right)), (.databaseCut(let left), .databaseCut(let right)),
            (.clock(let left, _), .clock(let right, _)), (.offline(let left), .offline(let right)),
            (.stopped(let left), .killed(let right)), (.killed(let left), .stopped(let right)):
            left == right
        case (.failover, .databaseCut), (.databaseCut, .failover): true
        default: false
        }
    }

    /// When all is well again, in microseconds.
    var healed: Int64 { .milliseconds(max(work, faults.map { $0.start + $0.length }.max() ?? 0)) }
}

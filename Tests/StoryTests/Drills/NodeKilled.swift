import Glibc

extension Drill {
    static let nodeKilled = Drill("node-killed", "a node is killed (SIGKILL) and started again") { run in
        try await run.strike { try await run.node.cut() }
        try await run.detectedByCore(run.node)
        try await run.recovered()
        try await run.restore { try await run.node.start() }
    }

    static let nodeStopped = Drill("node-stopped", "a node stands still (SIGSTOP), its sockets open, and goes on") {
        run in
        try await run.strike { await run.node.send(SIGSTOP) }
        try await run.detectedByCore(run.node)
        try await run.recovered()
        try await run.restore { await run.node.send(SIGCONT) }
    }
}
